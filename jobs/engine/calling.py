"""Calls a function that needs more than a call: middleware, dependencies, a thread, a process."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor as Pool
from typing import Any

from jobs.context import Context
from jobs.depends import Holder
from jobs.engine.process_handle import Process
from jobs.middleware import MEANT_AT_RUN, RunCall, RunMiddleware, surround
from jobs.registry import Function


class Caller:
    """Duties, from the outside in: 1. middleware; 2. dependencies, closed when the function has
    ended; 3. the place: the event loop, a thread, or a process.

    Args:
        middleware: the outermost first.
        threads: where plain functions run; `None` takes the loop's own.
        holder: the values that live as long as the worker or longer.
    """

    def __init__(
        self, middleware: Sequence[RunMiddleware], threads: Pool | None, holder: Holder | None
    ) -> None:
        self.middleware = middleware
        self._threads = threads
        self._holder = holder

    async def call(
        self,
        function: Function,
        ctx: Context,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        process: Process | None = None,
    ) -> Any:
        """What the function returns.

        Raises:
            BaseException: whatever the function raises, a provider, or a middleware on purpose.
        """
        if not self.middleware:
            return await self._filled(function, ctx, args, kwargs, process)
        call = RunCall(ctx, ctx.function, list(args), dict(kwargs))
        return await surround(
            self.middleware,
            call,
            lambda: self._filled(function, ctx, call.args, call.kwargs, process),
            MEANT_AT_RUN,
        )

    async def _filled(
        self,
        function: Function,
        ctx: Context,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        process: Process | None,
    ) -> Any:
        wanted = function.signature.dependencies
        if not wanted:
            return await self._placed(function, ctx, args, kwargs, process)
        async with Holder("job", ctx, self._holder) as holder:
            filled = await holder.fill(wanted)
            return await self._placed(function, ctx, args, {**kwargs, **filled}, process)

    async def _placed(
        self,
        function: Function,
        ctx: Context,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        process: Process | None,
    ) -> Any:
        if function.is_async:
            return await function.call(ctx, *args, **kwargs)
        if process is not None:
            return await process.call(function.name, ctx, args, kwargs)
        scope = contextvars.copy_context()
        call = lambda: scope.run(function.call, ctx, *args, **kwargs)  # noqa: E731 -- for the pool
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
