"""What a task makes of an answer, in the table of parity and in the details of a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.results import records
from evenbench.reports import formatting, result_groups
from evenbench.reports.pages import index
from evenbench.reports.sections import cells, details, task_agreement
from tests.reports.synthetic import record

MATCHED = {
    "detections": 12,
    "matched": 11,
    "unmatched": 2,
    "on_threshold": 0,
    "worst_box_pixels": 0.25,
    "worst_score_difference": 0.0004,
}


def rows(lines: list[dict[str, Any]]) -> list[list[Any]]:
    table = cells.parity(result_groups.groups(result_groups.results(lines)))
    place = [column.title for column in table.columns].index("Agreement")
    return [row[place] for row in table.rows]


@pytest.mark.parametrize(
    ("found", "shown", "rank"),
    [
        ({"top1_agreement": 0.875, "top5_overlap": 1.0}, "top-1 0.875000", 0.875),
        (
            {"pixel_agreement": 0.9999, "miou": 0.998765, "classes_seen": 7},
            "mIoU 0.998765",
            0.998765,
        ),
        (
            {"worst_cosine": 0.99999, "sentences": 8, "nearest_agreement": 1.0},
            "cosine 0.999990",
            0.99999,
        ),
        (MATCHED, "11 of 12 matched, 2 without a partner", 11 / 13),
        ({"detections": 0, "matched": 0, "unmatched": 0}, "0 of 0 matched", 1.0),
    ],
)
def test_the_table_has_the_fact_that_says_most_of_each_task(
    found: dict[str, float], shown: str, rank: float
) -> None:
    assert rows([record(agreement=found)]) == [[shown, pytest.approx(rank)]]


def test_a_line_from_before_agreement_was_recorded_shows_what_it_has() -> None:
    assert rows([record()]) == [["top-1 1.00000", 1.0]]
    without = record()
    del without["parity"]["outputs"][0]["top1_agreement"]
    assert rows([without]) == [[formatting.DASH, None]]


def test_the_details_hold_every_fact_with_its_words() -> None:
    lines = result_groups.results(
        [record(agreement={**MATCHED, "worst_mask_iou": 0.97, "yet_unknown": 3})]
    )
    (group,) = result_groups.groups(lines)
    sections = dict(details.describe(group, lines[0])["sections"])
    facts = dict(sections["Agreement"])
    assert facts["matched objects"] == "11"
    assert facts["objects without a partner"] == "2"
    assert facts["largest error of a box"].replace(formatting.SPACE, " ") == "0.250 pixels"
    assert facts["lowest overlap of masks"] == "0.970000"
    assert facts["yet_unknown"] == "3", "of a newer evenbench: shown, not dropped"
    bare = result_groups.results([record()])
    assert "Agreement" not in dict(
        details.describe(result_groups.groups(bare)[0], bare[0])["sections"]
    )


def test_every_fact_that_the_schema_allows_has_words() -> None:
    assert set(records.schema()["$defs"]["agreement"]["properties"]) == set(task_agreement.FACTS)


def test_the_page_shows_it_in_the_table_and_in_the_details(chromium: Any, tmp_path: Path) -> None:
    line = record(agreement={"pixel_agreement": 0.9999, "miou": 0.998765, "classes_seen": 7})
    page = chromium.new_page()
    page.goto(index.write([line], tmp_path, []).as_uri())
    page.wait_for_selector("[data-table=matrix] tbody tr")
    page.click("[data-set=answers]")
    assert "mIoU 0.998765" in page.locator("[data-table=matrix] tbody tr").first.inner_text()
    page.locator("[data-table=matrix] tbody tr button").first.click()
    page.wait_for_selector("dialog[open]", timeout=5000)
    shown = page.locator("dialog[open]").inner_text()
    assert "pixels of the same class" in shown
    assert "0.999900" in shown
    page.close()
