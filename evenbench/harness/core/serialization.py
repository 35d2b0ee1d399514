"""Values as plain JSON, digests of values, and foreign text made harmless for terminals."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def to_json(value: Any) -> Any:
    """`value` as plain JSON types. Dataclasses become objects; recipe steps keep the class name."""
    if hasattr(value, "__dataclass_fields__"):
        plain = {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
        return (
            {"step": type(value).__name__, **plain}
            if getattr(type(value), "is_step", False)
            else plain
        )
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has neither NaN nor infinity
    return value


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and newline, direction overrides, and lone surrogates."""

_ESCAPED = re.compile(
    rb"\\u(?:00[0189]|007f|202[89a-e]|206[6-9]|d[89a-f])|\\[bfr]|[\x00-\x08\x0b-\x1f\x7f]"
    rb"|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]",
    re.IGNORECASE,
)
"""The same characters in a line of JSON, whether escaped or not."""

_COMMAND = re.compile(r"^([ \t]*)(:|#)(?=:|#\[|#vso\[)", re.MULTILINE)
"""The beginning of a line that GitHub (`::error`, `##[error]`) or Azure (`##vso[`) would obey."""


def harmless(text: str) -> str:
    """The text with replaced control characters, and without lines that a CI job would obey."""
    return without_commands(without_controls(text))


def without_controls(text: str) -> str:
    """The text with U+FFFD in place of each control character. A carriage return ends a line."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def without_commands(text: str) -> str:
    """The text with a space inside each `::` or `##[` at the beginning of a line."""
    return _COMMAND.sub(r"\1\2 ", text)


def parsed(line: bytes, **options: Any) -> Any:
    """A line of JSON from a foreign file or process, with `without_controls` on every string.

    `options` are those of `json.loads`. Raises ValueError for anything but JSON, also for JSON too
    deep to be read.
    """
    try:
        value = json.loads(line, **options)
        return _cleaned(value) if _ESCAPED.search(line) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_controls(value)
    if isinstance(value, dict):
        return {without_controls(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def read(text: str) -> Any:
    """`text` as a number, a boolean or another JSON value, as in options; else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of `value` as canonical JSON."""
    return hashlib.sha256(
        json.dumps(to_json(value), sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
