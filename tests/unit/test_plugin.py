"""The pytest plugin: an item's place in its file."""

from __future__ import annotations

import pytest

from evenbench.harness.core.errors import UsageError
from evenbench.harness.plugin import items

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


@pytest.mark.parametrize("name", ["parametrize", "usefixtures", "a b", "_own"])
def test_a_mark_without_meaning_as_a_plain_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"marks holds '{name}'"):
        items._mark(name)


def test_a_plain_mark_is_a_mark_of_pytest() -> None:
    assert items._mark("slow").name == "slow"
