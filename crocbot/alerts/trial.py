"""`crocbot alerts test`: a test through each way that is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum

from crocbot.alert_outcomes import AlertWay
from crocbot.alerts.alerts import alert_ways
from crocbot.alerts.ways import SEND_SECONDS, Way, is_refusal
from crocbot.botapi import Client
from crocbot.errors import CrocbotError
from crocbot.settings import Settings
from crocbot.text import printable

MAX_REASON_CHARS = 300


class TryStatus(IntEnum):
    """The result of a test."""

    SENT = 0
    UNREACHABLE = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TryResult:
    """What became of the test on one way."""

    way: AlertWay
    status: TryStatus
    text: str


async def try_ways(settings: Settings) -> AsyncIterator[TryResult]:
    """Send a test on each way that is set, one after the other."""
    token = settings.token.get_secret_value()
    client = Client(token, settings.telegram_api_url, proxies=settings.proxies)
    async with client:
        for way in alert_ways(settings, client):
            try:
                yield await _test(way)
            finally:
                await way.close()


async def _test(way: Way) -> TryResult:
    status, text = TryStatus.SENT, "sent"
    try:
        await way.send_test()
    except TimeoutError:
        status, text = TryStatus.UNREACHABLE, f"no answer in {SEND_SECONDS:g} s"
    except CrocbotError as error:
        refused = is_refusal(error)
        status = TryStatus.REFUSED if refused else TryStatus.UNREACHABLE
        text = printable(str(error))[:MAX_REASON_CHARS]
    return TryResult(way=way.name, status=status, text=text)
