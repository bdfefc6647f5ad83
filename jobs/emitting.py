"""Application events: something happened, and every function that is subscribed to it runs.

    class UserCreated(Event):
        user_id: int

    @on(UserCreated)
    @job("welcome", queue="email")
    async def welcome(ctx: Context, event: UserCreated) -> None: ...

    await emit(UserCreated(user_id=42), id="user-42")

One job for each subscriber, in one call for each queue. Who is subscribed is known from the code of
the producer, and from what workers have noted on the server when they started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from jobs import registry
from jobs.client import Client, current_client
from jobs.durations import Duration
from jobs.errors import InvalidOption
from jobs.functions import JobFunction
from jobs.keys import check_name
from jobs.requests import Request
from jobs.store.subscriptions import subscribe, subscribers
from jobs.wire import Wire

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jobs.handle import Job
    from jobs.options import EnqueueOptions

logger = logging.getLogger("jobs.events")

F = TypeVar("F", bound=JobFunction[Any, Any])


class Event(BaseModel):
    """Something that happened in the application, with its data; a pydantic model.

    Args:
        name: in the class's brackets, `class UserCreated(Event, name="user.created")`: what it is
            called on the server; default the name of the class.

    The field `event` holds this name: it travels along, so that events with the same fields are
    told apart.
    """

    event_name: ClassVar[str] = "Event"
    event: str = Field(default="", validate_default=True)

    def __init_subclass__(cls, name: str | None = None, **more: Unpack[ConfigDict]) -> None:
        """Take the name that the class statement gives.

        Raises:
            InvalidOption: it is empty, too long, or holds control characters.
        """
        super().__init_subclass__(**more)
        cls.event_name = check_name(cls.__name__ if name is None else name, "event")

    @field_validator("event", mode="before")
    @classmethod
    def _is_of_this_class(cls, value: object) -> str:
        if value not in ("", cls.event_name):
            raise ValueError(f"expected the event {cls.event_name!r}, got {value!r}")
        return cls.event_name


def on(*events: type[Event]) -> Callable[[F], F]:
    """Subscribe a job function to events: `@on(UserCreated)` above `@job`.

    The event is its one payload. A function may be subscribed to several events, and an event may
    have several functions.

    Raises:
        InvalidOption: no event, or no job function.
    """
    for event in events or (None,):
        if not (isinstance(event, type) and issubclass(event, Event)):
            raise InvalidOption(f"`on` takes subclasses of `jobs.Event`, not {event!r}")
    names = tuple(event.event_name for event in events)

    def subscribed(function: F) -> F:
        if not isinstance(function, JobFunction):
            raise InvalidOption(f"write `@on(…)` above `@job`: {function!r:.80} is no job function")
        known = dict.fromkeys((*function.function.events, *names))
        function.function = replace(function.function, events=tuple(known))
        registry.register(function.function)
        return function

    return subscribed


async def emit(  # noqa: PLR0913 -- options of a call, each by name
    event: Event,
    *,
    at: datetime | None = None,
    delay: Duration | None = None,
    id: str | None = None,  # noqa: A002 -- the name of the option everywhere
    id_ttl: Duration = "24h",
    client: Client | None = None,
) -> list[Job[Any]]:
    """Enqueue one job for each function that is subscribed to this event.

    Args:
        event: what happened.
        at: run the jobs not before this moment (an aware datetime); not together with `delay`.
        delay: wait this long before the jobs may run.
        id: the event's own id: emitted again with it within `id_ttl`, it makes no second job.
        id_ttl: how long the id stays taken. Default 24 h.
        client: the client to enqueue through; default the current one.

    Returns:
        The jobs, in the order of the functions' names; none where nobody is subscribed.

    Raises:
        The same as `Client.enqueue_many`; after an error of the server some of the jobs may be
        queued, and repeating the call is safe when the event has an id.
    """
    options: dict[str, Any] = {}
    if at is not None:
        options["run_at"] = at
    if delay is not None:
        options["delay"] = delay
    if id is not None and not id:
        raise InvalidOption("the id of an event is non-empty text")
    client = client or current_client()
    requests = [
        _request(event, name, queue, options | _identity(id, id_ttl, name))
        for name, queue in sorted((await _subscribers(client, event.event_name)).items())
    ]
    if not requests:
        logger.info("nobody is subscribed to the event %r: it makes no job", event.event_name)
    by_queue = sorted(requests, key=lambda request: request.options["queue"])
    made = await client.enqueue_many(by_queue)
    jobs = dict(zip((request.function for request in by_queue), made, strict=True))
    return [jobs[request.function] for request in requests]


async def note_subscriptions(client: Client, functions: Mapping[str, registry.Function]) -> None:
    """Tell the server who is subscribed, for producers without the code; by workers.

    Raises:
        ServerAway, ServerRefused: the server did not answer, or not well.
    """
    await subscribe(
        client,
        client.prefix,
        {f.name: (_queue_of(f, client), f.events) for f in functions.values()},
    )


def _queue_of(function: registry.Function, client: Client) -> str:
    return function.queue or check_name(client.default_queue_name)


async def _subscribers(client: Client, event: str) -> dict[str, str]:
    """The functions that are subscribed, with their queues; what the code says counts first."""
    known = {f.name: _queue_of(f, client) for f in registry.functions.values() if event in f.events}
    return await subscribers(client.lane, client.prefix, event) | known


def _identity(event_id: str | None, ttl: Duration, function: str) -> dict[str, Any]:
    """Each subscriber has its own job for an event's id."""
    return {} if event_id is None else {"id": f"{event_id}:{function}", "id_ttl": ttl}


def _request(event: Event, function: str, queue: str, options: dict[str, Any]) -> Request:
    target = registry.functions.get(function)
    asked: EnqueueOptions = options | {"queue": queue}  # type: ignore[assignment]  # checked by the client
    if target is not None:
        return Request(function, (event,), {}, asked, target)
    return Request(function, (Wire(TypeAdapter(type(event))).write(event),), {}, asked)
