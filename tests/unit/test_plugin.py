"""The pytest plugin: an item's place in its file."""

from __future__ import annotations

import pytest

TWICE = """
from backends.contract_model import TINY_CNN
from harness import Case

latency: object = None
latency = Case(models=(TINY_CNN,), backends=("null",))
"""


def test_an_item_is_on_the_line_of_its_last_assignment(pytester: pytest.Pytester) -> None:
    (pytester.path / "bench_twice.py").write_text(TWICE)
    items, _ = pytester.inline_genitems("bench_twice.py")
    assert [item.reportinfo()[1] for item in items] == [5], "lines count from zero"
