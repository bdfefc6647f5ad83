"""The e-mail job against a real mail server: what is sent, reused, retried and given up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from pydantic import JsonValue

from jobs import Fail, errors
from jobs.catalog.email import (
    TEMPLATES,
    Email,
    Mailer,
    MailRefused,
    MailServerBusy,
    TemplateFailed,
    send_email,
)
from tests.helpers.smtp import HANG_UP, SILENCE, SmtpSink, context_for, mailer_for
from tests.helpers.waiting import wait_until

ADA = "ada@example.com"
WELCOME = Email(to=ADA, template="welcome")


async def send(mailer: Mailer, email: Email = WELCOME, job_id: str = "j1") -> str:
    """Run the job and return the Message-ID."""
    return (await send_email(context_for(mailer, job_id), email)).message_id


async def test_a_template_arrives_as_text_and_html() -> None:
    before = datetime.now(UTC)
    async with SmtpSink() as sink, mailer_for(sink, sender_name="Acme") as mailer:
        email = Email(to=ADA, template="welcome", data={"name": "Ada"}, reply_to="help@example.com")
        delivery = await send_email(context_for(mailer), email)
    [message] = sink.messages
    assert (message.sender, message.recipients) == ("jobs@example.com", [ADA])
    assert message.headers["From"] == "Acme <jobs@example.com>"
    assert message.headers["To"] == ADA
    assert message.headers["Reply-To"] == "help@example.com"
    assert message.headers["Subject"] == "Welcome to Acme, Ada" == delivery.subject
    assert message.headers["Message-ID"] == delivery.message_id
    assert message.headers["Auto-Submitted"] == "auto-generated"
    assert message.headers.get_content_type() == "multipart/alternative"
    assert "Hello Ada," in message.body("plain")
    assert "Welcome, Ada" in message.body("html")
    assert abs(parsedate_to_datetime(message.headers["Date"]) - before) < timedelta(minutes=1)
    assert (delivery.success, delivery.to) == (True, ADA)
    assert before <= delivery.sent_at <= datetime.now(UTC)


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("template", TEMPLATES)
async def test_every_template_is_delivered_with_both_parts(template: str, lang: str) -> None:
    link = "https://example.com/?" + "x" * 200
    data = {"title": "Été", "reset_url": link, "invite_url": link, "unsubscribe_url": link}
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        payload = {"to": ADA, "template": template, "data": data, "lang": lang}
        delivery = await send_email(context_for(mailer), Email.model_validate(payload))
    [message] = sink.messages
    assert message.headers["Subject"] == delivery.subject
    assert message.body("plain").strip()
    assert f'<html lang="{lang}">' in message.body("html")


@pytest.mark.parametrize(
    ("text", "html", "kind"),
    [
        ("hi", None, "text/plain"),
        (None, "<p>hi</p>", "text/html"),
        ("hi", "<p>hi</p>", "multipart/alternative"),
    ],
)
async def test_given_content_is_sent_as_it_is(
    text: str | None, html: str | None, kind: str
) -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer, Email(to=ADA, subject="Hi", text=text, html=html))
    [message] = sink.messages
    assert message.headers.get_content_type() == kind
    for part, words in (("plain", text), ("html", html)):
        if words is not None:
            assert message.body(part).strip() == words


async def test_text_outside_ascii_survives() -> None:
    text = "Ça marche — 日本語 🎉\n.\nFrom here\n" + "long " * 500
    async with SmtpSink() as sink, mailer_for(sink, sender_name="Zoé, Inc.") as mailer:
        subject = "Réponse à Zoé : 日本語 🎉 " + "très " * 40 + "long"
        await send(mailer, Email(to="bob@exämple.com", subject=subject, text=text))
    [message] = sink.messages
    assert message.headers["Subject"] == subject
    assert message.headers["From"].addresses[0].display_name == "Zoé, Inc."
    assert message.recipients == ["bob@xn--exmple-cua.com"]
    assert message.body("plain") == text + "\n"
    assert message.content.isascii()
    assert max(map(len, message.content.split(b"\r\n"))) <= 998


async def test_a_local_part_outside_ascii_uses_smtputf8() -> None:
    async with SmtpSink(utf8=True) as sink, mailer_for(sink) as mailer:
        await send(
            mailer, Email(to="zoé@example.com", template="welcome", reply_to="é@example.com")
        )
    [message] = sink.messages
    assert message.recipients == ["zoé@example.com"]
    assert "SMTPUTF8" in message.options
    assert message.headers["To"] == "zoé@example.com"
    assert message.headers["Reply-To"] == "é@example.com"


@pytest.mark.parametrize("field", ["to", "reply_to", "from"])
async def test_without_smtputf8_such_an_address_fails_for_good(field: str) -> None:
    email = Email.model_validate({"to": ADA, "template": "welcome", field: "zoé@example.com"})
    async with SmtpSink(utf8=False) as sink, mailer_for(sink) as mailer:
        with pytest.raises(MailRefused, match="does not offer SMTPUTF8"):
            await send(mailer, email)
        assert sink.count("MAIL") == 0
        await send(mailer)
        assert sink.connections == 1


@pytest.mark.parametrize(
    ("link", "header"),
    [
        ("https://example.com/stop?u=" + "1" * 300, True),
        ("https://example.com/stop?u=é", False),
        ("https://example.com/<stop>", False),
        ("https://example.com/" + "1" * 1000, False),
    ],
)
async def test_a_newsletter_can_be_stopped_by_the_mail_program(link: str, header: bool) -> None:
    data: dict[str, JsonValue] = {"title": "News", "unsubscribe_url": link}
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer, Email(to=ADA, template="newsletter", data=data))
    [message] = sink.messages
    found = message.headers["List-Unsubscribe"]
    assert (found and found.replace(" ", "")) == (f"<{link}>" if header else None)
    assert link in message.body("plain")


async def test_the_sender_of_one_message_can_be_another() -> None:
    email = Email.model_validate({"to": ADA, "template": "welcome", "from": "team@example.org"})
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        message_id = await send(mailer, email)
    assert sink.messages[0].headers["From"] == "team@example.org"
    assert sink.messages[0].sender == "team@example.org"
    assert message_id.endswith("@example.org>")


async def test_one_connection_serves_many_jobs_and_is_opened_by_the_first() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        assert sink.connections == 0
        for number in range(3):
            await send(mailer, job_id=f"j{number}")
        assert sink.connections == 1
    assert len({message.headers["Message-ID"] for message in sink.messages}) == 3
    assert sink.commands[-1] == "QUIT"


async def test_jobs_at_once_share_a_bounded_number_of_connections() -> None:
    async with SmtpSink() as sink, mailer_for(sink, connections=2) as mailer:
        await asyncio.gather(*(send(mailer, job_id=f"j{number}") for number in range(10)))
        assert (len(sink.messages), sink.connections) == (10, 2)


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer)
        await sink.drop_connections()
        await send(mailer)
        assert (len(sink.messages), sink.connections) == (2, 2)


async def test_what_a_closed_connection_offered_is_asked_again() -> None:
    email = Email(to="zoé@example.com", template="welcome")
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer, email)
        [kept] = mailer._idle
        await sink.drop_connections()
        await wait_until(
            lambda: not kept.esmtp_extensions, description="the client has seen the end"
        )
        await send(mailer, email)
        assert (len(sink.messages), sink.connections) == (2, 2)


@pytest.mark.parametrize("farewell", ["421 4.4.2 idle too long", HANG_UP])
async def test_a_connection_that_dies_at_the_first_command_is_replaced(farewell: str) -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer)
        sink.answer("MAIL", farewell)
        await send(mailer)
        assert (len(sink.messages), sink.connections) == (2, 2)


async def test_a_message_under_way_is_never_sent_twice_in_one_attempt() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer)
        sink.answer(".", HANG_UP)
        with pytest.raises(MailServerBusy):
            await send(mailer)
        assert (sink.count("DATA"), sink.connections) == (2, 1)


async def test_a_second_attempt_has_the_same_message_id() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        sink.answer(".", HANG_UP)
        with pytest.raises(MailServerBusy):
            await send(mailer, job_id="welcome:42")
        again = await send(mailer, job_id="welcome:42")
        other = await send(mailer, job_id="welcome:43")
    assert again == "<1abfbebf0698f3731f28d573f9475157@example.com>"
    assert other != again


@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_a_4xx_reply_is_worth_another_attempt(command: str) -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        sink.answer(command, "451 4.7.1 greylisted, come back later")
        with pytest.raises(MailServerBusy, match=r"451 4\.7\.1 greylisted") as caught:
            await send(mailer)
        assert caught.value.code == 451
        assert not isinstance(caught.value, Fail)
        await send(mailer)
    assert len(sink.messages) == 1


@pytest.mark.parametrize("command", ["CONNECT", "MAIL", "RCPT", "DATA", "."])
async def test_a_5xx_reply_is_permanent(command: str) -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        sink.answer(command, "550 5.1.1 no such user here")
        with pytest.raises(MailRefused, match=r"550 5\.1\.1 no such user here") as caught:
            await send(mailer)
        assert isinstance(caught.value, Fail)
        assert caught.value.code == 550
        await send(mailer)
    assert len(sink.messages) == 1


async def test_a_refused_letter_does_not_cost_the_connection() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        for command, reply in (("MAIL", "452 full"), ("RCPT", "550 no"), (".", "554 spam")):
            sink.answer(command, reply)
            with pytest.raises(errors.JobsError):
                await send(mailer)
        await send(mailer)
        assert (sink.connections, sink.count("RSET")) == (1, 3)


async def test_garbage_instead_of_a_reply_costs_the_connection() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        sink.answer("RCPT", "what?")
        with pytest.raises(MailServerBusy):
            await send(mailer)
        await send(mailer)
        assert (sink.connections, sink.count("RSET")) == (2, 0)


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_silence_ends_in_a_timeout_that_is_retried(command: str) -> None:
    async with SmtpSink() as sink, mailer_for(sink, timeout_s=0.3) as mailer:
        sink.answer(command, SILENCE)
        with pytest.raises(MailServerBusy, match="did not answer in time"):
            await send(mailer)
        await send(mailer)
        assert sink.connections == 2


async def test_a_server_that_is_not_there_is_worth_another_attempt() -> None:
    async with SmtpSink() as sink:
        port = sink.port
    async with mailer_for(sink) as mailer:
        with pytest.raises(MailServerBusy, match=f"127.0.0.1:{port} cannot be reached"):
            await send(mailer)
        async with SmtpSink(port=port) as second:
            await send(mailer)
            assert len(second.messages) == 1


async def test_a_cancelled_job_does_not_leave_its_reply_to_the_next() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer)
        sink.answer("RCPT", SILENCE)
        task = asyncio.create_task(send(mailer))
        await wait_until(lambda: sink.count("RCPT") == 2, description="the second RCPT is there")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: sink.open == 0, description="the connection is given up")
        await send(mailer)
        assert (len(sink.messages), sink.connections) == (2, 2)


async def test_a_template_failure_makes_no_connection() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        with pytest.raises(TemplateFailed, match="'reset_url' is undefined"):
            await send(mailer, Email(to=ADA, template="password-reset"))
        assert sink.connections == 0


async def test_a_worker_without_a_mailer_says_what_is_missing() -> None:
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(SmtpSink())
        ctx = context_for(await stack.enter_async_context(mailer_for(sink)))
        del ctx["mailer"]
        with pytest.raises(errors.ConfigurationError, match=r"ctx\['mailer'\]"):
            await send_email(ctx, WELCOME)


async def test_a_closed_mailer_sends_nothing() -> None:
    async with SmtpSink() as sink, mailer_for(sink) as mailer:
        await send(mailer)
        await mailer.aclose()
        await mailer.aclose()
        with pytest.raises(errors.JobsError, match="mailer is closed"):
            await send(mailer)
        assert sink.connections == 1
