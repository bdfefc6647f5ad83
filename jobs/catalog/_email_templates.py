"""Rendering of the e-mail templates: three files each (subject, text, HTML) in each language.

Data is only ever a value, never template source, so ``{{7*7}}`` in a name stays those characters.
The environment is sandboxed all the same: an override folder may be written by people who are
trusted with wording, not with code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import (
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    UndefinedError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue

from jobs.catalog._email_address import check_link, check_text, shown
from jobs.catalog._email_errors import TemplateFailed
from jobs.catalog._email_message import Rendered
from jobs.catalog._email_payload import TEMPLATES
from jobs.catalog._email_settings import PACKAGED_TEMPLATES

# What an expression of a template raises over data of an unfit type; all of it is as permanent
# as a missing variable, since the job carries the same data in its next attempt.
_UNFIT = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


class EmailTemplates:
    """The packaged templates, or those of a folder where it has a file of the same name.

    Args:
        folder: the override folder, laid out like the packaged one (``en/welcome.html``,
            ``en/welcome.txt``, ``en/welcome.subject.txt``, ``layout.html``); default none.
        name: what templates see as ``app.name``, the application; default none.
        url: what templates see as ``app.url``, its address; default none.
    """

    def __init__(self, folder: Path | None = None, *, name: str = "", url: str = "") -> None:
        self._app = {"name": name, "url": url}
        folders = [PACKAGED_TEMPLATES] if folder is None else [folder, PACKAGED_TEMPLATES]
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["link"] = check_link

    def render(self, name: str, lang: str, to: str, data: Mapping[str, JsonValue]) -> Rendered:
        """Render subject, text and HTML of template `name` in `lang` with `data`.

        Raises:
            TemplateFailed: the template does not exist, a variable that it needs is missing, or
                a value does not suit it; the message names the template and the variable.
        """
        # Checked here too, not only in the payload: a name becomes a path.
        if name not in TEMPLATES or not lang.isalpha():
            message = f"no template is called {shown(name)} in language {shown(lang)}"
            raise TemplateFailed(message)
        values = {**data, "app": self._app, "lang": lang, "to": to}
        base = f"{lang}/{name}"
        return Rendered(
            subject=self._render(f"{base}.subject.txt", values),
            text=self._render(f"{base}.txt", values),
            html=self._render(f"{base}.html", values),
        )

    def _render(self, path: str, values: Mapping[str, object]) -> str:
        try:
            return check_text(self._environment.get_template(path).render(values))
        except _UNFIT as error:
            message = f"the e-mail template {path!r} cannot be rendered: {_reason(error)}"
            raise TemplateFailed(message) from error


def _reason(error: Exception) -> str:
    match error:
        case UndefinedError():
            return f"{error}; give it in the job's `data`"
        case TemplateNotFound(name=missing):
            return f"there is no file {missing!r}"
        case _:
            return str(error) or type(error).__name__
