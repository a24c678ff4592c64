"""
How long a lease is valid, and when it is renewed.

    renewed             renewed                     another replica may take it
    |---- RENEW_SECONDS ----|                                        |
    |-------------------- LEASE_SECONDS, by the database ------------|
    |------------ until its owner stops --------|-- MARGIN_SECONDS --|

The owner counts by its own monotonic clock from before it sent the statement, so it
stops before any other replica begins, whatever the network does.
"""

from __future__ import annotations

from crocbot.leases import LEASE_SECONDS, MARGIN_SECONDS, RENEW_SECONDS

__all__ = ["LEASE_SECONDS", "MARGIN_SECONDS", "OWNED_SECONDS", "RENEW_SECONDS"]
OWNED_SECONDS = LEASE_SECONDS - MARGIN_SECONDS
