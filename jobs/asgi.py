"""A client that lives as long as a web application; for FastAPI, Starlette, Litestar, Quart.

    jobs = Jobs()
    app = FastAPI(lifespan=jobs.lifespan)

    @app.post("/users")
    async def sign_up(client: Annotated[Client, Depends(jobs)]) -> None:
        await client.enqueue("welcome", {"user": 42})

No web framework is imported here: a lifespan is a function of the application, and a dependency is
something that can be called.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from jobs import Client, Worker
from jobs.errors import ConfigurationError

logger = logging.getLogger("jobs.worker")


class Jobs:
    """Duties: 1. open the client with the application and close it after; 2. give it to handlers;
    3. run a worker inside the application, if one is wanted.

    Args:
        server: as in `Client.connect`; default the configured server.
        worker: a settings class, or a mapping of the same content, whose worker is to run inside
            the application; default none.
        **options: further arguments of `Client.connect`.
    """

    def __init__(self, server: Any = None, *, worker: Any = None, **options: Any) -> None:
        self._server, self._worker, self._options = server, worker, options
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            ConfigurationError: the application has not started, or has ended.
        """
        if self._client is None:
            raise ConfigurationError(
                "the client of the application is not open: give it to the application as "
                "`lifespan=jobs.lifespan`, or enter `async with jobs.lifespan(app)`"
            )
        return self._client

    async def __call__(self) -> Client:
        """The client, for the framework's dependencies: `Depends(jobs)`."""
        return self.client

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[dict[str, Any]]:
        """The application's lifespan; handlers of Starlette find the client as
        `request.state.jobs`.

        A worker that cannot start or ends with an error is logged; the application goes on.

        Raises:
            ConfigurationError: no server is configured, or the worker's settings cannot work.
        """
        async with Client.connect(self._server, **self._options) as client:
            self._client = client
            try:
                async with self._working(client):
                    yield {"jobs": client}
            finally:
                self._client = None

    @asynccontextmanager
    async def _working(self, client: Client) -> AsyncIterator[None]:
        if self._worker is None:
            yield
            return
        given = _arguments(self._worker) | {"redis_pool": client, "handle_signals": False}
        worker = Worker(**given)
        running = asyncio.create_task(worker.async_run(), name="jobs-embedded-worker")
        running.add_done_callback(_tell_of_end)
        try:
            yield
        finally:
            worker.stop()
            await asyncio.wait([running])
            await worker.close()


def _tell_of_end(running: asyncio.Task[None]) -> None:
    """The application goes on without its worker; that must not go unseen."""
    if not running.cancelled() and (error := running.exception()):
        logger.critical("the worker inside the application has ended: %s", error, exc_info=error)


def _arguments(settings: Any) -> dict[str, Any]:
    """What a settings class or mapping says to the worker; the server is the client's."""
    known = inspect.signature(Worker).parameters.keys() - {"redis_settings"}
    if isinstance(settings, Mapping):
        return {name: value for name, value in settings.items() if name in known}
    return {name: getattr(settings, name) for name in known if hasattr(settings, name)}
