"""Plain English on the pages: short sentences, nouns in place of `what`, words of the trade."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.prose_rules import violations

BUDGET: Mapping[str, int] = {
    "docs/explanation/design/interface.md": 1,
    "docs/explanation/design/measurement.md": 2,
    "docs/explanation/design/parity.md": 3,
    "docs/explanation/design/store.md": 2,
    "docs/explanation/fairness.md": 11,
    "docs/explanation/roofline.md": 2,
    "docs/explanation/statistics.md": 35,
    "docs/reference/backends.md": 28,
    "docs/reference/inputs.md": 2,
    "docs/reference/preprocessing.md": 10,
    "docs/reference/results-file.md": 4,
    "docs/reference/tasks.md": 10,
    "docs/reference/what-runs-where.md": 1,
    "docs/results/findings.md": 14,
    "docs/results/harness-cost.md": 3,
    "docs/results/runtimes.md": 14,
    "docs/results/verified.md": 2,
}
"""Pages with violations, and their number. A budget only falls; any other page has none."""

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_keeps_the_rules(page: Path) -> None:
    faults = violations(page)
    allowed = BUDGET.get(page.relative_to(ROOT).as_posix(), 0)
    assert len(faults) <= allowed, "\n".join(faults)


def test_budgets_name_pages() -> None:
    assert [name for name in BUDGET if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"This is {'very ' * 40}long.", "43 words"),
        ("The record names what is measured.", "in place of a noun"),
        ("The reason is told there.", "say who reports it"),
    ],
)
def test_the_rules_bite(tmp_path: Path, text: str, words: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{text}\n\n| what is | a table |\n\n```sh\nwhat is this\n```\n")
    (fault,) = violations(page)
    assert words in fault


def test_a_question_may_ask_what() -> None:
    assert violations(ROOT / "docs" / "faq.md") == []
