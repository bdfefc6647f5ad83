"""arq with everything that makes it faster and that a user can set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from benchmarks.peers import _arq as arq_peer
    from benchmarks.peers import _harness as harness
else:
    import _arq as arq_peer
    import _harness as harness

ABOUT = harness.About(
    name="arq tuned",
    version=harness.versions("arq", "redis", "uvloop"),
    loop="uvloop",
    settings="max_jobs=100, poll_delay=0.01 s in the worker and where a result is awaited, "
    "uvloop, hiredis; bulk: 100 enqueue_job at once, for want of an API for many",
)

if __name__ == "__main__":
    setup = arq_peer.Setup(poll_delay=0.01, run=uvloop.run, new_loop=uvloop.new_event_loop)
    harness.main(setup.peer(ABOUT))
