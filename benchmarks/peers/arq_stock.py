"""arq as it comes: only the number of jobs at once is set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers import _arq as arq_peer
    from benchmarks.peers import _harness as harness
else:
    import _arq as arq_peer
    import _harness as harness

ABOUT = harness.About(
    name="arq stock",
    version=harness.versions("arq", "redis"),
    loop="asyncio",
    settings="max_jobs=100; all else as it comes: poll_delay=0.5 s, hiredis; "
    "bulk: 100 enqueue_job at once, for want of an API for many",
)

if __name__ == "__main__":
    setup = arq_peer.Setup(poll_delay=None, run=asyncio.run, new_loop=asyncio.new_event_loop)
    harness.main(setup.peer(ABOUT))
