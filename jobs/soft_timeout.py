"""The soft end of an attempt, as its function meets it."""

from __future__ import annotations

import asyncio


class SoftTimeout(asyncio.CancelledError):
    """Raised in a function where it awaits, once, when its soft timeout is over.

    What is left until the hard timeout is for ending cleanly: return what is there, or let it
    out, which is a failure like any other timeout. It is a kind of `CancelledError`, so that
    task groups and timeouts round the `await` clean up as for any cancellation, and an
    `except Exception` does not take it for an error of the work itself.
    """
