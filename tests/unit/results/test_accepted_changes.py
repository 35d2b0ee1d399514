"""The file of accepted changes: what it says comes back, what it held stays, and what is wrong with
it is told.
"""

import pytest

from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import accepted_changes
from evenbench.harness.results.accepted_changes import Expectation
from evenbench.harness.results.series import METRICS

WHOLE = Expectation(
    "m-b",
    "latency",
    9.45e6,
    "c" * 40,
    'it "must" be\nso – \x7f',
    "2026-01-01T00:00:00Z",
    "01234567",
)


def test_an_entry_comes_back() -> None:
    bare = Expectation("m-b", "error", 0.5, "", "why")
    text = accepted_changes.added(accepted_changes.added("", WHOLE), bare)
    assert accepted_changes.parse(text, METRICS) == [WHOLE, bare]


def test_comments_stay() -> None:
    text = "# ours\n" + accepted_changes.added("", WHOLE) + "# and this\n"
    added = accepted_changes.added(text, WHOLE)
    assert added.startswith(text.rstrip("\n"))
    assert len(accepted_changes.parse(added, METRICS)) == 2


def test_nothing_accepted() -> None:
    assert accepted_changes.parse("", METRICS) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "not valid TOML"),
        ("accepted = 3", "expected only"),
        ("[other]", "holds other"),
        ("accepted = [1]", "entry 1 is not a table"),
        ("[[accepted]]\ncell = 'a'", "lacks metric, level, commit, reason"),
        (
            "[[accepted]]\ncell='a'\nmetric='latency'\nlevel=1\ncommit='c'\nreason='r'\nwho='me'",
            "has who",
        ),
        (
            "[[accepted]]\ncell='a'\nmetric='speed'\nlevel=1\ncommit='c'\nreason='r'",
            "metric 'speed'",
        ),
        ("[[accepted]]\ncell='a'\nmetric='latency'\nlevel=-1\ncommit='c'\nreason='r'", "level -1"),
        (
            "[[accepted]]\ncell='a'\nmetric='latency'\nlevel=nan\ncommit='c'\nreason='r'",
            "level nan",
        ),
        (
            "[[accepted]]\ncell='a'\nmetric='latency'\nlevel=1\ncommit='c'\nreason=' '",
            "the reason is empty",
        ),
        (
            "[[accepted]]\ncell='a'\nmetric='latency'\nlevel=1\ncommit=3\nreason='r'",
            "text in quotes",
        ),
    ],
)
def test_what_is_wrong_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        accepted_changes.parse(text, METRICS)
