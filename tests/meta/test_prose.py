"""The measurable part of plain English: nouns instead of pronouns, lines of at most 100 columns."""

from __future__ import annotations

import pytest

from tests.meta.prose import ROOT, files_under, sentences, share

GOAL = 0.03
BUDGET = {"harness": 0.13, "backends": 0.13, "reports": GOAL}
"""The share of pronouns in docstrings. A budget only falls, to GOAL at last."""

COLUMNS = 100


@pytest.mark.parametrize("package", BUDGET)
def test_docstrings_name_their_subjects(package: str) -> None:
    """`python -m tests.meta.prose` lists the sentences to rewrite."""
    found = share(text for file in files_under(package) for text in sentences(file.read_text()))
    assert found <= BUDGET[package]


def test_the_measure_sees_pronouns() -> None:
    assert share(sentences('"""What it is that one has where there is one."""')) > 0.5
    assert share(sentences('"""The registry maps backend names to import strings."""')) == 0.0


LONG_LINES = 815


def test_lines_fit_the_page() -> None:
    files = [*files_under("harness", "backends", "reports", "benchmarks", "tests")]
    long = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > COLUMNS
    ]
    assert len(long) <= LONG_LINES, long
