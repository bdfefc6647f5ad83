"""`workers list|show|quiet|resume|stop|concurrency` and `health`: who works, and how to steer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, plain

if TYPE_CHECKING:
    from jobs import Client
    from jobs.operations.fleet import Health, WorkerStatus
    from jobs.store.commands import Wish

COLUMNS = ["id", "host", "pid", "state", "up", "running", "slots", "queues", "lag", "memory"]
MIB = 1024 * 1024

WorkerArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The id of a worker, or an end of it that is unique.")
]


def list_workers(cli: Cli) -> None:
    """The live workers: where they run, what they serve, how full and how late they are."""
    from jobs.cli.server import talk
    from jobs.operations.fleet import Fleet

    found = talk(cli, None, lambda client: Fleet(client).workers())
    if cli.json:
        return cli.document(workers=[as_json(worker) for worker in found])
    if cli.quiet:
        for worker in found:
            cli.data(plain(worker.id))
        return None
    if not found:
        return cli.say("no worker is alive; `arq-jobs worker` starts one")
    cli.table(COLUMNS, [_row(worker) for worker in found])
    for worker in found:
        if worker.stuck:
            cli.say(f"{worker.id} is blocked by {_blocked(worker)}")
    return None


def show_worker(cli: Cli, worker_id: WorkerArgument) -> None:
    """One worker: versions, functions, the jobs that it runs, and what last blocked its loop."""
    from jobs.cli.server import talk

    worker = talk(cli, None, lambda client: find_worker(client, worker_id))
    if cli.json:
        return cli.document(worker=as_json(worker))
    for label, value in _lines(worker).items():
        cli.data(f"{label:<10} {plain(value)}")
    for job in worker.jobs:
        text = f"{job.function} {job.id} in {job.queue}, attempt {job.attempt}"
        cli.data(plain(f"  - {text}, since {job.since.isoformat(timespec='seconds')}"))
    return None


def quiet(cli: Cli, worker_id: WorkerArgument) -> int:
    """Let a worker claim nothing more; what it runs goes on. The queues are not paused."""
    from jobs.store.commands import Wish

    return _steer(cli, worker_id, Wish.quiet)


def resume(cli: Cli, worker_id: WorkerArgument) -> int:
    """Let a quiet worker claim jobs again."""
    from jobs.store.commands import Wish

    return _steer(cli, worker_id, Wish.resume)


def stop(
    cli: Cli,
    worker_id: WorkerArgument,
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="25s", help="Time for running jobs; default: its own."),
    ] = None,
) -> int:
    """Stop a worker as SIGTERM does: running jobs finish or go back to their queues."""
    from jobs.durations import to_seconds
    from jobs.store.commands import Wish

    grace_s = None if grace is None else to_seconds(grace, what="grace")
    return _steer(cli, worker_id, Wish.stop, grace_s=grace_s)


def concurrency(
    cli: Cli,
    worker_id: WorkerArgument,
    limit: Annotated[int, typer.Argument(metavar="N", min=1, help="Jobs at once, 1 or more.")],
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Only this queue; default: each.",
            autocompletion=queue_names,
        ),
    ] = None,
) -> int:
    """Change how many jobs a worker runs at once, until it is started anew."""
    from jobs.store.commands import Wish

    return _steer(cli, worker_id, Wish.concurrency, limit=limit, queue=queue)


def health(
    cli: Cli,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Only these queues.", autocompletion=queue_names
        ),
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Only the workers of this host, of which one must live.")
    ] = False,
    max_lag: Annotated[
        str, typer.Option("--max-lag", metavar="5s", help="Most that an event loop may be late.")
    ] = "5s",
) -> int:
    """Whether work goes on: exit 0, or 1 with a reason a line. For probes."""
    import socket

    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk
    from jobs.durations import to_ms
    from jobs.operations.fleet import Fleet

    lag_ms = to_ms(max_lag, what="max-lag")

    async def work(client: Client) -> Health:
        names = check_queues(queue, await known_queues(client, app))
        host = socket.gethostname() if here else None
        return await Fleet(client).health(names, host=host, max_lag_ms=lag_ms)

    app = optional_app(cli)
    found = talk(cli, app, work)
    if cli.json:
        cli.document(**asdict(found))
    else:
        for reason in found.reasons or ["healthy"]:
            cli.data(plain(reason))
    return Code.ok if found.healthy else Code.failed


async def find_worker(client: Client, text: str) -> WorkerStatus:
    """The live worker of this id, or of the one id that has this text in it.

    Raises:
        Problem: there is none, or more than one.
    """
    from jobs.errors import did_you_mean
    from jobs.operations.fleet import Fleet

    found = await Fleet(client).workers()
    ids = [worker.id for worker in found]
    fitting = [one for one in found if one.id == text] or [one for one in found if text in one.id]
    if len(fitting) > 1:
        names = ", ".join(worker.id for worker in fitting)
        raise Problem(f"several workers have {text!r} in their ids: {names}", "give more of it")
    if not fitting:
        raise Problem(
            f"no live worker is called {text!r}{did_you_mean(text, ids)}",
            "`arq-jobs workers list` shows them",
            Code.not_found,
        )
    return fitting[0]


def _steer(  # noqa: PLR0913 -- a wish and its values
    cli: Cli,
    worker_id: str,
    wish: Wish,
    *,
    limit: int | None = None,
    queue: str | None = None,
    grace_s: float | None = None,
) -> int:
    from jobs.cli.server import talk
    from jobs.operations.fleet import Fleet

    async def work(client: Client) -> tuple[WorkerStatus, bool]:
        worker = await find_worker(client, worker_id)
        fleet = Fleet(client)
        return worker, await fleet.steer(worker, wish, limit=limit, queue=queue, grace_s=grace_s)

    worker, done = talk(cli, None, work)
    if cli.json:
        cli.document(worker=worker.id, wish=wish, done=done)
    elif done:
        cli.say(f"{worker.id}: {wish}")
    else:
        cli.say(
            f"{worker.id} was asked ({wish}) and has not shown it in 5 s: its event loop may be "
            "blocked; `arq-jobs workers show` tells by what"
        )
    return Code.ok if done else Code.failed


def as_json(worker: WorkerStatus) -> dict[str, object]:
    """One worker for programs."""
    return asdict(worker) | {"running": worker.running, "slots": worker.slots}


def _row(worker: WorkerStatus) -> Sequence[object]:
    from jobs.cli.when import ago, span

    state = "blocked" if worker.stuck else worker.state
    return [
        worker.id, worker.host, worker.pid, state, ago(worker.started_at), worker.running,
        worker.slots, ",".join(sorted(worker.queues)), span(worker.lag_ms),
        f"{worker.rss / MIB:.0f} MiB",
    ]  # fmt: skip


def _lines(worker: WorkerStatus) -> dict[str, object]:
    from jobs.cli.when import ago, span

    queues = ", ".join(f"{n} {q.running}/{q.concurrency}" for n, q in sorted(worker.queues.items()))
    lines: dict[str, object] = {
        "worker": worker.id,
        "host": f"{worker.host}, process {worker.pid}",
        "state": "blocked" if worker.stuck else worker.state,
        "up": f"{ago(worker.started_at)}, last heard of {ago(worker.beat_at)} ago",
        "versions": ", ".join(f"{name} {text}" for name, text in worker.versions.items()),
        "functions": ", ".join(worker.functions),
        "queues": queues,
        "loop lag": span(worker.lag_ms),
        "memory": f"{worker.rss / MIB:.0f} MiB",
    }
    if worker.blocked:
        lines["blocked"] = f"{'now' if worker.stuck else 'last'} by {_blocked(worker)}"
    lines["jobs"] = worker.running
    return lines


def _blocked(worker: WorkerStatus) -> str:
    from jobs.operations.fleet import blocked_text

    return blocked_text(worker.blocked or {})
