"""Facts that several pages state are those of the code, and pages do not contradict each other."""

from __future__ import annotations

import re

import pytest

from evenbench import backends
from evenbench.harness.core.plans import PLANS
from evenbench.harness.results import records
from evenbench.harness.statistics.estimates import needed_for_quantile
from evenbench.reports.pages import notebook
from tests.docs.pages import ROOT

PAGES = {
    page.relative_to(ROOT).as_posix(): " ".join(page.read_text(encoding="utf-8").split())
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
COLD_START = next(column for column in notebook.COLUMNS if column.name == "cold_start_s").meaning
CONTROLS = sum(row.name.startswith("negative-") for row in backends.TABLE)
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS = {**dict(enumerate(NUMBERS)), 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen"}
SAID = {
    "laps of a p99": (r"p99 needs (\d+)", str(needed_for_quantile(0.99))),
    "laps of a p99, in words of the FAQ": (r"from (\d+) laps", str(needed_for_quantile(0.99))),
    "laps of a p90": (r"p90 needs (\d+)", str(needed_for_quantile(0.90))),
    "phases of a cold start": (r"\*\*cold start\*\* \| (.+?) of a fresh process", COLD_START),
    "wrong backends": (r"(\w+) deliberately wrong runtimes", WORDS[CONTROLS].capitalize()),
    "processes of the default plan": (
        r"at least (\w+) fresh processes per cell",
        WORDS[PLANS["default"].processes],
    ),
    "half-width of the default plan": (
        r"until the ratios are within ±(\d+) %",
        f"{PLANS['default'].half_width:.0%}"[:-1],
    ),
}
"""Fact → how pages state it, and the value in the code."""


@pytest.mark.parametrize("fact", SAID)
def test_pages_state_the_fact_of_the_code(fact: str) -> None:
    pattern, value = SAID[fact]
    stated = {name: set(re.findall(pattern, text)) for name, text in PAGES.items()}
    stated = {name: values for name, values in stated.items() if values}
    assert stated, "no page states it: the search is blind"
    assert {name: values for name, values in stated.items() if values != {value}} == {}


def not_recorded(text: str) -> set[str]:
    """Keys of a line that a text calls unrecorded."""
    sentences = re.findall(r"[^.|]*\b(?:is|are) not recorded\b", text)
    keys = records.schema()["properties"]
    return {
        key for key in keys for sentence in sentences if re.search(rf"\b{key}\b", sentence, re.I)
    }


def test_no_page_calls_a_recorded_fact_unrecorded() -> None:
    assert not_recorded("**Energy and clock frequency** are not recorded.") == {"energy", "clock"}
    assert {name: keys for name, text in PAGES.items() if (keys := not_recorded(text))} == {}


def test_waiting_threads_are_described_in_one_place() -> None:
    """Other pages link there: idle threads keep the default of their runtime."""
    claims = {
        name for name, text in PAGES.items() if re.search(r"idle threads (?:sleep|spin)[,.]", text)
    }
    assert claims <= {"docs/explanation/fairness.md"}
    assert "explanation/fairness.md#waiting-threads" in PAGES["docs/reference/backends.md"].replace(
        "../", ""
    )


def test_what_load_answers_is_not_called_open() -> None:
    """Concurrency and queues have a command of their own."""
    assert "are other questions" not in PAGES["docs/explanation/fairness.md"]
    assert "how-to/load.md" in PAGES["docs/explanation/fairness.md"]


def test_a_bound_that_cells_exceed_is_no_limit() -> None:
    text = PAGES["docs/explanation/roofline.md"]
    assert "Above 100 %" in text
    assert not re.search(r"[Nn]o cell can|as fast as the machine can", text)


def test_both_kinds_of_percentiles_stand_side_by_side() -> None:
    section = PAGES["docs/explanation/statistics.md"].partition("## Percentiles")[2]
    rows = re.findall(r"\| `(run|load)` \| ([^|]+) \|", section.partition(" ## ")[0])
    assert [name for name, _ in rows] == ["run", "load"]
    assert rows[0][1] != rows[1][1]
