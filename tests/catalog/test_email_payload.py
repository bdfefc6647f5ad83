"""What an e-mail job accepts: one recipient and exactly one of the two ways to give content."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.catalog.email import Email, EmailSettings

ADA = "ada@example.com"


def problem(**fields: Any) -> str:
    """The message that refuses these fields of an `Email`."""
    with pytest.raises(ValidationError) as caught:
        Email.model_validate({"to": ADA, **fields})
    return str(caught.value)


def settings_problem(**fields: Any) -> str:
    """The message that refuses these fields of the settings."""
    with pytest.raises(ValidationError) as caught:
        EmailSettings.model_validate({"sender": ADA, **fields})
    return str(caught.value)


def test_a_template_needs_nothing_else() -> None:
    email = Email(to=ADA, template="welcome")
    assert (email.lang, email.data, email.subject) == ("en", {}, None)


@pytest.mark.parametrize("body", [{"text": "hi"}, {"html": "<p>hi"}, {"text": "hi", "html": "x"}])
def test_subject_with_a_body_needs_no_template(body: dict[str, str]) -> None:
    assert Email.model_validate({"to": ADA, "subject": "Hi", **body}).template is None


def test_a_subject_may_replace_the_one_of_the_template() -> None:
    assert Email(to=ADA, template="welcome", subject="Hello!").subject == "Hello!"


def test_the_seeds_payload_is_accepted_as_it_is() -> None:
    seed = {"to": ADA, "subject": "Hi", "template": "welcome", "data": {"n": [1]}, "lang": "fr"}
    assert Email.model_validate(seed).model_dump(exclude_unset=True) == seed


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "expected a template, or subject with text or html; got neither"),
        ({"subject": "Hi"}, "expected text or html (or both) together with subject"),
        ({"text": "hi"}, "expected a subject together with text, got none"),
        ({"subject": "Hi", "text": ""}, "expected text or html"),
        ({"template": "welcome", "text": "hi"}, "got template 'welcome' and text"),
        ({"template": "welcome", "html": "x", "text": "y"}, "got template 'welcome' and text and"),
        ({"subject": "Hi", "text": "hi", "data": {"a": 1}}, "data is read by a template only"),
        ({"template": "welcome", "data": {"app": 1}}, "must not use the reserved name 'app'"),
        ({"template": "welcome", "lang": "de"}, "'en' or 'fr'"),
        ({"template": "welcome", "bcc": ADA}, "bcc"),
        ({"template": "welcome", "to": "ada"}, "expected an e-mail address such as ada@exampl"),
        ({"template": "welcome", "to": "Ada <ada@example.com>"}, "expected an e-mail address"),
        ({"template": "welcome", "to": "a@example.com, b@example.com"}, "expected an e-mail addr"),
        ({"template": "welcome", "reply_to": "ada"}, "reply_to"),
        ({"subject": "Hi", "text": "half a \ud800"}, "lone surrogate"),
    ],
)
def test_any_other_mix_is_refused_with_a_reason(fields: dict[str, Any], words: str) -> None:
    assert words in problem(**fields)


def test_an_unknown_template_names_the_nearest() -> None:
    message = problem(template="pasword-reset")
    assert "no template is called 'pasword-reset' (did you mean 'password-reset'?)" in message
    assert "welcome, password-reset, invitation, reminder, newsletter" in message


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "welcome.html", "layout"])
def test_a_template_name_is_never_a_path(name: str) -> None:
    assert "no template is called" in problem(template=name)


def test_addresses_are_normalised_and_international_ones_accepted() -> None:
    assert Email(to="Ada@EXAMPLE.com", template="welcome").to == "Ada@example.com"
    assert Email(to="zoé@exämple.com", template="welcome").to == "zoé@exämple.com"


@pytest.mark.parametrize("name", ["from", "from_"])
def test_the_sender_may_be_given_under_either_name(name: str) -> None:
    email = Email.model_validate({"to": ADA, "template": "welcome", name: "b@example.com"})
    assert email.from_ == "b@example.com"
    assert Email.model_validate(email.model_dump()) == email
    assert Email.model_validate_json(email.model_dump_json()) == email


def test_errors_and_repr_do_not_repeat_the_data() -> None:
    data = {"reset_url": "https://example.com/?token=s3cret"}
    assert "s3cret" not in problem(template="welcome", text="x", data=data)
    assert "s3cret" not in problem(template="welcome", data={**data, "to": 1})
    assert "s3cret" not in repr(Email(to=ADA, template="welcome", data=dict(data)))


def test_settings_have_safe_defaults() -> None:
    settings = EmailSettings(sender=ADA)
    assert (settings.tls, settings.port, settings.allow_plaintext) == ("starttls", 587, False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tls": "none", "host": "mail.example.com"}, "tls='none' is meant for a server on this"),
        ({"tls": "none", "host": "10.0.0.5"}, "tls='none' is meant for a server on this machine"),
        ({"tls": "none", "username": "u", "password": "hunter2"}, "password in clear"),
        (
            {"tls": "none", "allow_plaintext": True, "username": "u", "password": "hunter2"},
            "password in clear",
        ),
        ({"username": "u"}, "expected username and password together"),
        ({"password": "hunter2"}, "expected username and password together"),
        ({"password": 7}, "password"),
        ({"sender_name": "Ada\r\nBcc: eve@example.com"}, "without control characters"),
        ({"sender": "ada@example.com\r\nBcc: eve@example.com"}, "without control characters"),
        ({"host": "mail\r\nQUIT"}, "without control characters"),
        ({"base_url": "javascript:alert(1)"}, "https://"),
        ({"port": 0}, "port"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"hots": "x"}, "hots"),
    ],
)
def test_unsafe_settings_are_refused_and_no_secret_is_shown(
    fields: dict[str, Any], words: str
) -> None:
    message = settings_problem(**fields)
    assert words in message
    assert "hunter2" not in message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_no_tls_is_for_this_machine(host: str) -> None:
    assert EmailSettings(sender=ADA, host=host, tls="none").host == host


def test_plaintext_to_another_host_must_be_asked_for() -> None:
    settings = EmailSettings(sender=ADA, host="mail.lan", tls="none", allow_plaintext=True)
    assert settings.host == "mail.lan"


def test_the_password_is_masked() -> None:
    settings = EmailSettings.model_validate({"sender": ADA, "username": "u", "password": "hunter2"})
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
