"""What code a job runs: functions by name, their options, and the validation of their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jobs.limits import Limit
from jobs.options import JobOptions, Place
from jobs.signature import Signature
from jobs.uniqueness import By, Unique


@dataclass(frozen=True)
class Function:
    """One function that jobs can run.

    Args:
        name: what producers call it.
        call: the code: a coroutine function, or a plain one.
        signature: its parameters behind `ctx`.
        queue: where its jobs go; `None` for the default queue.
        options: its layer of job options; those of its `Queue` below its own.
        layers: the same apart, the nearest first, each with the name of where it was written.
        retries: whether an ordinary exception leads to another attempt. Plain arq functions
            keep arq's rule: only `Retry`, a timeout and a cancellation do.
        description: a sentence for people.
        executor: where a plain function runs.
        limits: how many of its jobs run at once or start in a time.
        key: how the key of a job is found, by which it is limited and takes turns.
        unique: which of its jobs are the same.
        aliases: further names under which its jobs may come.
        events: the names of the application events that it is subscribed to.
        fallback: whether it runs the jobs of its queue whose functions nobody has.
        capture: the lowest level of the records of `logging` that are kept with a job; `None`
            leaves it to the worker.
    """

    name: str
    call: Callable[..., Any]
    signature: Signature
    queue: str | None = None
    options: JobOptions = field(default_factory=JobOptions)
    layers: tuple[tuple[str, JobOptions], ...] = ()
    retries: bool = True
    description: str = ""
    executor: Place = "thread"
    limits: tuple[Limit, ...] = ()
    key: By | None = None
    unique: Unique | None = None
    aliases: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    fallback: bool = False
    capture: int | None = None

    @cached_property
    def is_async(self) -> bool:
        """Whether the code is a coroutine function."""
        return inspect.iscoroutinefunction(self.call)

    @cached_property
    def is_bare(self) -> bool:
        """Whether calling the code is all there is to do."""
        return self.is_async and not self.signature.dependencies

    @cached_property
    def wire(self) -> dict[str, Any]:
        """What of its options each of its jobs carries, so that others can see it there."""
        labels = {"tags": self.options.tags, "headers": self.options.headers}
        return {name: value for name, value in labels.items() if value}

    @cached_property
    def is_plain(self) -> bool:
        """Whether its jobs carry nothing but their arguments."""
        return self.key is None and self.unique is None and not self.wire

    @cached_property
    def in_process(self) -> bool:
        """Whether the code runs in a process of the worker's pool."""
        return self.executor == "process"


#: Every function declared with `@job`, by name, so that a producer can check what it enqueues.
functions: dict[str, Function] = {}


def register(function: Function) -> None:
    """Make a function known under its name and its aliases."""
    for name in (function.name, *function.aliases):
        functions[name] = function
