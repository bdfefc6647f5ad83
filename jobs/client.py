"""The client: enqueues jobs, waits for their ends, and opens queues for questions.

It *is* an `ArqRedis`, so that code written for arq (`ctx["redis"].get(…)`) goes on working.
Nothing connects before the first call that is awaited.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Self, cast

import arq.connections
from pydantic import BaseModel
from redis.asyncio.sentinel import Sentinel

from jobs import clock, config, keys
from jobs.arq_client import ArqClient
from jobs.codec import MAX_BODY_BYTES
from jobs.connections import (
    RedisSettings,
    asks_server,
    connection_options,
    waiting_pool,
)
from jobs.durations import Duration
from jobs.errors import JobNotFound
from jobs.event_reader import follow
from jobs.handle import Job, JobInfo, timed_out
from jobs.ids import new_name
from jobs.inbox import Inbox
from jobs.keys import PREFIX, queue_keys
from jobs.lane import ANSWER_TIMEOUT_S, Lane
from jobs.middleware import EnqueueMiddleware, check_middleware, enqueue_through
from jobs.notes import JobLog
from jobs.once import once
from jobs.operations.editing import Writer
from jobs.operations.finding import Finding
from jobs.operations.pausing import pause_all, resume_all
from jobs.options import EnqueueOptions
from jobs.queues import QueueView, read_line
from jobs.requests import Prepared, Preparer, Request, hundreds
from jobs.schedules import Schedules
from jobs.sender import Sender
from jobs.states import State
from jobs.store import results
from jobs.store import workers as registry_store
from jobs.store.queue import Added
from jobs.tasks import within

#: A push can be lost with its connection; so a wait looks again, this seldom.
LOOK_AGAIN_S = 30.0


class Client(Finding, ArqClient):  # type: ignore[misc]  # redis-py's own bases disagree
    """Enqueues jobs and waits for them.

    Made by `Client.connect`, or by `create_pool` in arq's way. Use it as `async with`, or call
    `aclose` at the end.

    Args:
        pool_or_conn, job_serializer, job_deserializer, default_queue_name, expires_extra_ms:
            as in arq; `expires_extra_ms` is accepted and has no effect, since unfinished jobs
            never expire unless they are asked to.
        prefix: first part of every key; applications that share a server each have their own.
        max_body_bytes: limit of an encoded job; default 1 MiB.
        middleware: async functions (call, call_next) round every enqueue, the first outermost.
    """

    prefix: str = PREFIX
    max_body_bytes: int = MAX_BODY_BYTES
    settings: arq.connections.RedisSettings | None = None
    middleware: tuple[EnqueueMiddleware, ...] = ()

    @classmethod
    def connect(
        cls,
        server: str | arq.connections.RedisSettings | None = None,
        *,
        default_queue: str = keys.DEFAULT_QUEUE,
        prefix: str = PREFIX,
        max_body_bytes: int = MAX_BODY_BYTES,
        middleware: Sequence[EnqueueMiddleware] = (),
    ) -> Self:
        """A client for `server`: a URL, settings, or `None` for the configured server.

        It connects when first used.

        Raises:
            ConfigurationError: no server is configured, the URL is malformed, or a middleware is
                no function.
        """
        if server is None or isinstance(server, str):
            server = RedisSettings.from_dsn(server or config.server_url())
        client = cls.from_settings(server)
        client.default_queue_name = default_queue
        client.prefix, client.max_body_bytes = prefix, max_body_bytes
        client.middleware = check_middleware(middleware)
        return client

    @classmethod
    def from_settings(cls, settings: arq.connections.RedisSettings) -> Self:
        """A client for these settings, not connected yet."""
        options = connection_options(settings) | {"max_connections": settings.max_connections}
        if settings.sentinel:
            sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
                settings.host,
                sentinel_kwargs=getattr(settings, "sentinel_kwargs", None),
                **options,
            )
            client = cast("Self", sentinel.master_for(settings.sentinel_master, redis_class=cls))
        else:
            client = cls(**options)
            if settings.max_connections is not None:
                client.connection_pool = waiting_pool(client, settings.max_connections)
        client.settings = settings
        return client

    # -- enqueue ---------------------------------------------------------------------------

    async def enqueue(
        self, function: str, payload: BaseModel | Mapping[str, Any] | None = None, **options: Any
    ) -> Job[Any]:
        """Enqueue one job by the name of its function.

        Args:
            function: the function's name; its code need not be known in this process.
            payload: the keyword arguments, as a mapping or a pydantic model.
            options: see `EnqueueOptions`.

        Returns:
            The job's handle; for an id that is taken, that of the job which has it, with
            `duplicate` set.

        Raises:
            InvalidOption, InvalidPayload, PayloadTooLarge: nothing was enqueued.
            DuplicateJob: the id is taken, with `on_conflict="raise"`.
            ServerAway, ServerRefused: the server took nothing.
            EnqueueUnknown: the answer was lost; repeat with the same id.
        """
        args = (payload,) if isinstance(payload, BaseModel) else ()
        kwargs = {} if args or payload is None else dict(cast("Mapping[str, Any]", payload))
        return await self.enqueue_one(
            Request(function, args, kwargs, cast("EnqueueOptions", options))
        )

    async def enqueue_one(self, request: Request) -> Job[Any]:
        """Enqueue one job as it was requested by `function.request(…)`.

        Raises:
            The same as `enqueue`.
        """
        if request.options and "repeat" in request.options:
            return await self.schedules.repeat(request)
        return await self._submit(request)

    async def enqueue_many(self, requests: Sequence[Request]) -> list[Job[Any]]:
        """Enqueue many jobs, 100 a round trip; the handles are in the order of the requests.

        Everything is checked before anything is sent. Each hundred is added whole or not at all.

        Raises:
            The same as `enqueue`. After an error of the server, other hundreds may be queued;
            repeating the call is safe when the requests have ids.
        """
        if self.middleware:
            return await self._through(requests)
        preparer = self._preparer()
        return await self._send([preparer.prepare(request) for request in requests])

    async def enqueue_stream(self, requests: Iterable[Request]) -> int:
        """Enqueue as many jobs as `requests` gives, in constant memory and the quickest way.

        They are taken and checked a hundred at a time, while the server is busy with those
        before; `enqueue_many` checks all of them first.

        Returns:
            How many jobs were added; those whose id was taken are not counted.

        Raises:
            The same as `enqueue`, and what `requests` raises. Hundreds before it may be queued;
            repeating the call is safe when the requests have ids.
        """
        if self.middleware:
            made = [await self._through(chunk) for chunk in hundreds(requests)]
            return sum(not job.duplicate for jobs in made for job in jobs)
        answers = await self._sender.send(map(self._preparer().prepare, requests))
        return answers.count(Added.added)

    async def _submit(self, request: Request, *, first_attempt: int = 1) -> Job[Any]:
        """Enqueue one job whose first attempt has another number than 1; else `enqueue_one`.

        Raises:
            The same as `enqueue`.
        """
        if self.middleware:
            (job,) = await self._through([request], first_attempt)
            return job
        prepared = self._preparer().prepare(request, first_attempt=first_attempt)
        return self._handle(prepared, await self._sender.send_one(prepared))

    async def _through(self, requests: Iterable[Request], first_attempt: int = 1) -> list[Job[Any]]:
        prepare = partial(self._preparer().prepare, first_attempt=first_attempt)
        return await enqueue_through(self.middleware, requests, prepare, self._send)

    async def _send(self, prepared: Sequence[Prepared]) -> list[Job[Any]]:
        answers = await self._sender.send(prepared)
        return [self._handle(item, answer) for item, answer in zip(prepared, answers, strict=True)]

    def _preparer(self) -> Preparer:
        settings = (self.default_queue_name, self.max_body_bytes, self.job_serializer)
        known, preparer = self.__dict__.get("_own_preparer", (None, None))
        if known != settings:
            preparer = Preparer(keys.check_name(settings[0]), *settings[1:])
            self.__dict__["_own_preparer"] = settings, preparer
        return cast("Preparer", preparer)

    def _handle(self, item: Prepared, answer: Added) -> Job[Any]:
        duplicate = answer is not Added.added
        return Job(item.job_id, self, item.queue, duplicate=duplicate, convert=item.convert)

    events = follow

    def job(self, job_id: str, queue: str = keys.DEFAULT_QUEUE) -> Job[Any]:
        """The handle of a job by its id; asks nothing of the server."""
        return Job(job_id, self, keys.check_name(queue))

    def queue(self, name: str = keys.DEFAULT_QUEUE) -> QueueView:
        """The view of one queue: counts, pages of jobs, figures, and control of both."""
        own = self.max_body_bytes, self.job_serializer, self.job_deserializer
        writer = Writer(self._sender, *own)
        return QueueView(self, self.address, keys.check_name(name), self.prefix, writer)

    pause_all, resume_all = pause_all, resume_all

    @property
    def schedules(self) -> Schedules:
        """The schedules of the server: store, list, pause, run now, ask for the next instants."""
        return Schedules(self, self._preparer())

    @asks_server
    async def queues(self) -> list[str]:
        """The names of all queues that ever had a job, sorted."""
        return await registry_store.all_queues(self, self.prefix)

    async def job_info(self, queue: str, job_id: str) -> JobInfo:
        """Everything that a queue knows about one job.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return await self.queue(queue).job(job_id)

    async def job_logs(self, queue: str, job_id: str, attempt: int | None = None) -> JobLog:
        """The log of one job; see `QueueView.logs`."""
        return await self.queue(queue).logs(job_id, attempt)

    async def cancel_job(self, queue: str, job_id: str, reason: str = "cancelled") -> State | None:
        """Cancel a job; the state in which it was found, `None` if the queue has it not."""
        return await self.queue(queue).cancel(job_id, reason)

    @asks_server
    async def wait_end(self, queue: str, job_id: str, timeout_s: float | None) -> results.End:
        """Wait for the end of a job.

        Raises:
            JobNotFound: the queue does not hold it.
            ResultTimeout: it did not end within `timeout_s` seconds.
        """
        names = queue_keys(queue, self.prefix)
        inbox = self._inbox()
        channel = keys.inbox_channel(f"{inbox.name}:{keys.quote_name(queue)}", self.prefix)
        over_at = float("inf") if timeout_s is None else clock.mono() + timeout_s
        await inbox.subscribe(channel)
        while True:
            with inbox.listen(channel, job_id) as pushed:
                state, end = await results.watch(self.lane, names, job_id, channel)
                if state is None:
                    raise JobNotFound(queue, job_id)
                left = over_at - clock.mono()
                end = end or await within(pushed, min(left, LOOK_AGAIN_S))
            if end is not None:
                return end
            if clock.mono() >= over_at:
                raise timed_out(queue, job_id, timeout_s or 0)

    def once(
        self, name: str, ttl: Duration = "24h", *, hold: Duration = "5m"
    ) -> AbstractAsyncContextManager[bool]:
        """`async with client.once("welcome:42") as first:` -- whether nobody has done it yet.

        Done when the block ends, free again when it raises. While somebody is in the block the
        others are told that they are not the first. Jobs have `ctx.once`, which the next attempt
        of a dead worker's job takes over.

        Args:
            name: what is done: one marker for the whole prefix, whoever asks.
            ttl: how long it stays done. Default 24 h.
            hold: how long the block may take: after that, somebody else may begin. Default 5 min.

        Raises:
            InvalidOption: an empty name, or durations that are not positive.
            ServerAway, ServerRefused: the server did not answer, or not well.
        """
        return once(self, name, ttl, hold, owner=new_name("once"))

    def read_end(self, end: results.End) -> dict[str, Any]:
        """The last line of a job's history, with a result of one's own serializer read."""
        return read_line(end.line, self.job_deserializer)

    @property
    def lane(self) -> Lane:
        """The connection on which this client's own calls travel; not for blocking commands."""
        lane: Lane | None = self.__dict__.get("_own_lane")
        if lane is None:
            limit_s = self.connection_pool.connection_kwargs.get("socket_timeout")
            lane = Lane(self.connection_pool, limit_s or ANSWER_TIMEOUT_S)
            self.__dict__["_own_lane"] = lane
        return lane

    @property
    def _sender(self) -> Sender:
        sender: Sender | None = self.__dict__.get("_own_sender")
        if sender is None:
            sender = self.__dict__["_own_sender"] = Sender(self.lane, self.prefix, self.address)
        return sender

    def _inbox(self) -> Inbox:
        inbox: Inbox | None = self.__dict__.get("_own_inbox")
        if inbox is None:
            inbox = self.__dict__["_own_inbox"] = Inbox(self, new_name("inbox"))
        return inbox

    # -- life ------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where the server is, for people; without the password."""
        options = self.connection_pool.connection_kwargs
        return options.get("path") or f"{options.get('host', '?')}:{options.get('port', '?')}"

    async def __aenter__(self) -> Self:
        lend(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections; the client can be used again and then opens new ones."""
        if inbox := self.__dict__.pop("_own_inbox", None):
            await inbox.aclose()
        await self.lane.aclose()
        forget(self)
        await super().aclose(close_connection_pool)


#: The client that functions enqueue through when they are given none, by event loop.
clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = weakref.WeakKeyDictionary()


def lend(client: Client) -> Client | None:
    """Let functions enqueue through `client` in this loop; `None` if they have one already."""
    loop = asyncio.get_running_loop()
    if loop in clients:
        return None
    clients[loop] = client
    return client


def forget(client: Client) -> None:
    """Functions do not enqueue through `client` any more."""
    for loop in [loop for loop, known in clients.items() if known is client]:
        del clients[loop]


def default_settings() -> RedisSettings:
    """The configured server, else arq's default: localhost."""
    found = config.find_server_url()
    return RedisSettings.from_dsn(found.url) if found else RedisSettings()


def current_client() -> Client:
    """The client of the running event loop: the one entered with `async with`, the worker's
    own inside a worker, else one for the configured server.

    Raises:
        ConfigurationError: there is none, and no server is configured.
    """
    loop = asyncio.get_running_loop()
    if loop not in clients:
        clients[loop] = Client.connect()
    return clients[loop]
