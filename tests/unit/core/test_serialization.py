"""Foreign text: no terminal, log, annotation or summary obeys it, and other text stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbench.harness.core.serialization import harmless, parsed, without_controls

ANY_TEXT = st.text('\x00\x07\x1b\x7f\x85\r\n\t\u2028\u202e\u2069\ud800ab"\\☺', max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;owned\x07 \x1b[31mred", "\ufffd]0;owned\ufffd \ufffd[31mred"),
        ("a\r::error::b", "a\n: :error::b"),
        ("one\n  ::set-output name=x::y", "one\n  : :set-output name=x::y"),
        ("##[error]x\n##vso[task]y", "# #[error]x\n# #vso[task]y"),
        ("\u202egnp.exe \ud800", "\ufffdgnp.exe \ufffd"),
        *((text, text) for text in ("bench.py::latency[m-ort] µ × – ☺", "# ##\ttab", ": a")),
    ],
)
def test_what_a_terminal_or_a_job_would_obey_is_shown_as_text(text: str, expected: str) -> None:
    assert harmless(text) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(ANY_TEXT, ANY_TEXT | st.lists(ANY_TEXT) | st.integers())))
def test_no_string_of_a_line_has_a_control_character(value: object) -> None:
    for line in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        raw = line.encode(errors="surrogatepass")
        try:
            read = parsed(raw)
        except UnicodeDecodeError:
            continue  # a lone surrogate is no UTF-8
        for text in _strings(read):
            assert text == without_controls(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ab☺µ \n\t\\u0\"'/")))
def test_other_strings_are_unchanged(texts: list[str]) -> None:
    assert parsed(json.dumps({"x": texts}).encode()) == {"x": texts}


@pytest.mark.parametrize("line", [b"[" * 100_000, b"{", b"\xff", b"", b"[" * 900 + b'"\x1b'])
def test_a_line_that_cannot_be_read_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        parsed(line)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _strings(item))]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []
