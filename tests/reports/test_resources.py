"""What the details of a cell say of steady memory and of energy, recorded or not."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.reports import formatting, result_groups
from evenbench.reports.sections import details, resources
from tests.reports.synthetic import record

COUNTED = {"joules": {"package-0": 3.0, "dram": 1.0}, "seconds": 1.0, "laps": 40, "by": "a fake"}


def facts(line: dict[str, Any]) -> dict[str, str]:
    (result,) = result_groups.results([line])
    return dict(
        dict(details.describe(result_groups.groups([result])[0], result)["sections"])["Artifact"]
    )


@pytest.mark.parametrize(
    ("energy", "shown"),
    [
        ({"reason": "", "processes": [COUNTED, COUNTED]}, "0.100 J"),
        ({"reason": "no RAPL counters", "processes": [COUNTED]}, "0.100 J; no RAPL counters"),
        ({"reason": "no RAPL counters", "processes": []}, "no RAPL counters"),
    ],
)
def test_energy_is_told_with_what_is_missing_of_it(energy: dict[str, Any], shown: str) -> None:
    assert (
        facts(record(energy=energy))["energy of one inference"].replace(formatting.SPACE, " ")
        == shown
    )


def test_an_inference_is_one_sample_of_a_batch() -> None:
    line = record(batch=4, energy={"reason": "", "processes": [COUNTED]})
    assert resources.joules_per_inference(line) == pytest.approx(4.0 / 40 / 4)


def test_older_lines_have_neither() -> None:
    found = facts(record())
    assert "energy of one inference" not in found
    assert "resident after the laps" not in found
    assert (
        facts(record(steady_rss_bytes=[2_000_000]))["resident after the laps"].replace(
            formatting.SPACE, " "
        )
        == "2.00 MB"
    )
