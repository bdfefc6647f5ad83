"""What people write on a job: tags, to find jobs by; headers, small data beside the arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.errors import InvalidOption

MAX_TAGS, MAX_TAG_LENGTH = 10, 128
#: A trace context, a tenant, a locale: more than that belongs into the arguments.
MAX_HEADERS, MAX_HEADERS_BYTES = 32, 4096


def check_tags(tags: Any) -> tuple[str, ...]:
    """The tags, each once, in their order.

    Raises:
        InvalidOption: no list of text, more than 10, or one of more than 128 characters.
    """
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise InvalidOption(f'`tags` is a list of text such as ["billing"], not {tags!r:.60}')
    unique = tuple(dict.fromkeys(tags))
    for tag in unique:
        if not isinstance(tag, str) or not tag or len(tag) > MAX_TAG_LENGTH:
            raise InvalidOption(
                f"a tag is text of 1 to {MAX_TAG_LENGTH} characters, not {tag!r:.60}"
            )
        if not tag.isprintable():
            raise InvalidOption(f"a tag holds no control characters: {tag!r:.60}")
    if len(unique) > MAX_TAGS:
        raise InvalidOption(
            f"a job has at most {MAX_TAGS} tags, those of its function counted; "
            f"these are {len(unique)}"
        )
    return unique


def check_headers(headers: Any) -> dict[str, str]:
    """The headers as a dict.

    Raises:
        InvalidOption: no mapping of text to text, more than 32, or more than 4 KiB in all.
    """
    if not isinstance(headers, Mapping):
        raise InvalidOption(f"`headers` is a dict of text to text, not {headers!r:.60}")
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not isinstance(value, str):
            raise InvalidOption(
                f"a header is text with a name of text, not {name!r:.60}: {value!r:.60}; other "
                "values belong into the arguments"
            )
    if len(headers) > MAX_HEADERS:
        raise InvalidOption(f"a job has at most {MAX_HEADERS} headers, not {len(headers)}")
    size = sum(len(f"{name}{value}".encode(errors="replace")) for name, value in headers.items())
    if size > MAX_HEADERS_BYTES:
        raise InvalidOption(
            f"the headers of a job have at most {MAX_HEADERS_BYTES:,} bytes, these have {size:,}; "
            "data belongs into the arguments"
        )
    return dict(headers)
