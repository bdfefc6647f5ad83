"""`check`: reads the application, and what is stored, for what will go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.context import Cli, plain
from jobs.cli.findings import FAIL, WHY, Finding

if TYPE_CHECKING:
    from jobs.cli.application import Application


def check(
    cli: Cli,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 for warnings too; for CI.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="The code alone: ask no server.")
    ] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="Not this; repeat for more."),
    ] = None,
) -> int:
    """Look for what will go wrong: options, payloads, schedules, queues.

    The code needs no server; where one answers, stored schedules and waiting jobs are looked at
    too. Exit 0 with warnings, 1 for what cannot work. `doctor` looks at the server itself.
    """
    from jobs.cli import application
    from jobs.cli.rules import look_at_code

    passed_over = _known(ignore or [])
    app = application.load(cli)
    found = list(look_at_code(app))
    stored, reason = ([], "--offline") if offline else _ask(cli, app)
    found = [one for one in [*found, *stored] if one.code not in passed_over]
    found.sort(key=lambda one: (one.level != FAIL, one.subject, one.code))
    failed = any(one.level == FAIL or strict for one in found)
    _report(cli, found, reason, ok=not failed)
    return Code.failed if failed else Code.ok


def _known(codes: list[str]) -> set[str]:
    from jobs.errors import did_you_mean

    for code in codes:
        if code not in WHY:
            hint = f"the codes are {', '.join(WHY)}"
            raise Problem(f"--ignore: there is no code {code!r}{did_you_mean(code, WHY)}", hint)
    return set(codes)


def _ask(cli: Cli, app: Application) -> tuple[list[Finding], str]:
    """What the server tells, and why it was not asked, if so."""
    from jobs.cli.server import talk
    from jobs.cli.stored_rules import look_at_server
    from jobs.errors import JobsError

    try:
        return talk(cli, app, lambda client: look_at_server(app, client)), ""
    except JobsError as error:
        return [], str(error)


def _report(cli: Cli, found: list[Finding], reason: str, *, ok: bool) -> None:
    if cli.json:
        server: dict[str, Any] = {"asked": not reason, "reason": reason or None}
        return cli.document(ok=ok, findings=[one.document() for one in found], server=server)
    for one in found:
        if cli.quiet:
            cli.data(f"{one.code} {plain(one.subject)}")
            continue
        cli.data(f"{one.level}  {one.code}  {plain(one.subject)}: {plain(one.what)}")
        cli.data(f"      why: {one.why}")
        cli.data(f"      fix: {plain(one.fix)}")
    failures = sum(one.level == FAIL for one in found)
    cli.say(f"{failures} errors, {len(found) - failures} warnings in {cli.app}")
    if reason:
        cli.say(f"the code alone was looked at: {plain(reason)}")
    return None
