"""`scheduler`: makes jobs by the clock, and runs none."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.completing import queue_list
from jobs.cli.context import Cli


def scheduler(
    cli: Cli,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            metavar="A,B",
            help="Only schedules of these queues.",
            autocompletion=queue_list,
        ),
    ] = None,
) -> int:
    """Make the jobs of schedules and cron jobs until SIGTERM or Ctrl-C, and run none.

    Every worker does so too, unless it runs with --no-scheduler. However many there are, each
    instant is one job, and when one is killed another goes on.
    """
    from jobs.cli.worker import begin, chosen_queues, serve, worker_arguments
    from jobs.engine.timekeeper import Timekeeper

    app = begin(cli)
    chosen = chosen_queues(app, queues)
    return serve(Timekeeper, worker_arguments(cli, app, None, burst=False), chosen)
