"""Quantities in flags: what is read, and one form of error for everything else."""

from __future__ import annotations

import argparse
import math
from typing import Any

import pytest

from evenbench.harness import UsageError
from evenbench.harness.core import quantities


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("20ms", "time", 20e6),
        ("20 ms", "time", 20e6),
        ("1.5s", "time", 1.5e9),
        (".5us", "time", 500.0),
        ("500MB", "size", 500e6),
        ("200 kB", "size", 200e3),
        ("1MiB", "size", 1048576.0),
        ("1%", "share", 0.01),
        ("0%", "share", 0.0),
    ],
)
def test_a_quantity_is_a_number_and_its_unit(text: str, kind: str, value: float) -> None:
    assert quantities.quantity(text, kind) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(text, "time") for text in ("", "20", "ms", "-1ms", "20MB", "nanms", "1e3ms", "1 000 ms")]
    + [("5Mb", "size"), ("1", "share")],
)
def test_anything_else_is_told_the_form_that_is_expected(text: str, kind: str) -> None:
    with pytest.raises(UsageError, match="expected a number of 0 or more and its unit"):
        quantities.quantity(text, kind)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0), ("", math.inf)]
)
def test_a_budget_is_a_duration(text: str, seconds: float) -> None:
    assert quantities.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "5", "20ms", "0s", "-1m", "nans", "infh", "m"])
def test_a_budget_of_another_form_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--budget '{text}' is not a duration; expected "):
        quantities.seconds_of(text)


def test_lists_are_numbers_between_commas() -> None:
    assert quantities.whole_numbers("1,2, 4") == (1, 2, 4)
    assert quantities.times_ms("0,.5,10") == (0.0, 0.5, 10.0)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((quantities.whole_numbers, text) for text in ("", "x", "1,,2", "1.5", "1 2")),
        *((quantities.times_ms, text) for text in ("", "x", "1,,2", "10ms")),
    ],
)
def test_a_list_of_another_form_is_an_error_of_the_flag(parse: Any, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^'{text}' is not a list of .*such as"):
        parse(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (9_996, "10.0 kB"),
        (46_830_000, "46.8 MB"),
        (999_700, "1.00 MB"),
        (1_234_000_000_000, "1,234 GB"),
    ],
)
def test_a_size_has_three_digits_and_its_unit(size_bytes: float, text: str) -> None:
    assert quantities.size(size_bytes) == text
    assert quantities.size(size_bytes, "_") == text.replace(" ", "_")
