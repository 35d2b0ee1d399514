"""The measurable part of plain English: nouns instead of pronouns."""

from __future__ import annotations

import pytest

from tests.meta.prose import files_under, sentences, share

GOAL = 0.03
"""The share of pronouns in docstrings that no package may exceed."""

BUDGET = {"harness": 0.015, "backends": 0.015, "reports": 0.022}
"""The share allowed to each package, below GOAL. A budget only falls."""


@pytest.mark.parametrize("package", BUDGET)
def test_docstrings_name_their_subjects(package: str) -> None:
    """`python -m tests.meta.prose` lists the sentences to rewrite."""
    measured = share(
        text for file in files_under(f"evenbench/{package}") for text in sentences(file.read_text())
    )
    assert measured <= BUDGET[package] <= GOAL


def test_the_measure_sees_pronouns() -> None:
    assert share(sentences('"""What it is that one has where there is one."""')) > 0.5
    assert share(sentences('"""The registry maps backend names to import strings."""')) == 0.0
