"""`init`: writes a starter application into a folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.changing import DryRunOption
from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli

#: What is written, and the template of each; these are no modules, so they end in .txt.
FILES = {
    "settings.py": "settings.py.txt",
    "my_jobs.py": "my_jobs.py.txt",
    "test_my_jobs.py": "test_my_jobs.py.txt",
    "Makefile": "Makefile.txt",
    ".env.example": "env.example.txt",
    ".gitignore": "gitignore.txt",
}


def init(
    cli: Cli,
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where to; made if it is not there.")
    ] = Path(),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Write a starter application: settings, a job, a schedule, a test, a Makefile.

    Nothing is written if one of the files is there already; --force writes over them.
    """
    if folder.exists() and not folder.is_dir():
        raise Problem(f"{str(folder)!r} is no folder", "name a folder, or none for this one")
    taken = [name for name in FILES if (folder / name).exists()]
    if taken and not force:
        raise Problem(
            f"{len(taken)} of the files are there already; nothing was written",
            "choose another folder, or --force to write over them",
            Code.refused,
            [str(folder / name) for name in taken],
        )
    if not dry_run:
        _write(folder)
    _report(cli, folder, taken, dry_run=dry_run)


def _write(folder: Path) -> None:
    templates = files("jobs.cli") / "starter"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, template in FILES.items():
            text = (templates / template).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"{error.filename}: {error.strerror}", code=Code.failed) from None


def _report(cli: Cli, folder: Path, taken: list[str], *, dry_run: bool) -> None:
    if cli.json:
        rows = [
            {"path": str(folder / name), "replaced": name in taken, "written": not dry_run}
            for name in FILES
        ]
        return cli.document(dry_run=dry_run, files=rows)
    for name in FILES:
        cli.data(str(folder / name))
    if dry_run:
        return cli.say("nothing was written (--dry-run)")
    go = "" if folder == Path() else f"cd {folder} && "
    cli.say(f"next: {go}{PROGRAM} dev, and in another terminal: {PROGRAM} enqueue greet --name Ada")
    return None
