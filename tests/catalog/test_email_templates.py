"""The e-mail templates: every one in every language, what they need, and what they never do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog._email_message import Rendered
from jobs.catalog._email_templates import EmailTemplates
from jobs.catalog.email import TEMPLATES, TemplateFailed

ADA = "ada@example.com"
LINK = "https://example.com/go?a=1&b=2"

# The data of each template: all that it needs, and all that it can use.
NEEDED: dict[str, dict[str, Any]] = {
    "welcome": {},
    "password-reset": {"reset_url": LINK},
    "invitation": {"invite_url": LINK},
    "reminder": {"title": "Water the plants"},
    "newsletter": {"title": "News of May", "unsubscribe_url": LINK},
}
FULL: dict[str, dict[str, Any]] = {
    "welcome": {"name": "Ada", "url": LINK},
    "password-reset": {"reset_url": LINK, "name": "Ada", "expires": "30 minutes"},
    "invitation": {
        "invite_url": LINK,
        "name": "Ada",
        "inviter": "Grace",
        "team": "Compilers",
        "expires": "7 days",
    },
    "reminder": {
        "title": "Water the plants",
        "name": "Ada",
        "due": "18:00",
        "message": "The fern first.",
        "url": LINK,
    },
    "newsletter": {
        "title": "News of May",
        "unsubscribe_url": LINK,
        "name": "Ada",
        "intro": "Much happened.",
        "articles": [
            {"title": "A release", "summary": "It is out.", "url": LINK},
            {"title": "A meeting"},
        ],
    },
}
SUBJECTS = {
    ("welcome", "en"): "Welcome to Acme, Ada",
    ("welcome", "fr"): "Bienvenue chez Acme, Ada",
    ("password-reset", "en"): "Reset your Acme password",
    ("password-reset", "fr"): "Réinitialisez votre mot de passe Acme",
    ("invitation", "en"): "Grace invites you to join Compilers",
    ("invitation", "fr"): "Grace vous invite à rejoindre Compilers",
    ("reminder", "en"): "Reminder: Water the plants",
    ("reminder", "fr"): "Rappel\N{NO-BREAK SPACE}: Water the plants",
    ("newsletter", "en"): "News of May",
    ("newsletter", "fr"): "News of May",
}
EVERY = [(name, lang) for name in TEMPLATES for lang in ("en", "fr")]


def render(template: str, lang: str, data: dict[str, Any], **options: Any) -> Rendered:
    return EmailTemplates(**options).render(template, lang, ADA, data)


class Page(HTMLParser):
    """The visible text, the links and the open elements of an HTML mail."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words, self.links, self.open = "", [""][:0], [""][:0]
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attrs if key in {"href", "src"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data


@pytest.mark.parametrize(("name", "lang"), EVERY)
def test_every_template_in_every_language_uses_all_its_data(name: str, lang: str) -> None:
    words = render(name, lang, FULL[name], name="Acme", url="https://acme.example")
    assert words.subject == SUBJECTS[name, lang]
    page = Page(words.html)
    for value in _texts(FULL[name]):
        assert value in words.text, "missing in the text"
        assert value in page.words or value in page.links, "missing in the HTML"
    assert f'<html lang="{lang}">' in words.html


@pytest.mark.parametrize(("name", "lang"), EVERY)
@pytest.mark.parametrize("data", [NEEDED, FULL], ids=["needed", "full"])
def test_no_markup_is_left_over(name: str, lang: str, data: dict[str, dict[str, Any]]) -> None:
    words = render(name, lang, data[name])
    page = Page(words.html)
    assert page.open == [], "every element is closed"
    assert not re.search(r"[{}]|%\}|None|Undefined", f"{words.subject}{words.text}{page.words}")
    assert "<" not in words.text
    assert "\n\n\n" not in words.text
    assert words.subject.strip() == words.subject != ""


@pytest.mark.parametrize(("name", "lang"), EVERY)
def test_html_loads_nothing_from_elsewhere_and_reads_in_the_dark(name: str, lang: str) -> None:
    html = render(name, lang, FULL[name]).html
    assert set(Page(html).links) <= {LINK}
    assert not re.search(r"<(img|script|link|iframe)|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_languages_differ() -> None:
    for name in TEMPLATES:
        english, french = (render(name, lang, FULL[name]) for lang in ("en", "fr"))
        assert english.text != french.text
        assert english.html != french.html


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize(
    ("name", "variable"), [(name, variable) for name in TEMPLATES for variable in NEEDED[name]]
)
def test_a_missing_variable_is_named(name: str, variable: str, lang: str) -> None:
    data = {key: value for key, value in NEEDED[name].items() if key != variable}
    with pytest.raises(TemplateFailed) as caught:
        render(name, lang, data)
    assert f"'{variable}' is undefined" in str(caught.value)
    assert f"{lang}/{name}" in str(caught.value)


def test_a_missing_part_of_a_value_is_named() -> None:
    data = {**NEEDED["newsletter"], "articles": [{"summary": "no title"}]}
    with pytest.raises(TemplateFailed, match="'title'"):
        render("newsletter", "en", data)


def test_data_of_an_unfit_type_is_a_permanent_error() -> None:
    with pytest.raises(TemplateFailed, match="en/newsletter"):
        render("newsletter", "en", {**NEEDED["newsletter"], "articles": 7})


@pytest.mark.parametrize(
    "value", ["{{7*7}}", "{{''.__class__}}", "{% include 'layout.html' %}", "<b>&amp;</b>", "''\""]
)
def test_data_is_rendered_literally(value: str) -> None:
    words = render("reminder", "en", {"title": value, "name": value, "message": value})
    assert words.subject == f"Reminder: {value}"
    assert words.text.count(value) == 3
    assert Page(words.html).words.count(value) == 3
    assert not re.search(r"<b>", words.html), "autoescape is on"


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "data:text/html,x", "/relative?t=s3cret", "https://", "ftp://a/b", 7],
)
def test_a_link_must_lead_to_the_web_and_is_not_repeated(link: object) -> None:
    with pytest.raises(TemplateFailed) as caught:
        render("password-reset", "en", {"reset_url": link})
    assert "expected a link" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lang"),
    [("../../etc/passwd", "en"), ("layout", "en"), ("welcome", ".."), ("welcome", "de")],
)
def test_a_name_that_is_no_template_reads_no_file(name: str, lang: str) -> None:
    with pytest.raises(TemplateFailed):
        render(name, lang, {})


def test_a_file_of_the_override_folder_stands_in_for_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "welcome.subject.txt").write_text("Ahoy {{ name }}\n", "utf-8")
    words = render("welcome", "en", {"name": "Ada"}, folder=tmp_path)
    assert words.subject == "Ahoy Ada"
    assert words.text == render("welcome", "en", {"name": "Ada"}).text


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__ }}", "{{ name.__init__.__globals__ }}", "{% include '../x' %}"],
)
def test_an_override_is_sandboxed(tmp_path: Path, source: str) -> None:
    (tmp_path / "x").write_text("outside", "utf-8")
    folder = tmp_path / "inside"
    (folder / "en").mkdir(parents=True)
    (folder / "en" / "welcome.txt").write_text(source, "utf-8")
    with pytest.raises(TemplateFailed, match=r"en/welcome\.txt"):
        render("welcome", "en", {"name": "Ada"}, folder=folder)


def test_the_button_of_a_welcome_leads_home_unless_told_otherwise() -> None:
    home = "https://acme.example/"
    assert home in Page(render("welcome", "en", {}, url=home).html).links
    assert Page(render("welcome", "en", {"url": LINK}, url=home).html).links == [LINK]
    assert Page(render("welcome", "en", {}).html).links == []


def _texts(value: Any) -> list[str]:
    match value:
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
        case _:
            return [str(value)]
