"""README, pages and pictures show one and the same recorded run."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from tests.docs import default_run
from tests.docs.pages import ROOT
from tests.performance import bench_record, gate_tables


def test_the_tables_are_those_of_the_record() -> None:
    for page, text in default_run.pages().items():
        assert page.read_text(encoding="utf-8") == text, (
            f"{page.name} does not show the record: run `python -m tests.docs.default_run`"
        )


@pytest.mark.parametrize("name", default_run.PICTURES)
def test_the_pictures_are_of_the_record(name: str) -> None:
    with Image.open(default_run.IMAGES / name) as picture:
        assert picture.info.get(default_run.DIGEST) == default_run.digest(name), (
            "drawn from another run: `python -m tests.docs.default_run` draws them anew"
        )


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_rates_of_false_alarms_are_those_of_the_record() -> None:
    """The README states two of them in words."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    stated = re.search(
        r"slower in ([\d.]+) % of comparisons; pytest-benchmark's `mean:5%` did so in ([\d.]+) %",
        readme,
    )
    record = ROOT / "docs" / "data" / "gate.jsonl"
    table = gate_tables.summary(gate_tables.judged(bench_record.read(record)))
    rows = {
        row.split("|")[1].strip(): row.split("|")[2].strip()
        for row in table.splitlines()
        if row.startswith("|")
    }
    assert stated
    assert f"{stated[1]}%" == rows["evenbench compare"]
    assert f"{stated[2]}%" == rows["pytest-benchmark `mean:5%`"]
