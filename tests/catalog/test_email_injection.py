"""No text of a payload becomes a line of its own: not in the headers, not in the conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs import Fail
from jobs.catalog._email_address import check_address, check_line
from jobs.catalog._email_message import Letter, compose
from jobs.catalog._email_templates import EmailTemplates
from jobs.catalog.email import Email, EmailSettings, UnsafeHeader, send_email
from tests.helpers.smtp import Received, SmtpSink, context_for, mailer_for

ADA = "ada@example.com"
SETTINGS = EmailSettings(sender="jobs@example.com", sender_name="Jobs")
TEMPLATES = EmailTemplates(name="Jobs")
BREAKS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
HEADERS = {
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Date",
    "Auto-Submitted",
    "Reply-To",
    "List-Unsubscribe",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
}


def letter(email: Email, key: str = "email:j1") -> Letter:
    return compose(email, SETTINGS, TEMPLATES.render, key)


def received(composed: Letter) -> Received:
    return Received(composed.sender, [composed.to], [], composed.content)


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("field", ["to", "subject", "reply_to", "from"])
def test_a_line_break_is_refused_where_the_payload_is_built(field: str, line_break: str) -> None:
    values = {"to": ADA, "subject": "Hi", "text": "hi", "reply_to": ADA, "from": ADA}
    values[field] += f"{line_break}Bcc: eve@example.com"
    with pytest.raises(ValidationError, match="without control characters"):
        Email.model_validate(values)


@pytest.mark.parametrize("address", ["a@b.co\r\nRCPT TO:<eve@example.com>", "a@b.co> <x@y.zz"])
def test_an_address_cannot_carry_a_command(address: str) -> None:
    with pytest.raises(ValidationError, match="to"):
        Email(to=address, template="welcome")


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("field", ["to", "subject", "reply_to", "from_"])
async def test_the_builder_refuses_it_again_before_connecting(field: str, line_break: str) -> None:
    values: dict[str, Any] = {"to": ADA, "subject": "Hi", "text": "hi", "lang": "en", "data": {}}
    evil = f"{ADA}{line_break}Bcc: eve@example.com"
    email = Email.model_construct(**{**values, field: evil})
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        with pytest.raises(UnsafeHeader) as caught:
            await send_email(context_for(mailer), email)
        assert sink.connections == 0
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, Fail)


@pytest.mark.parametrize("line_break", BREAKS)
async def test_the_builder_refuses_a_sender_name_with_a_line_break(line_break: str) -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        name = f"Jobs{line_break}Bcc: eve@example.com"
        mailer.settings = mailer.settings.model_copy(update={"sender_name": name})
        with pytest.raises(UnsafeHeader, match="From"):
            await send_email(context_for(mailer), Email(to=ADA, template="welcome"))
        assert sink.connections == 0


@pytest.mark.parametrize("line_break", BREAKS)
async def test_data_cannot_break_the_subject_of_a_template(line_break: str) -> None:
    name = f"Ada{line_break}Bcc: eve@example.com"
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        with pytest.raises(UnsafeHeader, match="Subject"):
            await send_email(
                context_for(mailer), Email(to=ADA, template="welcome", data={"name": name})
            )
        assert sink.connections == 0


async def test_the_job_id_cannot_break_the_message_id() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        ctx = context_for(mailer, job_id="x>\r\nBcc: eve@example.com")
        delivery = await send_email(ctx, Email(to=ADA, template="welcome"))
    assert sink.messages[0].headers["Message-ID"] == delivery.message_id
    assert "Bcc" not in sink.messages[0].header_names


async def test_a_conversation_has_exactly_its_own_lines() -> None:
    text = "\r\n.\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\n.\r\n"
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        email = Email(to=ADA, subject="Hi", text=text, html=text, reply_to=ADA)
        await send_email(context_for(mailer), email)
    verbs = [line.split()[0].upper() for line in sink.commands]
    assert verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert sink.messages[0].recipients == [ADA]
    assert sink.messages[0].body("plain") == text.replace("\r\n", "\n")


# Text made of what injections are made of, among arbitrary characters.
_PIECES = st.sampled_from([*BREAKS, "Bcc: eve@example.com", ".", ":", " ", "\t", "=?utf-8?q?=0A?="])
TEXTS = st.lists(_PIECES | st.text(max_size=40), max_size=6).map("".join)


@given(subject=TEXTS, text=TEXTS, name=TEXTS, key=TEXTS)
@example(subject="Hi\r\nBcc: eve@example.com", text="x", name="x", key="x")
@example(subject="=?utf-8?q?Hi=0D=0ABcc=3A_eve=40example=2Ecom?=", text="x", name="x", key="x")
@example(subject="é" * 300 + " \u00a0" + "x" * 300, text="\r", name="a\u2028b", key="\n")
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_leads_to_another_header_line(subject: str, text: str, name: str, key: str) -> None:
    payloads = [
        {"to": ADA, "subject": subject, "text": text, "html": text, "reply_to": ADA},
        {"to": ADA, "template": "welcome", "data": {"name": name}},
        {
            "to": ADA,
            "template": "newsletter",
            "data": {"title": name, "unsubscribe_url": f"https://example.com/{subject}"},
        },
    ]
    for payload in payloads:
        try:
            composed = letter(Email.model_validate(payload), key)
        except (ValidationError, Fail):
            continue
        message = received(composed)
        assert len(message.header_names) == len(set(message.header_names))
        assert set(message.header_names) <= HEADERS
        assert message.headers["Subject"] == composed.subject
        assert message.headers["Message-ID"] == composed.message_id


@given(text=TEXTS)
@settings(max_examples=300)
def test_one_line_is_what_python_calls_one_line(text: str) -> None:
    try:
        check_line(text)
    except ValueError:
        return
    assert len(text.splitlines()) <= 1
    assert "\0" not in text


@given(text=st.text(max_size=20), local=st.text(max_size=20))
@settings(max_examples=300)
def test_no_accepted_address_can_end_its_command(text: str, local: str) -> None:
    for value in (f"{local}@example.com", f"ada@example.com{text}", f"ada@{text}.com"):
        try:
            address = check_address(value)
        except ValueError:
            continue
        assert not set(address) & set('<>\r\n\0 \t,"')
