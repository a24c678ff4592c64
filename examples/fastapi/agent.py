"""
A service for the agent `http`, which streams its answer.

pip install fastapi uvicorn
AGENT_SECRET=change-me uvicorn agent:app --port 8080
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

SECRET = os.environ["AGENT_SECRET"].encode()
app = FastAPI()


@app.post("/")
async def answer(request: Request) -> StreamingResponse:
    """Check the signature, and stream the answer as server-sent events."""
    body = await request.body()
    expected = f"sha256={hmac.digest(SECRET, body, hashlib.sha256).hex()}"
    given = request.headers.get("X-Crocbot-Signature", "")
    if not hmac.compare_digest(expected, given):
        raise HTTPException(403)
    return StreamingResponse(events(json.loads(body)), media_type="text/event-stream")


async def events(question: dict) -> AsyncIterator[str]:
    """Yield an event for each word, and the usage at the end."""
    words = question["message"].split()
    for word in words:
        yield f"data: {json.dumps({'text': f'{word.upper()} '})}\n\n"
        await asyncio.sleep(0)
    usage = {"input_tokens": len(words), "output_tokens": len(words)}
    yield f"data: {json.dumps({'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
