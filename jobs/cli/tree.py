"""The tree of commands, in the order and the groups of the help text."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import typer

from jobs.cli import (
    about,
    audit,
    bench,
    changing,
    check,
    config,
    dead_letters,
    dev,
    doctor,
    enqueue,
    explain,
    init,
    job_control,
    letter_files,
    limits,
    looking,
    many,
    metrics,
    queue_control,
    queues,
    scheduler,
    schedules,
    schema,
    telling,
    types,
    validating,
    worker,
    workers,
)
from jobs.cli.acting import by_filter
from jobs.cli.command import (
    Command,
    PlainCommand,
    PlainGroup,
    command,
    take_globals,
    with_signature,
)
from jobs.cli.context import fancy

JOBS, QUEUES, RUN, PLUMBING = "Jobs", "Queues", "Run", "Plumbing"

COMMANDS: list[tuple[str, Command, str]] = [
    ("metrics", metrics.metrics, JOBS),
    ("list", looking.list_jobs, JOBS),
    ("show", looking.show, JOBS),
    ("explain", explain.explain, JOBS),
    ("logs", telling.logs, JOBS),
    ("wait", looking.wait, JOBS),
    ("retry", by_filter(job_control.retry, "retry"), JOBS),
    ("duplicate", job_control.duplicate, JOBS),
    ("promote", by_filter(job_control.promote, "promote"), JOBS),
    ("change", job_control.change, JOBS),
    ("cancel", by_filter(changing.cancel, "cancel"), JOBS),
    ("remove", by_filter(job_control.remove, "remove"), JOBS),
    ("types", types.types, JOBS),
    ("schema", schema.schema, JOBS),
    ("pause", queue_control.pause, QUEUES),
    ("resume", queue_control.resume, QUEUES),
    ("drain", queue_control.drain, QUEUES),
    ("clean", queue_control.clean, QUEUES),
    ("obliterate", queue_control.obliterate, QUEUES),
    ("worker", worker.worker, RUN),
    ("scheduler", scheduler.scheduler, RUN),
    ("dev", dev.dev, RUN),
    ("health", workers.health, RUN),
    ("init", init.init, RUN),
    ("check", check.check, PLUMBING),
    ("doctor", doctor.doctor, PLUMBING),
    ("audit", audit.audit, PLUMBING),
    ("bench", bench.bench, PLUMBING),
    ("completion", about.completion, PLUMBING),
    ("shell-init", about.shell_init, PLUMBING),
    ("version", about.version, PLUMBING),
    ("help", about.show_help, PLUMBING),
]
DEAD_LETTERS: list[tuple[str, Command]] = [
    ("list", dead_letters.list_dead),
    ("show", dead_letters.show_dead),
    ("group", dead_letters.group),
    ("retry", dead_letters.retry),
    ("edit", dead_letters.edit),
    ("remove", dead_letters.remove),
    ("export", letter_files.export),
    ("archive", letter_files.archive),
]
LIMITS: list[tuple[str, Command]] = [
    ("list", limits.list_limits),
    ("reset", limits.reset_limit),
]
EVENTS: list[tuple[str, Command]] = [("tail", telling.tail), ("keep", telling.keep)]
OF_QUEUES: list[tuple[str, Command]] = [("list", queues.list_queues), ("show", queues.show_queue)]
OF_WORKERS: list[tuple[str, Command]] = [
    ("list", workers.list_workers),
    ("show", workers.show_worker),
    ("quiet", workers.quiet),
    ("resume", workers.resume),
    ("concurrency", workers.concurrency),
    ("stop", workers.stop),
]
SCHEDULES: list[tuple[str, Command]] = [
    ("list", schedules.list_schedules),
    ("show", schedules.show_schedule),
    ("add", schedules.add_schedule),
    ("remove", schedules.remove_schedules),
    ("pause", schedules.pause_schedules),
    ("resume", schedules.resume_schedules),
    ("run", schedules.run_schedule),
    ("next", schedules.next_runs),
    ("check", schedules.check_schedules),
]
CLASSES = {"metrics": metrics.MetricsCommand}
ORDER = ["enqueue", "metrics", "list", "show", "explain", "logs", "wait", "retry", "duplicate",
         "promote", "change", "cancel", "remove", "dlq", "types", "schema", "queues", "pause",
         "resume", "drain", "clean", "obliterate", "limits", "schedules", "events", "worker",
         "scheduler", "workers", "dev", "health", "init", "check", "doctor", "audit",
         "bench", "config"]  # fmt: skip


class RootGroup(PlainGroup):
    """The group of all commands; Typer itself would list the groups behind the commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the table, the plumbing last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


@cache
def root(*, rich: bool) -> Any:
    """What runs a command line; made once, for a loop of commands and the answer to a question."""
    return typer.main.get_command(build(rich=rich))


def build(*, rich: bool | None = None) -> typer.Typer:
    """The command line.

    Args:
        rich: whether its help has colours and boxes; default: on a terminal.
    """
    rich = fancy(sys.stdout) if rich is None else rich
    app = _group("Background jobs for asyncio on Redis or Valkey.", rich, RootGroup, hidden=False)
    jobs = _group("Add one job; its options come from the job's payload.", rich, enqueue.Jobs)
    _add(jobs, "many", many.many, "Files")
    app.add_typer(jobs, name="enqueue", rich_help_panel=JOBS)
    for name, function, panel in COMMANDS:
        _add(app, name, function, panel)
    letters = _group("Dead letters: jobs that failed for good.", rich)
    for name, function in DEAD_LETTERS:
        _add(letters, name, function, "Commands")
    app.add_typer(letters, name="dlq", rich_help_panel=JOBS)
    for group, text, members, panel in (
        ("limits", "Limits of concurrency and rates.", LIMITS, JOBS),
        ("schedules", "What runs by the clock: cron and interval schedules.", SCHEDULES, JOBS),
        ("events", "What happens in the queues.", EVENTS, JOBS),
        ("queues", "The queues: how full, how old, how fast.", OF_QUEUES, QUEUES),
        ("workers", "The live workers: what they run, and how to steer them.", OF_WORKERS, RUN),
    ):
        made = _group(text, rich)
        for name, function in members:
            _add(made, name, function, "Commands")
        app.add_typer(made, name=group, rich_help_panel=panel)
    settings = _group("The settings of this program.", rich)
    _add(settings, "show", config.config_show, "Commands")
    _add(settings, "validate", validating.config_validate, "Commands")
    app.add_typer(settings, name="config", rich_help_panel=PLUMBING)
    return app


def _add(app: typer.Typer, name: str, function: Command, panel: str) -> None:
    """Add one command with the global options."""
    cls = CLASSES.get(name, PlainCommand)
    app.command(name, cls=cls, rich_help_panel=panel)(command(function))


def _group(
    text: str, rich: bool, cls: type[PlainGroup] = PlainGroup, *, hidden: bool = True
) -> typer.Typer:
    """A group of commands that takes the global options too."""
    app = typer.Typer(
        cls=cls,
        help=text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich" if rich else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )

    def callback(ctx: typer.Context, **values: Any) -> None:
        take_globals(ctx, values)

    app.callback()(with_signature(callback, [], hidden=hidden))
    return app
