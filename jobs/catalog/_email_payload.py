"""What the e-mail job takes and gives: `Email`, validated at enqueue and again in the worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from jobs import errors
from jobs.catalog._email_address import check_address, check_line, check_text, shown

TemplateName = Literal["welcome", "password-reset", "invitation", "reminder", "newsletter"]
Language = Literal["en", "fr"]
TEMPLATES: tuple[str, ...] = get_args(TemplateName)

# Names that every template is given besides its data; data must not stand in for them.
RESERVED = frozenset({"app", "lang", "to"})


def _known_template(value: object) -> object:
    if isinstance(value, str) and value not in TEMPLATES:
        hint = errors.did_you_mean(value, TEMPLATES)
        message = f"no template is called {shown(value)}{hint}; there are {', '.join(TEMPLATES)}"
        raise ValueError(message)
    return value


Address = Annotated[str, Field(max_length=320), AfterValidator(check_address)]
Body = Annotated[str, AfterValidator(check_text)]
HeaderText = Annotated[str, Field(min_length=1, max_length=998), AfterValidator(check_line)]


class Email(BaseModel):
    """One e-mail to one recipient, from a template or with its content given.

    Attributes:
        to: the recipient's address, such as ``ada@example.com``.
        template: welcome, password-reset, invitation, reminder or newsletter; without one,
            `subject` and `text` or `html` (or both) are the message.
        data: the template's variables; default none.
        lang: language of the template, ``en`` or ``fr``; default ``en``.
        subject: replaces the template's subject, or is the subject; one line.
        text: the plain text, when no template is used.
        html: the HTML, when no template is used; sent as it is, so escape what goes into it.
        reply_to: where answers go; default the sender.
        from_: sender of this message (also written ``from``); default `EmailSettings.sender`.

    Raises:
        pydantic.ValidationError: a field is wrong, or neither or both ways are used.
    """

    # Data may hold reset links and other secrets: a validation error must not repeat it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True
    )

    to: Address
    template: Annotated[TemplateName | None, BeforeValidator(_known_template)] = None
    data: dict[str, JsonValue] = Field(default_factory=dict, repr=False)
    lang: Language = "en"
    subject: HeaderText | None = None
    text: Body | None = None
    html: Body | None = None
    reply_to: Address | None = None
    from_: Address | None = Field(default=None, validation_alias=AliasChoices("from", "from_"))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    def _problem(self) -> str | None:
        given = [name for name in ("text", "html") if getattr(self, name)]
        if self.template:
            return _template_problem(self.template, given, self.data)
        if self.data:
            return "data is read by a template only, and none was named; add template=…"
        if not self.subject and not given:
            return "expected a template, or subject with text or html; got neither"
        if not self.subject:
            return f"expected a subject together with {' and '.join(given)}, got none"
        if not given:
            return "expected text or html (or both) together with subject, got neither"
        return None


def _template_problem(name: str, given: list[str], data: dict[str, JsonValue]) -> str | None:
    if given:
        both = " and ".join(given)
        return f"expected either a template or {both}, got template {name!r} and {both}"
    taken = sorted(RESERVED & data.keys())
    if taken:
        return f"data must not use the reserved name {taken[0]!r}; call it something else"
    return None


class Delivery(BaseModel):
    """The mail server took the message; what becomes of it then is not known here.

    Attributes:
        success: always true; a message not taken raises instead.
        sent_at: when the server took it, in UTC.
        message_id: its Message-ID, the same for every attempt of the job.
        subject: the subject as sent.
        to: the recipient's address.
    """

    model_config = ConfigDict(frozen=True)

    success: bool = True
    sent_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    message_id: str
    subject: str
    to: str
