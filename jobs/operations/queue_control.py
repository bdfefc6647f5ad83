"""What is done to a whole queue from outside: pause, resume, drain, clean, obliterate."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.connections import asks_server
from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption, WrongState
from jobs.keys import queue_keys
from jobs.operations.pausing import Pause, pause_of
from jobs.operations.queue_jobs import REMOVED, QueueJobs, check_limit, end_line
from jobs.states import TERMINAL, State, state_named
from jobs.store import clearing, limits, pausing, show

CLEANED = TERMINAL | {State.waiting, State.delayed, State.parked}


class QueueControl(QueueJobs):
    """The part of `QueueView` that changes the queue as a whole."""

    @asks_server
    async def pause(self, reason: str = "", *, functions: Sequence[str] = ()) -> bool:
        """Give out no jobs any more; running ones finish, and jobs can still be enqueued.

        Args:
            reason: why, for those who look; default none.
            functions: only jobs of these functions; default all.

        Returns:
            Whether something was paused that was not before; else only the reason is another.
        """
        return not all(await pausing.pause(self._client, self._keys, _names(functions), reason))

    @asks_server
    async def resume(self, *, functions: Sequence[str] = ()) -> None:
        """Give out jobs again.

        Args:
            functions: the jobs of these functions; default the queue's. A function that was
                paused by its name stays so when its queue goes on, and the reverse.

        Raises:
            WrongState: the queue, or one of the functions, is not paused; nothing was done.
        """
        names = _names(functions)
        were = await pausing.resume(self._client, self._keys, names)
        running = [name for name, was in zip(names, were, strict=False) if not was]
        if running:
            raise WrongState(
                f"of queue {self.name!r} {', '.join(map(repr, running))} is not paused; "
                f"nothing was resumed"
            )
        if not all(were):
            raise WrongState(f"queue {self.name!r} is not paused")

    @asks_server
    async def paused(self) -> Pause | None:
        """Why the whole queue is paused, and since when; `None` if it is not."""
        return pause_of((await pausing.pauses(self._client, self._keys)).get(""))

    @asks_server
    async def paused_functions(self) -> dict[str, Pause]:
        """The functions that are paused by their names: function -> why, and since when."""
        notes = await pausing.pauses(self._client, self._keys)
        return {name: Pause.of(note) for name, note in sorted(notes.items()) if name}

    @asks_server
    async def drain(self, *, delayed: bool = False) -> int:
        """Remove every job that waits, as `remove` does; what comes meanwhile stays.

        Args:
            delayed: also those that wait for a time; default only those that could run now.

        Returns:
            How many were removed.
        """
        states = [State.waiting, State.delayed] if delayed else [State.waiting]
        now = (await show.size(self._client, self._keys)).now_ms
        removed = 0
        for state in states:
            while some := await self._clear(state, now, None, "drained"):
                removed += some
        return removed

    @asks_server
    async def clean(
        self,
        *,
        state: State | str,
        older_than: Duration = 0,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove jobs of one state by their age, as `remove` does; the oldest ended ones first.

        Args:
            state: completed, failed, cancelled, expired, waiting, delayed or parked.
            older_than: only those that ended, or were enqueued if they have not, at least this
                long ago: a duration. Default 0: of any age.
            limit: at most so many; default all.
            dry_run: remove none, only count.

        Returns:
            How many were removed, or would be.

        Raises:
            InvalidOption: no such state, a running one, a negative age or a limit below 1.
        """
        chosen = state_named(state, CLEANED, "clean")
        age_ms = to_ms(older_than, what="older_than")
        check_limit(limit)
        before = (await show.size(self._client, self._keys)).now_ms - age_ms
        if dry_run:
            return len(
                await clearing.matching(
                    self._client, self._keys, chosen, before_ms=before, limit=limit
                )
            )
        return await self._clear(chosen, before, limit, "cleaned")

    @asks_server
    async def obliterate(self, *, confirm: str, force: bool = False) -> int:
        """Remove the queue: every job, every setting kept in it, its name from the list.

        Producers and workers may go on; the queue then begins anew.

        Args:
            confirm: the name of the queue, once more.
            force: also while jobs run. Their functions are stopped at the next renewal of their
                leases, and their ends are refused.

        Returns:
            How many jobs it held.

        Raises:
            InvalidOption: `confirm` is another name; nothing was done.
            WrongState: jobs run, and there is no `force`; nothing was done.
        """
        if confirm != self.name:
            raise InvalidOption(
                f"to remove the whole queue, `confirm` is its name {self.name!r}, not {confirm!r}"
            )
        rules = await limits.read_rules(self._client, self._keys)
        shared = any("@" in text for text in rules.values())  # then running jobs hold places there
        keys = queue_keys(self.name, self._prefix, shared=shared)
        held = await clearing.obliterate(
            self._client, keys, self._prefix, self.name, line=end_line(REMOVED), force=force
        )
        if held is None:
            raise WrongState(
                f"jobs of queue {self.name!r} run: pause it and wait for their ends, "
                "cancel them, or give `force`"
            )
        self._writer.forget(self.name)
        return held

    @asks_server
    async def remove_orphans(self) -> int:
        """Remove what damage left behind: ids without a job, and jobs that no state holds.

        Returns:
            How many ids were cleared away; 0 for every healthy queue.
        """
        return await clearing.remove_orphans(self._client, self._keys, line=end_line(REMOVED))

    async def _clear(self, state: State, before_ms: int, limit: int | None, event: str) -> int:
        return await clearing.clear(
            self._client,
            self._keys,
            state,
            line=end_line(REMOVED),
            before_ms=before_ms,
            limit=limit,
            event=event,
        )


def _names(functions: Sequence[str]) -> list[str]:
    if isinstance(functions, str):
        raise InvalidOption(f"`functions` is a list of names: [{functions!r}]")
    return list(functions)
