"""`schedules`: what runs by the clock: list, show, add, remove, pause, resume, run, next."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.changing import DryRunOption, YesOption, confirm
from jobs.cli.codes import Code, code_of
from jobs.cli.command import Command
from jobs.cli.completing import BY_FLAG, job_names, schedule_names
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.cli.looking import QueueOption

if TYPE_CHECKING:
    from jobs import Client, Schedule, ScheduleInfo
    from jobs.cli.application import Application

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The name of a schedule.", autocompletion=schedule_names),
]
NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="The names of schedules.", autocompletion=schedule_names
    ),
]
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="The name of a job.", autocompletion=job_names)
]
CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")]


def list_schedules(cli: Cli, queue: QueueOption = None) -> None:
    """List schedules with their next and last runs."""
    found = _ask(cli, lambda client: client.schedules.list(queue))
    if cli.json:
        return cli.document(schedules=[summary(info) for info in found])
    if cli.quiet:
        for info in found:
            cli.data(plain(info.name))
    elif found:
        columns = ["name", "job", "queue", "rule", "state", "next", "last", "runs"]
        cli.table(columns, [_row(info) for info in found])
    else:
        cli.say(f"no schedules; next: {PROGRAM} schedules add NAME JOB --cron …")
    return None


def show_schedule(cli: Cli, name: NameArgument, queue: QueueOption = None) -> None:
    """One schedule: its rule, its policies, its payload, and what it has done."""
    from jobs.cli.sending import as_text, by_name, mask
    from jobs.cli.server import optional_app

    app = optional_app(cli)
    info: ScheduleInfo = _ask(cli, lambda client: client.schedules.get(name, queue), app)
    function = app.functions.get(info.function) if app else None
    payload = mask(by_name(function, info.args, info.kwargs), function)
    document = summary(info) | {"payload": payload or None}
    if cli.json:
        return cli.document(schedule=document)
    for label, value in document.items():
        if value not in (None, False, ""):
            text = _moment(value) if isinstance(value, datetime) else as_text(value)
            cli.data(f"{label:<10} {plain(text)}")
    return None


def store_schedule(cli: Cli, name: str, job: str, values: Mapping[str, Any]) -> None:
    """Store a schedule from the values of a command line; with `dry_run`, check and show it."""
    from jobs import Schedule
    from jobs.cli.requests import read_data
    from jobs.cli.server import optional_app

    app = optional_app(cli)
    request = _request(app, job, read_data(values["data"]))
    given = {key: value for key, value in values.items() if value is not None}
    schedule = Schedule(name, request, **read_options(given))
    if values["dry_run"]:
        return _show_dry(cli, schedule)
    info = _ask(cli, lambda client: client.schedules.put(schedule), app)
    _report(cli, info, "stored")
    return None


def read_options(given: Mapping[str, Any]) -> Any:
    """The options of a schedule among the values of a command line."""
    from jobs.cli.when import read_at

    options = {key: value for key, value in given.items() if key not in ("data", "dry_run")}
    return options | {key: read_at(given[key]) for key in ("start", "end") if key in given}


def _options() -> dict[str, Any]:
    """The options of `schedules add`."""
    return {
        "cron": _option(str, "--cron", "A crontab expression or alias.", "'0 9 * * 1'"),
        "every": _option(str, "--every", "From one run to the next.", "5m"),
        "tz": _option(str, "--tz", "The zone of --cron; default UTC.", "Europe/Berlin"),
        "start": _option(str, "--start", "Nothing runs before.", "TIME"),
        "end": _option(str, "--end", "Nothing runs after.", "TIME"),
        "limit": _option(int, "--limit", "Runs in all."),
        "offset": _option(str, "--offset", "Run so much later than the rule says.", "5s"),
        "jitter": _option(str, "--jitter", "Spread the runs over so long.", "30s"),
        "misfire": _option(str, "--misfire", "What becomes of missed runs.", "skip|once|all"),
        "window": _option(str, "--window", "Make up for nothing older.", "1h"),
        "overlap": _option(str, "--overlap", "While the last run goes on.", "allow|skip|queue"),
        "data": _option(str, "--data", "The payload as JSON.", "JSON|@FILE|-"),
        "queue": _option(str, "--queue", "Another queue than the job's own.", "NAME"),
        "priority": _option(int, "--priority", "1 (first) to 1000 (last)."),
        "attempts": _option(int, "--attempts", "Total runs allowed to each job."),
        "timeout": _option(str, "--timeout", "Limit of one attempt.", "30s"),
    }


def _option(kind: type, flag: str, text: str, metavar: str | None = None) -> Any:
    option = typer.Option(
        flag, help=text, metavar=metavar, show_default=False, autocompletion=BY_FLAG.get(flag)
    )
    annotation: Any = kind | None
    return Annotated[annotation, option]


def _add() -> Command:
    """The command `add`; mypy would not check so many options, so its signature is made."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    named = {"name": NameArgument, "job": JobArgument}
    optional = _options() | {"dry_run": DryRunOption}

    def add(cli: Cli, name: str, job: str, **values: Any) -> None:
        store_schedule(cli, name, job, values)

    add.__doc__ = "Add a schedule, or replace the one of this name."
    add.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by `command`
        [
            inspect.Parameter("cli", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(key, keyword, annotation=kind) for key, kind in named.items()),
            *(
                inspect.Parameter(
                    key, keyword, annotation=kind, default=False if key == "dry_run" else None
                )
                for key, kind in optional.items()
            ),
        ]
    )
    return add


add_schedule = _add()


def remove_schedules(
    cli: Cli,
    names: NamesArgument,
    *,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Remove schedules; the jobs that they made stay."""
    if not dry_run:
        confirm(cli, f"remove {len(names)} schedules", names, yes=yes)
    return _each(cli, names, lambda c, name: c.schedules.remove(name, queue), "removed", dry_run)


def pause_schedules(
    cli: Cli, names: NamesArgument, queue: QueueOption = None, dry_run: DryRunOption = False
) -> int:
    """Make no runs until they are resumed; deploys do not end a pause."""
    return _each(cli, names, lambda c, name: c.schedules.pause(name, queue), "paused", dry_run)


def resume_schedules(
    cli: Cli, names: NamesArgument, queue: QueueOption = None, dry_run: DryRunOption = False
) -> int:
    """Make runs again; what was due meanwhile is not made up for."""
    return _each(cli, names, lambda c, name: c.schedules.resume(name, queue), "resumed", dry_run)


def run_schedule(
    cli: Cli, name: NameArgument, queue: QueueOption = None, *, wait: WaitOption = False
) -> None:
    """Make one run now, whatever the rule says, also while it is paused."""
    from jobs.cli.sending import as_text

    async def work(client: Client) -> tuple[str, str, Any]:
        job = await client.schedules.run(name, queue)
        return job.id, job.queue, (await job.result() if wait else None)

    job_id, place, result = _ask(cli, work)
    if cli.json:
        more = {"result": result} if wait else {}
        return cli.document(job={"id": job_id, "queue": place}, **more)
    cli.data(as_text(result) if wait else plain(job_id))
    if not wait:
        cli.say(f"one run of {plain(name)} waits in queue {place!r}; next: {PROGRAM} show {job_id}")
    return None


def next_runs(
    cli: Cli, name: NameArgument, queue: QueueOption = None, count: CountOption = 10
) -> None:
    """Show the next times, in the schedule's own zone."""
    from jobs.crontab import resolve_zone

    async def work(client: Client) -> tuple[ScheduleInfo, list[datetime]]:
        info = await client.schedules.get(name, queue)
        return info, await client.schedules.next(name, count, info.queue)

    info, moments = _ask(cli, work)
    zone = resolve_zone(info.definition.timing.tz)
    local = [at.astimezone(zone) for at in moments]
    if cli.json:
        return cli.document(name=name, state=info.state, next=[at.isoformat() for at in local])
    for at in local:
        cli.data(at.isoformat())
    if not local:
        cli.say(f"none: the schedule is {info.state}")
    return None


def check_schedules(cli: Cli, count: CountOption = 3) -> int:
    """Check the schedules that the application declares, without a server; for CI.

    `check` looks at them too, and at all the rest.
    """
    from itertools import islice

    from jobs import clock
    from jobs.cli import application
    from jobs.cli.declared import tried
    from jobs.durations import MAX_MS

    wrong: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for schedule, place, problem in tried(application.load(cli)):
        if problem is not None:
            wrong.append({"name": schedule.name, "problem": str(problem)})
            continue
        moments = islice(schedule.timing.between(clock.now_ms(), MAX_MS), count)
        lines.append(
            {
                "name": schedule.name,
                "queue": place,
                "rule": schedule.timing.text,
                "next": [clock.from_ms(ms).isoformat() for ms in moments],
            }
        )
    return _report_check(cli, lines, wrong)


def _report_check(cli: Cli, lines: list[dict[str, Any]], wrong: list[dict[str, Any]]) -> int:
    if cli.json:
        cli.document(schedules=lines, problems=wrong)
    else:
        for line in lines:
            cli.data(plain(f"{line['name']}: {line['rule']}; next {', '.join(line['next'])}"))
        for problem in wrong:
            typer.echo(f"error: {plain(problem['name'])}: {plain(problem['problem'])}", err=True)
    cli.say(f"{len(lines)} schedules are well, {len(wrong)} are not")
    return Code.usage if wrong else Code.ok


# -- parts -------------------------------------------------------------------------------


def summary(info: ScheduleInfo) -> dict[str, Any]:
    """One schedule as a document, without its payload."""
    from jobs.durations import format_ms

    policy, timing = info.definition.policy, info.definition.timing
    lasting = {"jitter": policy.jitter, "window": policy.window, "offset": timing.offset}
    return {
        "name": info.name,
        "job": info.function,
        "queue": info.queue,
        "rule": info.rule,
        "state": info.state,
        "next_at": info.next_at,
        "last_at": info.last_at,
        "paused_at": info.paused_at,
        "held_at": info.held_at,
        "runs": info.fired,
        "skipped": info.skipped,
        "limit": timing.limit,
        "misfire": policy.misfire,
        "overlap": policy.overlap,
        **{name: format_ms(ms) if ms else None for name, ms in lasting.items()},
        "priority": info.definition.priority,
        "from_code": info.from_code,
    }


def _row(info: ScheduleInfo) -> list[object]:
    from jobs.cli.when import ago, until

    last = f"{ago(info.last_at)} ago" if info.last_at else None
    ahead = info.next_at and f"in {until(info.next_at)}"
    return [info.name, info.function, info.queue, info.rule, info.state, ahead, last, info.fired]


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _ask(cli: Cli, work: Callable[[Client], Awaitable[Any]], app: Application | None = None) -> Any:
    from jobs.cli.server import optional_app, talk

    return talk(cli, app or optional_app(cli), work)


def _request(app: Application | None, job: str, payload: dict[str, Any]) -> Any:
    """The request for one job, checked if the application knows the function."""
    from jobs import Request
    from jobs.cli.requests import make_request

    if app is None:
        return Request(job, (), payload)
    return make_request(app.function(job), payload, {})


def _show_dry(cli: Cli, schedule: Schedule) -> None:
    cli.document(
        dry_run=True,
        schedule={
            "name": schedule.name,
            "job": schedule.request.function,
            **schedule.timing.to_wire(),
            **schedule.policy.to_wire(),
        },
    )
    cli.say("nothing was stored (--dry-run)")


def _report(cli: Cli, info: ScheduleInfo, done: str) -> None:
    if cli.json:
        return cli.document(schedule=summary(info))
    cli.data(plain(info.name))
    following = info.next_at.isoformat(timespec="seconds") if info.next_at else "none"
    cli.say(f"{plain(info.name)} is {done} in queue {info.queue!r}: {info.rule}; next {following}")
    return None


def _each(
    cli: Cli,
    names: Sequence[str],
    act: Callable[[Client, str], Awaitable[None]],
    done: str,
    dry_run: bool,
) -> int:
    """Do something to each schedule: 5 if some could not be, else the code of what went wrong."""
    from jobs.errors import JobsError, ServerError

    async def work(client: Client) -> list[tuple[str, JobsError | None]]:
        results: list[tuple[str, JobsError | None]] = []
        for name in names:
            try:
                await (client.schedules.get(name) if dry_run else act(client, name))
                results.append((name, None))
            except ServerError:
                raise
            except JobsError as error:
                results.append((name, error))
        return results

    results = _ask(cli, work)
    if cli.json:
        rows = [
            {"name": n, "done": e is None and not dry_run, "error": e and str(e)}
            for n, e in results
        ]
        cli.document(dry_run=dry_run, schedules=rows)
    for name, error in results:
        if error is not None:
            typer.echo(f"error: {plain(error)}", err=True)
            continue
        if not cli.json:
            cli.data(plain(name))
        cli.say(f"{plain(name)} {'would be ' if dry_run else ''}{done}")
    codes = {Code.ok if error is None else code_of(error) for _, error in results}
    return codes.pop() if len(codes) == 1 else Code.partial
