"""
Whether the receiver of the metrics refuses datagrams, for `crocbot check`.

    host unknown, no route, port closed --> ProbeError      else nothing is known

A connected UDP socket reports a closed port at the next send.  The datagrams are empty,
so that they change no metric.
"""

from __future__ import annotations

import asyncio

from crocbot.errors import CrocbotError
from crocbot.model import HostPort
from crocbot.telemetry import udp

RESOLVE_SECONDS = 5.0
SENDS = 3
PAUSE_SECONDS = 0.15


class ProbeError(CrocbotError):
    """The receiver cannot be found, or refuses datagrams."""


async def probe(receiver: HostPort) -> None:
    """Send to each address until one does not refuse.  Raise ProbeError."""
    refused = False
    for address in await _addresses(receiver):
        match await _is_refused(address):
            case False:
                return
            case True:
                refused = True
    reason = "refuses what is sent" if refused else "cannot be reached: no route"
    raise ProbeError(f"{receiver} {reason}")


async def _addresses(receiver: HostPort) -> list[udp.SocketAddress]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            return await udp.resolve(receiver)
    except TimeoutError as error:
        raise ProbeError(
            f"the host {receiver.host!r} is unknown: no answer from the resolver within"
            f" {RESOLVE_SECONDS:g} s"
        ) from error
    # Besides OSError: a name may be malformed.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ProbeError(f"the host {receiver.host!r} is unknown: {reason}") from error


async def _is_refused(address: udp.SocketAddress) -> bool | None:
    """Return whether an address refuses datagrams, None if there is no route."""
    connected = udp.connect(address)
    if connected is None:
        return None
    with connected:
        for _ in range(SENDS):
            try:
                connected.send(b"")
            except ConnectionRefusedError:
                return True
            except OSError:
                return None
            await asyncio.sleep(PAUSE_SECONDS)
    return False
