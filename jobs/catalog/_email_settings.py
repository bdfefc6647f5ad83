"""Settings of the e-mail job: which mail server, how it is trusted, and who the sender is."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    model_validator,
)

from jobs.catalog._email_address import check_address, check_line, check_link

TlsMode = Literal["starttls", "implicit", "none"]
PACKAGED_TEMPLATES = Path(__file__).parent / "templates" / "email"

Line = Annotated[str, AfterValidator(check_line)]


class EmailSettings(BaseModel):
    """The mail server and the sender; checked as a whole, so that a wrong mix fails at start.

    Attributes:
        sender: address that messages come from; required.
        sender_name: name shown beside it, also the application's name in templates; default none.
        host: name or address of the mail server; default ``localhost``.
        port: its port, 1 to 65535; default 587.
        tls: ``starttls`` (default), ``implicit`` (TLS from the first byte, port 465) or ``none``,
            which is refused for any host but this machine unless `allow_plaintext` is set.
        username: login; default none, no login.
        password: its password, never shown.
        ca_file: a PEM file of further authorities to trust, besides the system's; default none.
        allow_plaintext: let messages, never credentials, travel unencrypted to another host;
            default false.
        timeout_s: seconds to wait for a connection and for each reply, above 0; default 10.
        connections: most connections open at a time, 1 to 100; default 4.
        templates_dir: folder whose files (``en/welcome.html`` …) stand in for the packaged ones;
            default none.
        base_url: where links without an address of their own lead; default none, no such links.

    Raises:
        pydantic.ValidationError: a value is wrong, or the mix would be unsafe.
    """

    # A validation error repeats the whole input otherwise, the password included.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sender: Annotated[str, AfterValidator(check_address)]
    sender_name: Line = ""
    host: Annotated[Line, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: TlsMode = "starttls"
    username: Line | None = None
    password: SecretStr | None = None
    ca_file: FilePath | None = None
    allow_plaintext: bool = False
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    connections: Annotated[int, Field(ge=1, le=100)] = 4
    templates_dir: DirectoryPath | None = None
    base_url: Annotated[str, AfterValidator(check_link)] | None = None

    @model_validator(mode="after")
    def _safe(self) -> Self:
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    def _problem(self) -> str | None:
        if (self.username is None) != (self.password is None):
            return "expected username and password together, got only one of them"
        if self.tls != "none":
            return None
        if self.username is not None:
            return "tls='none' would send the password in clear; use tls='starttls' or 'implicit'"
        if not self.allow_plaintext and not is_loopback(self.host):
            return (
                f"tls='none' is meant for a server on this machine, got host {self.host!r}; "
                "use tls='starttls' or 'implicit', or set allow_plaintext"
            )
        return None


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: ``localhost`` or a loopback address; asks no DNS."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
