"""E-mail over TLS: whoever cannot prove to be the mail server gets neither password nor message."""

from __future__ import annotations

import base64
import ssl
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from jobs import Fail, errors
from jobs.catalog.email import (
    Email,
    EmailSettings,
    Mailer,
    MailRefused,
    MailServerBusy,
    MailServerUntrusted,
    send_email,
)
from tests.helpers.smtp import HANG_UP, SILENCE, Certificates, SmtpSink, context_for, mailer_for

LOGIN = ("mailer", "hunter2-is-no-password")
AUTH = {"username": LOGIN[0], "password": LOGIN[1]}
# Every form in which the password could travel or be quoted.
SECRETS = [
    LOGIN[1].encode(),
    base64.b64encode(LOGIN[1].encode()),
    base64.b64encode(f"\0{LOGIN[0]}\0{LOGIN[1]}".encode()),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("other-ca"))


def sink_with(mode: str, context: ssl.SSLContext) -> SmtpSink:
    """A mail server with a certificate, in the given mode of TLS."""
    if mode == "implicit":
        return SmtpSink(implicit_tls=context, login=LOGIN)
    return SmtpSink(tls=context, login=LOGIN)


async def send(mailer: Mailer) -> None:
    await send_email(context_for(mailer), Email(to="ada@example.com", template="welcome"))


async def failure(send_it: Callable[[], Awaitable[None]]) -> errors.JobsError:
    """The error of a sending that must fail, checked for secrets in all it would print."""
    with pytest.raises(errors.JobsError) as caught:
        await send_it()
    told = "".join(traceback.format_exception(caught.value)).encode()
    seen: BaseException | None = caught.value
    while seen is not None:
        told += repr((seen, vars(seen))).encode()
        seen = seen.__cause__ or seen.__context__
    assert not any(secret in told for secret in SECRETS)
    return caught.value


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_a_trusted_server_gets_login_and_message(
    mode: str, certificates: Certificates
) -> None:
    context = certificates.context()
    async with (
        sink_with(mode, context) as sink,
        mailer_for(sink, tls=mode, ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        await send(mailer)
        await send(mailer)
    assert (len(sink.messages), sink.connections, sink.count("AUTH")) == (2, 1, 1)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_an_unknown_authority_is_refused(
    mode: str, certificates: Certificates, strangers: Certificates
) -> None:
    context = strangers.context()
    async with (
        sink_with(mode, context) as sink,
        mailer_for(sink, tls=mode, ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailServerUntrusted)
        assert "certificate" in str(error)
        assert_nothing_told(sink)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_the_system_does_not_trust_a_certificate_of_our_own(
    mode: str, certificates: Certificates
) -> None:
    context = certificates.context()
    async with sink_with(mode, context) as sink, mailer_for(sink, tls=mode, **AUTH) as mailer:
        assert isinstance(await failure(lambda: send(mailer)), MailServerUntrusted)
        assert_nothing_told(sink)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_a_certificate_for_another_host_is_refused(
    mode: str, certificates: Certificates
) -> None:
    context = certificates.context("mail.example.com")
    async with (
        sink_with(mode, context) as sink,
        mailer_for(sink, tls=mode, ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailServerUntrusted)
        assert "127.0.0.1" in str(error)
        assert_nothing_told(sink)


@pytest.mark.parametrize("auth_in_clear", [False, True])
async def test_a_server_that_offers_no_starttls_is_refused(
    auth_in_clear: bool, certificates: Certificates
) -> None:
    async with (
        SmtpSink(login=LOGIN, auth_in_clear=auth_in_clear) as sink,
        mailer_for(sink, tls="starttls", ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailServerUntrusted)
        assert "does not offer STARTTLS" in str(error)
        assert_nothing_told(sink)


@pytest.mark.parametrize("reply", ["454 TLS not available", "502 unknown command", HANG_UP])
async def test_starttls_offered_but_refused_sends_nothing(
    reply: str, certificates: Certificates
) -> None:
    async with (
        SmtpSink(tls=certificates.context(), login=LOGIN, auth_in_clear=True) as sink,
        mailer_for(sink, tls="starttls", ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        sink.answer("STARTTLS", reply)
        await failure(lambda: send(mailer))
        assert_nothing_told(sink)


async def test_auth_in_clear_is_refused_even_if_the_settings_were_forced() -> None:
    async with (
        SmtpSink(login=LOGIN, auth_in_clear=True) as sink,
        mailer_for(sink) as mailer,
    ):
        forced = {"username": LOGIN[0], "password": SecretStr(LOGIN[1])}
        mailer.settings = mailer.settings.model_copy(update=forced)
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailServerUntrusted)
        assert "in clear" in str(error)
        assert_nothing_told(sink)


async def test_a_wrong_password_is_permanent_and_not_shown(certificates: Certificates) -> None:
    async with (
        SmtpSink(tls=certificates.context(), login=("mailer", "another")) as sink,
        mailer_for(sink, tls="starttls", ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailRefused)
        assert isinstance(error, Fail)
        assert (error.code, sink.messages) == (535, [])
        assert "check username and password" in str(error)


async def test_a_reply_that_quotes_the_credentials_is_not_repeated(
    certificates: Certificates,
) -> None:
    async with (
        SmtpSink(tls=certificates.context(), login=LOGIN) as sink,
        mailer_for(sink, tls="starttls", ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        sink.answer("AUTH", f"454 failed: AUTH PLAIN {SECRETS[2].decode()}", times=3)
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailServerBusy)
        assert error.code == 454
        await send(mailer)


@pytest.mark.parametrize("reply", [SILENCE, HANG_UP])
async def test_a_login_without_an_answer_is_worth_another_attempt(
    reply: str, certificates: Certificates
) -> None:
    async with (
        SmtpSink(tls=certificates.context(), login=LOGIN) as sink,
        mailer_for(
            sink, tls="starttls", ca_file=certificates.ca_file, timeout_s=1.0, **AUTH
        ) as mailer,
    ):
        sink.answer("AUTH", reply)
        assert isinstance(await failure(lambda: send(mailer)), MailServerBusy)
        await send(mailer)


async def test_a_server_without_auth_is_named(certificates: Certificates) -> None:
    async with (
        SmtpSink(tls=certificates.context(), no_auth=True) as sink,
        mailer_for(sink, tls="starttls", ca_file=certificates.ca_file, **AUTH) as mailer,
    ):
        error = await failure(lambda: send(mailer))
        assert isinstance(error, MailRefused)
        assert "no way to log in" in str(error)


def test_a_ca_file_without_certificates_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(errors.ConfigurationError, match="certificates in PEM form"):
        Mailer(EmailSettings(sender="a@example.com", ca_file=file))


def assert_nothing_told(sink: SmtpSink) -> None:
    assert not any(secret in sink.sent for secret in SECRETS)
    assert (sink.count("AUTH"), sink.count("MAIL"), sink.messages) == (0, 0, [])
