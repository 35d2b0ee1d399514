"""Recorded lines whose every string holds something that a page, a terminal or a log could obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PAYLOADS = (
    "<script>window.PWNED=1;alert(1)</script>",
    '"><img src=x onerror="window.PWNED=1;alert(2)">',
    "'><svg/onload=window.PWNED=1>",
    "</script><script>window.PWNED=1</script>",
    "<!--<script>",
    "</title></text></svg><script>window.PWNED=1</script>",
    "javascript:window.PWNED=1//",
    '<a href="javascript:window.PWNED=1">x</a>',
    "<iframe src=http://127.0.0.1:9/f></iframe>",
    "<style>@import url(http://127.0.0.1:9/c)</style>",
    "<b onmouseover=window.PWNED=1>b</b>",
    "{{7*7}}{% for x in y %}${7*7}#{7*7}<%= 7*7 %>",
    "\u2028\u2029\x00\x1b]0;x\x07\x1b[31m\r\n::error::x\n",
    "<base href=http://127.0.0.1:9/>",
    '<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/">',
    "</textarea></style></dialog><form action=http://127.0.0.1:9/><input autofocus "
    "onfocus=window.PWNED=1>",
    "<math><mtext></p><img src onerror=window.PWNED=1>",
    "__proto__",
    "$\\frac{1}{2}$ $_^{",
    "]]><foreignObject><body xmlns='x' onload=window.PWNED=1>",
)

KEPT = {
    *("schema", "outcome", "time", "started", "boundary", "precision", "device", "role", "kind"),
    *("verdict", "stability", "metric", "plan", "load", "scenario", "diff", "task", "phase"),
    *("direction", "codec", "covers", "source", "unit", "commit", "commit_before", "key", "group"),
}
"""Keys whose values are read by rules: with another value a line is left out, not shown."""


def hostile(value: Any, first: int = 0) -> Any:
    """A copy of JSON with a payload in front of every string; `first` turns the payloads."""
    return _visited(value, "", _payloads(first))


def _payloads(first: int) -> Callable[[], str]:
    state = [first]

    def payload() -> str:
        state[0] += 1
        return PAYLOADS[state[0] % len(PAYLOADS)]

    return payload


def _visited(value: Any, key: str, payload: Callable[[], str]) -> Any:
    if key in KEPT:
        return value
    if isinstance(value, dict):
        return {name: _visited(item, name, payload) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visited(item, "", payload) for item in value]
    return payload() + (value or "empty") if isinstance(value, str) else value
