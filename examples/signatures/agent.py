"""
Check the signature of the agent `http` in Python: X-Crocbot-Signature.

AGENT_SECRET=change-me PORT=8080 python3 agent.py
"""

from __future__ import annotations

import hashlib
import hmac
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["AGENT_SECRET"].encode()


def is_signed(body: bytes, header: str | None) -> bool:
    """Return whether the header is the signature of the body, in constant time."""
    expected = f"sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}"
    return hmac.compare_digest(expected.encode(), (header or "").encode())


class Agent(BaseHTTPRequestHandler):
    """Answers signed questions."""

    def do_POST(self) -> None:
        """Read the whole body before it is parsed: the signature is of its bytes."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_signed(body, self.headers["X-Crocbot-Signature"]):
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"signed")


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    ThreadingHTTPServer(("127.0.0.1", port), Agent).serve_forever()
