"""Runs one claimed job: read, check, perform, resolve, report. It never raises."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field
from random import random
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from jobs import clock, logs
from jobs.codec import Body, Deserializer, Serializer, decode_body
from jobs.context import Context, Scheduled
from jobs.depends import Holder
from jobs.engine.calling import Caller
from jobs.engine.exhausted import call_exhausted
from jobs.engine.hooks import Hooks, call_hook
from jobs.engine.listeners import Listeners
from jobs.engine.outcome import (
    AttemptEnd,
    Chance,
    Overdue,
    Raised,
    Resolution,
    Returned,
    Stop,
    Stopped,
    Unrunnable,
    Why,
    describe,
    resolve,
)
from jobs.engine.plans import Plan, plan_for, with_call
from jobs.engine.process_handle import Process
from jobs.engine.processes import ProcessPool
from jobs.engine.run import Run
from jobs.errors import Fail, UnreadableBody, writable
from jobs.middleware import RunMiddleware
from jobs.notes import NoteTaker, captured
from jobs.options import JobOptions
from jobs.registry import Function
from jobs.soft_timeout import SoftTimeout
from jobs.store.queue import Ack, Verb

logger = logging.getLogger("jobs.worker")

_NOT_ENDED = (-1, -1, -1)
#: What a function that returned leaves to chance.
_NO_CHANCE = Chance(random)


@dataclass
class Bench:
    """What the executors of one worker share."""

    functions: Mapping[str, Function]
    resources: dict[Any, Any]
    worker: str
    threads: Pool | None = None
    processes: ProcessPool | None = None
    hooks: Hooks = field(default_factory=Hooks)
    listeners: Listeners = field(default_factory=Listeners)
    middleware: Sequence[RunMiddleware] = ()
    holder: Holder | None = None
    fallbacks: Mapping[str, Function] = field(default_factory=dict)
    serializer: Serializer | None = None
    deserializer: Deserializer | None = None
    obeys_retry: bool = True
    #: The lowest level of the records of `logging` that are kept with a job; `None` for none.
    capture: int | None = None


class Executor:
    """Runs the jobs of one queue.

    Args:
        bench: what it shares with the executors of other queues.
        queue_defaults: the queue's layer of options.
        fallback: runs the jobs whose functions this worker does not have.
        notes: where what jobs tell of themselves goes.
    """

    def __init__(
        self,
        bench: Bench,
        queue_defaults: JobOptions,
        fallback: Function | None = None,
        *,
        notes: NoteTaker | None = None,
    ) -> None:
        self._bench = bench
        self._fallback = fallback
        self._notes = notes
        self._defaults = queue_defaults
        self._plans: dict[str, Plan] = {}
        self._unknown = self._plan("")
        self._caller = Caller(bench.middleware, bench.threads, bench.holder)
        self._is_surrounded = bool(bench.middleware)
        self._is_heard = bench.listeners.listening
        #: Whether somebody wants to hear that the end of a job is recorded.
        self.has_after = self._is_heard or bench.hooks.after_job_end is not None
        self._is_plain = bench.hooks.on_job_start is None and bench.hooks.on_job_end is None
        # The start of an attempt's entry in the history; the rest of it is different each time.
        worker = to_json(bench.worker).replace(b"%", b"%%")
        self._entry = b'{"outcome":"%b","attempt":%d,"at":%d,"ran":%d,"worker":' + worker

    async def run(self, run: Run) -> Ack | None:
        """Run one attempt; the ack to write, or `None` if its lease is lost."""
        plan = self._unknown
        try:
            body = self._read(run)
            run.plan = plan = self._plan_of(run, body)
            function = self._bench.functions.get(body.function) or self._fallback
            if function is None:
                reason = f"no function {body.function!r} is registered in this worker"
                end: AttemptEnd = Unrunnable(reason)
            elif refusal := _refusal(run, plan):
                end = refusal
            else:
                run.context = self._context(run, plan, body.options)
                logs.current.set(run)
                logs.started(run, run.claimed_ms - run.available_ms)
                perform = self._plainly if self._is_plain else self._with_hooks
                end = await perform(run, function, body, plan)
        except UnreadableBody as error:
            end = Unrunnable(str(error))
        except asyncio.CancelledError:  # in a hook, before or after the function itself
            end = Stopped(run.stop or Stop(Why.shutdown))
        ran_ms = int((clock.mono() - run.started_s) * 1000)
        resolution = self._resolve(run, plan, end, ran_ms)
        if plan.on_exhausted is not None and resolution is not None:
            await self._exhausted(run, plan, resolution)
        return self._report(run, plan, resolution, ran_ms)

    def released(self, run: Run) -> Ack | None:
        """The ack of an attempt that was stopped before its first step."""
        plan = self._unknown.but(obeys_retry=True)  # it did not begin: give it back
        end = Stopped(run.stop or Stop(Why.shutdown))
        return self._report(run, plan, self._resolve(run, plan, end, 0), 0)

    # -- read ------------------------------------------------------------------------------

    def _read(self, run: Run) -> Body:
        body = decode_body(run.job_id, run.claimed.body, self._bench.deserializer)
        run.function = body.function
        return body

    def _plan_of(self, run: Run, body: Body) -> Plan:
        try:
            if not body.options:
                return self._plan(body.function)
            run.attempt += int(body.options.get("first_attempt", 1)) - 1
            return with_call(self._plan(body.function), body.options)
        except (ValueError, TypeError, AttributeError) as error:
            raise UnreadableBody(
                f"the options of job {run.job_id!r} are unreadable: {error}"
            ) from error

    def _plan(self, name: str) -> Plan:
        plan = self._plans.get(name)
        if plan is None:
            function = self._bench.functions.get(name) or self._fallback
            plan = plan_for(function, self._defaults, obeys_retry=self._bench.obeys_retry)
            if function is None or name in self._bench.functions:  # names of all kinds fall back
                self._plans[name] = plan
        return plan

    # -- perform ---------------------------------------------------------------------------

    def _plainly(
        self, run: Run, function: Function, body: Body, plan: Plan
    ) -> Coroutine[Any, Any, AttemptEnd]:
        """The function itself; not a coroutine more than that needs."""
        level = self._bench.capture if function.capture is None else function.capture
        if level is not None:
            return self._captured(run, function, body, plan, level)
        return self._work(run, function, body, plan)

    def _work(
        self, run: Run, function: Function, body: Body, plan: Plan
    ) -> Coroutine[Any, Any, AttemptEnd]:
        if function.in_process:
            return self._in_process(run, function, body, plan)
        run.begin_time(plan)
        return self._perform(run, function, body)

    async def _captured(
        self, run: Run, function: Function, body: Body, plan: Plan, level: int
    ) -> AttemptEnd:
        """The same, with its records of `logging` kept with the job."""
        assert run.context is not None  # noqa: S101 -- made before
        with captured(run.context, level):
            return await self._work(run, function, body, plan)

    async def _with_hooks(self, run: Run, function: Function, body: Body, plan: Plan) -> AttemptEnd:
        """The function between arq's hooks; the first of them counts as its time."""
        start, end = self._bench.hooks.on_job_start, self._bench.hooks.on_job_end
        perform = self._plainly(run, function, body, plan)
        try:
            if start is not None:
                await call_hook(start, run.context)
        except BaseException:
            perform.close()
            raise
        ended = await perform
        if end is not None:
            await call_hook(end, run.context)
        return ended

    def _context(self, run: Run, plan: Plan, options: Mapping[str, Any]) -> Context:
        context = Context(
            self._bench.resources,
            job_id=run.job_id,
            queue=run.queue,
            function=run.function,
            attempt=run.attempt,
            attempts=plan.attempts,
            token=run.token,
            worker=run.worker,
            enqueued_at=clock.from_ms(run.claimed.enqueued_ms),
            due_ms=int(run.available_ms),
            running=run,
            schedule=Scheduled.of(options.get("schedule")) if options else None,
        )
        context.notes = self._notes
        return context

    async def _in_process(self, run: Run, function: Function, body: Body, plan: Plan) -> AttemptEnd:
        """The same in a process; the time of the attempt begins when one is free."""
        assert self._bench.processes is not None  # noqa: S101 -- a worker has a pool
        try:
            async with self._bench.processes.process() as process:
                run.started_s = clock.mono()
                run.begin_time(plan)
                run.watch(run)
                return await self._perform(run, function, body, process)
        except asyncio.CancelledError as error:
            return Stopped(run.stop) if run.stop else Raised(error)
        except Exception as error:  # noqa: BLE001 -- no process could be started
            return Raised(error)

    async def _perform(
        self, run: Run, function: Function, body: Body, process: Process | None = None
    ) -> AttemptEnd:
        """Call the function; every way to end becomes a value."""
        try:
            if run.stop is not None:
                return Stopped(run.stop)
            args, kwargs = function.signature.arguments(body.args, body.kwargs)
            if run.soft is None and function.is_bare and not self._is_surrounded:
                return Returned(await function.call(run.context, *args, **kwargs))
            assert run.context is not None  # noqa: S101 -- made before
            call = self._caller.call(function, run.context, args, kwargs, process)
            if run.soft is not None and function.is_async:
                return Returned(await run.soft.drive(call))
            return Returned(await call)
        except asyncio.CancelledError as error:
            return Stopped(run.stop) if run.stop else Raised(_own_end(run, error))
        except GeneratorExit:  # the loop is being torn down
            raise
        except BaseException as error:  # noqa: BLE001 -- every way to end is a value; arq-B5
            return Raised(error)
        finally:
            run.timeout_s = None

    async def after(self, run: Run) -> None:
        """Tell those who want to know that the end of an attempt is recorded."""
        hook = self._bench.hooks.after_job_end
        context, run.context = run.context, None
        if context is None:
            return
        if hook is not None:
            await call_hook(hook, context)
        if run.resolution is not None:
            await self._bench.listeners.tell(context, run.resolution)

    # -- report ----------------------------------------------------------------------------

    def _resolve(self, run: Run, plan: Plan, end: AttemptEnd, ran_ms: int) -> Resolution | None:
        """What follows from the end; policies are the application's code and may raise anything."""
        chance = _NO_CHANCE
        if type(end) is not Returned:
            age_ms = run.claimed_ms - run.claimed.enqueued_ms + ran_ms
            chance = Chance(random, age_ms, run.claimed_ms + ran_ms)
        try:
            return resolve(plan, run.attempt, end, chance)
        except Exception as error:
            if plan.rules:
                logger.exception("a rule of `retry_on` of %s failed; it goes without", run.function)
                return self._resolve(run, plan.but(rules={}), end, ran_ms)
            return resolve(plan, run.attempt, Raised(_as_fail(error)), chance)

    async def _exhausted(self, run: Run, plan: Plan, resolution: Resolution) -> None:
        """Tell the application's hook of a job that failed for good."""
        if resolution.verb is not Verb.fail or resolution.error is None:
            return
        context = run.context or self._context(run, plan, {})
        await call_exhausted(plan.on_exhausted, context, resolution.error, self._bench.threads)

    def _report(
        self, run: Run, plan: Plan, resolution: Resolution | None, ran_ms: int
    ) -> Ack | None:
        if resolution is None:
            logs.stale(run)
            return None
        if self._is_heard:
            run.resolution = resolution
        line = self._line(run, plan, resolution, ran_ms)
        _log(run, resolution, ran_ms)
        has_begun = run.context is not None
        if not self.has_after:
            run.context = None  # it names the run: a ring would be left to the collector
        return Ack(
            run.job_id,
            run.token,
            resolution.verb,
            resolution.delay_ms,
            resolution.keep,
            ran_ms if has_begun else -1,
            line,
            run.function,
        )

    def _line(self, run: Run, plan: Plan, resolution: Resolution, ran_ms: int) -> bytes:
        """The attempt's entry in the job's history."""
        facts = (resolution.outcome.encode(), run.attempt, clock.now_ms(), ran_ms)
        head = self._entry % facts
        if resolution.reason:
            head += b',"reason":%b' % to_json(writable(str(resolution.reason)))
        if resolution.error is not None:
            return head + b',"error":%b}' % to_json(
                describe(resolution.error, plan.traceback_limit)
            )
        if resolution.value is not None:
            return head + self._result(run, resolution.value, plan.max_result_bytes, len(head))
        return head + b"}"

    def _result(self, run: Run, value: Any, limit: int, used: int) -> bytes:
        """The entry's end with the result; what cannot be stored is left out and said (arq-A14)."""
        try:
            if self._bench.serializer is not None:
                own = base64.b64encode(self._bench.serializer({"r": value}))
                end = b',"own":"%b"}' % own
            else:
                end = b',"result":%b}' % to_json(value)
            if used + len(end) <= limit:
                return end
            problem = f"it has {len(end):,} bytes, over the limit of {limit:,}"
        except Exception as error:  # noqa: BLE001 -- a result of any type; the job itself is done
            problem = str(error) if isinstance(error, PydanticSerializationError) else repr(error)
        logger.warning("the result of job %s is not stored: %s", run.job_id, problem)
        return b',"unstored":%b}' % to_json(problem)


def unbegun(run: Run) -> Ack:
    """The ack of a claimed job that goes back to its place unbegun: nothing happened to it."""
    return Ack(run.job_id, run.token, Verb.release, 0, _NOT_ENDED, -1, b"")


def _refusal(run: Run, plan: Plan) -> AttemptEnd | None:
    """Why an attempt does not begin, if so."""
    limit_ms = plan.expires_ms
    if limit_ms is not None and run.claimed_ms - run.claimed.enqueued_ms > limit_ms:
        return Overdue(limit_ms)
    if plan.start_by_ms is not None and run.claimed_ms > plan.start_by_ms:
        return Overdue(None, plan.start_by_ms)
    if run.cancel_asked:
        return Stopped(Stop(Why.cancel, "cancelled"))
    if plan.max_starts is not None and (starts := run.claimed.record.starts) >= plan.max_starts:
        return Raised(Fail(f"started {starts} times, which is its `max_starts`"))
    return None


def _own_end(run: Run, error: asyncio.CancelledError) -> BaseException:
    """What a function failed with that ends by a cancellation of its own."""
    if run.soft is not None and isinstance(error, SoftTimeout):
        return run.soft.failure(error)
    return error


def _as_fail(error: BaseException) -> BaseException:
    return error if isinstance(error, Fail) else Fail(f"{type(error).__name__}: {error}")


def _log(run: Run, resolution: Resolution, ran_ms: int) -> None:
    match resolution.outcome:
        case "failed" if resolution.error is not None:
            logs.failed(run, resolution.error)
        case "retried" if resolution.error is not None:
            logs.retrying(run, resolution.error, resolution.delay_ms)
        case "parked":
            logs.parked(run, resolution.reason)
        case outcome:
            logs.ended(run, outcome, ran_ms, resolution.reason)
