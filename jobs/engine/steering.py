"""What a running worker can be asked to do: by its own process, and through the command line."""

from __future__ import annotations

from jobs.engine.presence import Mode
from jobs.engine.session import Session
from jobs.errors import WrongState


class Steering:
    """The part of a worker that holds it back and changes its pace while it runs."""

    _session: Session | None

    def quiet(self) -> None:
        """Claim nothing until `resume`; running jobs go on. The queue itself is not paused.

        Raises:
            WrongState: the worker does not run.
        """
        self._running().helm.turn(Mode.quiet)

    def resume(self) -> None:
        """Claim jobs again.

        Raises:
            WrongState: the worker does not run.
        """
        self._running().helm.turn(Mode.taking)

    def set_concurrency(self, limit: int, queue: str | None = None) -> None:
        """Change how many jobs run at once; what runs is not disturbed.

        Args:
            limit: 1 or more.
            queue: of this queue; by default of each that the worker serves.

        Raises:
            InvalidOption: the worker does not serve this queue, or the limit is below 1.
            WrongState: the worker does not run.
        """
        self._running().helm.set_concurrency(limit, queue)

    def _running(self) -> Session:
        if self._session is None:
            raise WrongState("the worker does not run: start it before you steer it")
        return self._session
