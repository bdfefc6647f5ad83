"""The worker: arq's class with another engine behind it.

It takes every argument of arq's `Worker` and keeps its methods, hooks and counters, so that
`arq settings.WorkerSettings` and code written for arq run as before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import arq.worker
from arq.connections import ArqRedis
from arq.constants import default_queue_name
from arq.cron import CronJob

from jobs import client as clients
from jobs import clock, logs
from jobs.checks import check_concurrency
from jobs.client import Client
from jobs.codec import Deserializer, Serializer
from jobs.connections import blocking_client
from jobs.depends import Holder
from jobs.durations import Duration, to_ms, to_seconds
from jobs.engine import startup
from jobs.engine.accounts import Budget, Counters
from jobs.engine.assembly import ArqDefaults, as_arq, collect, fallbacks, served_queues
from jobs.engine.clockwork import clockwork
from jobs.engine.executor import Bench
from jobs.engine.health import HealthKey, take_leave
from jobs.engine.hooks import Hook, Hooks
from jobs.engine.link import Link
from jobs.engine.listeners import Listener, Listeners
from jobs.engine.processes import ProcessPool, process_count
from jobs.engine.session import Session, Setup
from jobs.engine.signals import ArqSignals, SignalTrap
from jobs.engine.steering import Steering
from jobs.engine.upkeep import Upkeep
from jobs.errors import JobsError
from jobs.ids import new_name
from jobs.keys import queue_keys
from jobs.middleware import EnqueueMiddleware, RunMiddleware, check_middleware
from jobs.notes import Capture, capture_level
from jobs.options import Queue
from jobs.recurring import Schedule, declared
from jobs.routers import expand
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")

#: Sidekiq's `-t`: shorter than the 30 s that Kubernetes and systemd-like supervisors wait.
GRACE_S = 25


class Worker(ArqSignals, Steering, arq.worker.Worker):
    """Runs jobs from many queues.

    Args:
        functions: job functions (`@job`), plain arq coroutines, what `func` returns, routers.
        queues: the queues to serve, with their concurrency and rates; those that job functions
            name are served as well.
        queue_name: the queue of plain functions and cron jobs; default "default".
        cron_jobs: what `cron` returns.
        redis_settings, redis_pool: where the server is; default the configured one, else
            localhost. A given pool is not closed.
        burst: run until the queues are empty, then end.
        on_startup, on_shutdown, on_job_start, on_job_end, after_job_end: arq's hooks; an error
            of a job hook is logged and harms no job.
        handle_signals: whether SIGTERM and SIGINT stop the worker. Default True.
        job_completion_wait: seconds that running jobs get to finish when the worker stops.
            Default 25 (arq: 0). What still runs then is released at once, and its attempt is
            not counted. A second signal cuts the wait short.
        max_jobs: concurrency of queues that name none. Default 10.
        job_timeout: limit of one attempt of plain functions, seconds or timedelta. Default 300;
            `None` for no limit.
        keep_result, keep_result_forever: how long results of plain functions are kept.
            Default 3600 s.
        poll_delay, queue_read_limit, expires_extra_ms, log_results: accepted for arq's sake:
            nothing is polled, unfinished jobs never expire, results are not logged.
        max_tries: total runs allowed to plain functions. Default 5.
        health_check_interval: seconds between two writes of arq's health key. Default 30
            (arq: 3600, which shows a hung worker as healthy for an hour).
        health_check_key: its name; default arq's.
        ctx: shared resources, the first argument of hooks and, copied, of jobs.
        retry_jobs: whether `Retry` and cancellation lead to another attempt. Default True.
        allow_abort_jobs: accepted for arq's sake: jobs can always be aborted.
        max_burst_jobs: most jobs started in a burst; negative for no limit.
        job_serializer, job_deserializer: for payloads and results that are not JSON.
        timezone: zone of cron jobs; default the machine's IANA zone.
        lease: how long a claimed job belongs to this worker without renewal. Default 30 s.
        max_deliveries: a job whose worker was lost this often is failed as poison. Default 3.
        schedules: what runs by the clock, beside what `@schedule` says; stored at the start.
        max_processes: most processes for functions with `executor="process"`. Default the CPUs.
        middleware, enqueue_middleware: async functions (call, call_next) round every run, and
            round every enqueue through the worker's client; the first is the outermost.
        on_completed, on_failed, on_exhausted: told of each end of an attempt when it is
            recorded, with the context and the result or error; of a failed attempt, of the last
            one. An error of theirs is logged.
        autorun: whether it claims jobs at once; else when `resume` is called. Default True.
        scheduler: whether it also makes jobs by the clock. Default True; with `False` another
            worker or `arq-jobs scheduler` must.
        capture_logs: keep what jobs write to `logging` with them: `True` or the lowest level.
            Default: only for functions that say so.

    Raises:
        ConfigurationError, InvalidOption: a setting that cannot work.
    """

    def __init__(  # noqa: PLR0913 -- arq's signature: its command line keeps only what is named here
        self,
        functions: Sequence[Any] = (),
        *,
        queue_name: str | None = default_queue_name,
        cron_jobs: Sequence[CronJob] | None = None,
        redis_settings: arq.connections.RedisSettings | None = None,
        redis_pool: ArqRedis | None = None,
        burst: bool = False,
        on_startup: Hook | None = None,
        on_shutdown: Hook | None = None,
        on_job_start: Hook | None = None,
        on_job_end: Hook | None = None,
        after_job_end: Hook | None = None,
        handle_signals: bool = True,
        job_completion_wait: float = GRACE_S,
        max_jobs: int = 10,
        job_timeout: Duration | None = 300,
        keep_result: Duration = 3600,
        keep_result_forever: bool = False,
        poll_delay: Duration = 0.5,
        queue_read_limit: int | None = None,
        max_tries: int = 5,
        health_check_interval: Duration = 30,
        health_check_key: str | None = None,
        ctx: dict[Any, Any] | None = None,
        retry_jobs: bool = True,
        allow_abort_jobs: bool = False,
        max_burst_jobs: int = -1,
        job_serializer: Serializer | None = None,
        job_deserializer: Deserializer | None = None,
        expires_extra_ms: int = 86_400_000,
        timezone: tzinfo | None = None,
        log_results: bool = True,
        queues: Sequence[Queue] = (),
        lease: Duration = 30,
        max_deliveries: int = 3,
        max_processes: int | None = None,
        capture_logs: Capture | None = None,
        middleware: Sequence[RunMiddleware] = (),
        enqueue_middleware: Sequence[EnqueueMiddleware] = (),
        on_completed: Listener | None = None,
        on_failed: Listener | None = None,
        on_exhausted: Listener | None = None,
        autorun: bool = True,
        schedules: Sequence[Schedule] = (),
        scheduler: bool = True,
    ) -> None:
        self._autorun, self._schedules_jobs = autorun, scheduler
        functions, cron_jobs, schedules = expand(functions, cron_jobs, schedules)
        self._capture = capture_level(capture_logs)
        self._middleware = check_middleware(middleware)
        self._enqueue_middleware = check_middleware(enqueue_middleware, "enqueue_middleware")
        self._listeners = Listeners(on_completed, on_failed, on_exhausted)
        self._max_processes = process_count(max_processes)
        self._counters = Counters()
        self._session: Session | None = None
        super().__init__(
            functions=[as_arq(function) for function in functions],
            queue_name=queue_name,
            cron_jobs=cron_jobs,
            redis_settings=redis_settings or clients.default_settings(),
            redis_pool=redis_pool,
            burst=burst,
            on_startup=on_startup,  # type: ignore[arg-type]  # arq wants a __qualname__ too
            on_shutdown=on_shutdown,  # type: ignore[arg-type]  # arq wants a __qualname__ too
            on_job_start=on_job_start,  # type: ignore[arg-type]  # arq wants a __qualname__ too
            on_job_end=on_job_end,  # type: ignore[arg-type]  # arq wants a __qualname__ too
            after_job_end=after_job_end,  # type: ignore[arg-type]  # arq wants a __qualname__ too
            handle_signals=False,
            max_jobs=check_concurrency("max_jobs", max_jobs),
            job_timeout=0 if job_timeout is None else to_seconds(job_timeout, what="job_timeout"),
            keep_result=to_seconds(keep_result, what="keep_result"),
            keep_result_forever=keep_result_forever,
            poll_delay=to_seconds(poll_delay, what="poll_delay"),
            queue_read_limit=queue_read_limit,
            max_tries=max_tries,
            health_check_interval=to_seconds(health_check_interval, what="health_check_interval"),
            health_check_key=health_check_key,
            ctx=ctx,
            retry_jobs=retry_jobs,
            allow_abort_jobs=allow_abort_jobs,
            max_burst_jobs=max_burst_jobs,
            job_serializer=job_serializer,
            job_deserializer=job_deserializer,
            expires_extra_ms=expires_extra_ms,
            timezone=timezone or clock.system_zone(),  # type: ignore[arg-type]  # arq says `timezone`, takes any tzinfo
            log_results=log_results,
        )
        self._handle_signals = handle_signals
        self._grace_s = to_seconds(job_completion_wait, what="job_completion_wait")
        self._job_completion_wait = self._grace_s  # type: ignore[assignment]  # arq: whole seconds
        if job_timeout is None:
            self.job_timeout_s = None  # type: ignore[assignment]  # arq cannot compare None (arq-A2)
        self._lease_ms = to_ms(lease, what="lease")
        self._max_deliveries = max_deliveries
        defaults = ArqDefaults(max_tries, job_timeout, keep_result, keep_result_forever)
        self._registry = collect(functions, self.cron_jobs, defaults)
        self._fallbacks = fallbacks(self._registry)
        self.schedules = declared(self._registry.values(), schedules)
        self.queues = served_queues(functions, queues, self.queue_name, own_needed=bool(cron_jobs))
        self.id = new_name(f"{self._kind}-{socket.gethostname()}")
        self._given_pool = redis_pool
        self._stopping = asyncio.Event()
        self._trap = SignalTrap()
        self._lent: Client | None = None
        self._open = False
        self._health: HealthKey | None = None

    # -- life ------------------------------------------------------------------------------

    #: What its id begins with.
    _kind = "worker"

    def run(self) -> None:
        """Run until stopped, then close; for the main thread of a process.

        Raises:
            SystemExit: with 1 when the worker cannot start; the reason was logged.
        """
        startup.calm_the_collector()
        self.main_task = self.loop.create_task(self.main())
        try:
            self.loop.run_until_complete(self.main_task)
        except JobsError as error:
            logger.critical("the worker cannot run: %s", error)
            raise SystemExit(1) from None
        finally:
            self.loop.run_until_complete(self.close())

    async def async_run(self) -> None:
        """Run until stopped, in the running loop; `close` closes the connections."""
        self.loop = asyncio.get_running_loop()
        self.main_task = self.loop.create_task(self.main())
        await self.main_task

    async def main(self) -> None:
        """Connect, check the server, work, and stop in order.

        Raises:
            ServerAway, ServerRefused: no server answers at the start.
            ConfigurationError: the server cannot hold jobs.
        """
        logs.borrow_arq_handlers()
        # Under the name of an earlier run the server may remember later requests.
        self.id = new_name(f"{self._kind}-{socket.gethostname()}")
        try:
            client = await self._connect()
            self.ctx["redis"] = client
            self._lent = clients.lend(client)
            if self._handle_signals:
                self._trap.set(self.loop, self.handle_sig_wait_for_completion)
            self._open = True
            if self.on_startup:
                await self.on_startup(self.ctx)
            await self._serve(client)
        finally:
            self._trap.release()
            self._stopping.clear()

    async def _serve(self, client: Client) -> None:
        async with startup.holding(self.ctx) as holder:
            self._session = session = Session(self._setup(client, holder), self._extra_loops)
            try:
                await session.start()
                await self._work(session)
            finally:
                await session.stop(self._grace_s if self._stopping.is_set() else 0)
                await take_leave(session.leave, self._health)

    async def _work(self, session: Session) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        if self.burst:
            work = asyncio.ensure_future(session.drain())
        else:
            session.serve()
            work = asyncio.ensure_future(session.failure())
        try:
            await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                session.take_no_more()
                logger.info("stopping: %s", self._figures())
            if work.done():
                work.result()
            elif self.burst:
                await session.finish_burst(work, self._grace_s)
        finally:
            await end_tasks(work, stopping)

    async def close(self) -> None:
        """Stop if still running, run `on_shutdown`, close the connections. Never raises for a
        server that is away (arq-B3).
        """
        self.stop()
        if self.main_task is not None and self.main_task is not asyncio.current_task():
            await asyncio.gather(self.main_task, return_exceptions=True)
        client, self._pool = self._pool, None
        if client is None:
            return
        self._stopping.clear()
        if self._open and self.on_shutdown:
            await self.on_shutdown(self.ctx)
        self._open = False
        if self._lent:
            clients.forget(self._lent)
        if self._given_pool is not None:
            self._pool = self._given_pool
            if isinstance(client, Client) and client is not self._given_pool:
                await client.lane.aclose()
        else:
            await client.aclose(close_connection_pool=True)

    def stop(self, grace: float | None = None) -> None:
        """Ask the worker to stop: no more claims, `grace` seconds (default
        `job_completion_wait`) for running jobs. Asked again, it waits no longer.
        """
        if self._stopping.is_set() and self._session is not None:
            self._session.hurry.set()
        self._grace_s = self._job_completion_wait if grace is None else grace
        self._stopping.set()

    # -- parts -----------------------------------------------------------------------------

    async def _connect(self) -> Client:
        """The worker's client, connected to a server that can hold jobs."""
        client = await startup.connect(self._pool, self.redis_settings, self.queue_name)
        self._pool = client
        client.job_serializer, client.job_deserializer = self.job_serializer, self.job_deserializer
        client.middleware = self._enqueue_middleware or client.middleware
        self._server = await startup.check(client)
        who = (self._kind, self.id, self._server, client.address, self._task())
        logger.info("%s %s on %s at %s %s", *who)
        return client

    def _task(self) -> str:
        queues, functions = ", ".join(self.queues), ", ".join(self._registry)
        return f"serves {queues} with {len(self._registry)} functions: {functions}"

    def _setup(self, client: Client, holder: Holder) -> Setup:
        hooks = Hooks(self.on_job_start, self.on_job_end, self.after_job_end)
        bench = Bench(
            functions=self._registry,
            resources=self.ctx,
            worker=self.id,
            threads=startup.function_threads(),
            processes=ProcessPool(self._registry.values(), self._max_processes),
            hooks=hooks,
            listeners=self._listeners,
            middleware=self._middleware,
            holder=holder,
            fallbacks=self._fallbacks,
            serializer=self.job_serializer,
            deserializer=self.job_deserializer,
            obeys_retry=self.retry_jobs,
            capture=self._capture,
        )
        limited = self.burst and self.max_burst_jobs >= 0
        return Setup(
            worker=self.id,
            client=client,
            queues=self.queues,
            default_concurrency=self.max_jobs,
            lease_ms=self._lease_ms,
            most_losses=self._max_deliveries,
            bench=bench,
            counters=self._counters,
            budget=Budget(self.max_burst_jobs if limited else None),
            connect_blocking=lambda: blocking_client(client, client.settings),
            stop=self.stop,
            server=self._server,
            autorun=self._autorun,
        )

    def _extra_loops(self, link: Link) -> list[Upkeep]:
        keys = {name: queue_keys(name, self.pool.prefix) for name in self.queues}
        self._health = HealthKey(
            link, keys, self.health_check_key, self.health_check_interval, self._figures
        )
        return [self._health, *(clockwork(link, keys, self) if self._schedules_jobs else [])]

    # -- figures ---------------------------------------------------------------------------

    @property
    def pool(self) -> Client:
        """The client of this worker."""
        assert isinstance(self._pool, Client)  # noqa: S101 -- arq's contract: only while running
        return self._pool
