"""The payload of a stored job in the hands of an operator: as JSON text, or in their editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem

if TYPE_CHECKING:
    from jobs import JobInfo
    from jobs.cli.application import Application

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="JSON|@FILE|-", help="Another payload, all of it.", show_default=False
    ),
]
EditOption = Annotated[bool, typer.Option("--edit", help="Open the payload in $EDITOR.")]


def new_payload(
    app: Application | None, info: JobInfo, data: str | None, *, edit: bool
) -> dict[str, Any] | None:
    """The payload that a job is to have; `None` to leave its own.

    Raises:
        Problem: no JSON, no editor, an editor that failed, or a payload that does not validate.
    """
    from jobs.cli.requests import make_request, payload_problem, read_data
    from jobs.errors import InvalidPayload

    if data is not None and edit:
        raise Problem("give --data or --edit, not both")
    if data is None and not edit:
        return None
    payload: dict[str, Any] = read_data(data) if data is not None else _edited(app, info)
    function = app.functions.get(info.function) if app else None
    if function is not None:
        from jobs.cli.payload import fields_of

        try:
            make_request(function, payload, {})
        except InvalidPayload as error:
            raise payload_problem(error, fields_of(function)) from None
    return payload


def _edited(app: Application | None, info: JobInfo) -> dict[str, Any]:
    from jobs.cli.sending import by_name

    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise Problem("--edit needs an editor: set EDITOR", "or give the payload with --data")
    function = app.functions.get(info.function) if app else None
    before = json.dumps(by_name(function, info.args, info.kwargs), indent=2, default=str)
    text = _in_editor(shlex.split(command), before + "\n")
    if not text.strip():
        raise Problem("the payload is empty: nothing was done", code=Code.refused)
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise Problem(f"the edited payload is no JSON: {error}", "nothing was done") from None
    if not isinstance(payload, dict):
        raise Problem(f"expected a JSON object, not {json.dumps(payload):.60}", "nothing was done")
    return payload


def _in_editor(command: list[str], text: str) -> str:
    """What the operator makes of the text; the file is for their eyes alone."""
    handle, name = tempfile.mkstemp(suffix=".json", prefix="payload-")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        ended = subprocess.run([*command, name], check=False)  # noqa: S603 - the user's own editor
        if ended.returncode:
            raise Problem(
                f"the editor {command[0]!r} ended with {ended.returncode}: nothing was done",
                code=Code.refused,
            )
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, PermissionError) as error:
        raise Problem(f"the editor cannot be started: {error}", "set EDITOR") from None
    finally:
        path.unlink(missing_ok=True)
