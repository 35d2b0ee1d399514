"""Sizes as text: one function for reports, commands and packages."""

from __future__ import annotations

import pytest

from harness.core import quantities


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
