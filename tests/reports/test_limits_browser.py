"""The limits of a deployment in a real Chromium: the page says of each cell which of them it
breaks, as `evenbench recommend` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import synthetic

from evenbench.reports.pages import index
from tests.reports import browser


def choosable(backend: str, millis: float, memory: float, spread: float) -> dict[str, Any]:
    """Three processes around `millis`, with a peak of `memory`."""
    made = synthetic.record(
        backend=backend,
        process_ns=tuple(millis * 1e6 * (1 + part) for part in (-spread, 0.0, spread)),
    )
    return made | {"memory": {"peak_rss_bytes": [int(memory)] * 3}}


def test_what_breaks_a_limit_is_told_and_what_is_not_told_apart(
    chromium: Any, tmp_path: Path
) -> None:
    lines = [
        choosable("ort", 9, 300e6, 0.05),
        choosable("openvino", 9.05, 300e6, 0.0),
        choosable("torch-eager", 20, 600e6, 0.001),
    ]
    page, complaints = chromium.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(index.write(lines, tmp_path).as_uri())
    page.wait_for_selector(browser.FIRST_ROW)
    heading = page.locator("[data-table=matrix] th:has-text('Limits')")
    assert heading.count() == 0, "nothing is asked for"
    page.fill("#limit-memory", "500")
    browser.until(page, "document.querySelectorAll('[data-table=matrix] tbody tr').length === 2")
    last = f"{browser.FIRST_ROW} > :last-child"
    assert sorted(page.locator(last).all_inner_texts()) in (
        ["", "not told apart from ort"],
        ["", "not told apart from openvino"],
    )
    page.select_option("#limit-others", "on")
    browser.until(page, "document.querySelectorAll('[data-table=matrix] tbody tr').length === 3")
    assert "Memory over the limit by 20 %" in page.locator(last).all_inner_texts()
    page.fill("#limit-p99", "1")
    page.fill("#limit-memory", "400")
    browser.until(
        page, "document.querySelector('[data-table=matrix] tbody').innerText.includes('by 50 %')"
    )
    texts = page.locator(last).all_inner_texts()
    assert sorted(texts) == [
        "p99 not known",
        "p99 not known",
        "p99 not known; Memory over the limit by 50 %",
    ], "72 laps state no p99"
    assert "others=on" in page.evaluate("location.hash")
    page.click("form.filters button[type=reset]")
    browser.until(
        page,
        (
            "![...document.querySelectorAll('[data-table=matrix] th')].some((each) => "
            "each.innerText.includes('Limits'))"
        ),
    )
    assert complaints == []
    page.close()
