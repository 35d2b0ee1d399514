"""JSON Lines, printing, keys, the navigation's width and a profile, in a real Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.results import operator_profiles
from evenbench.reports.pages import index
from evenbench.reports.sections import operators
from tests.reports import browser, synthetic
from tests.unit.results.test_operator_profiles import content


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    lines = synthetic.many(130)
    about = {"cell": lines[0]["cell"], "artifact_sha256": lines[0]["artifact_sha256"]}
    operator_profiles.write(folder / operator_profiles.FOLDER, content(**about))
    shown, notes = operators.attached(lines, operator_profiles.read([folder])[0])
    assert not notes
    return index.write(shown, folder).as_uri()


def opened(chromium: Any, address: str, width: int = 1400) -> Any:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(address)
    page.wait_for_selector(browser.FIRST_ROW)
    return page


def test_rows_are_saved_as_json_lines(chromium: Any, address: str) -> None:
    page = opened(chromium, f"{address}#model=model-0001")
    browser.until(page, f"document.querySelectorAll('{browser.FIRST_ROW}').length === 7")
    with page.expect_download() as saved:
        page.click("[data-save=jsonl]")
    rows = [json.loads(line) for line in saved.value.path().read_text().splitlines()]
    assert len(rows) == 7
    assert {row["Model"] for row in rows} == {"model-0001"}
    page.close()


def test_paper_has_every_row_and_the_screen_its_page(chromium: Any, address: str) -> None:
    page = opened(chromium, address)
    count = f"document.querySelectorAll('{browser.FIRST_ROW}').length"
    assert page.evaluate(count) == 100
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(count) == 130
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(count) == 100
    page.close()


def test_keys_go_to_the_search_and_to_the_list_of_keys(chromium: Any, address: str) -> None:
    page = opened(chromium, address)
    page.keyboard.press("?")
    assert page.evaluate("document.activeElement.id") == "keys"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("?/")
    assert page.input_value("#q") == "?/", "in a field the keys are text"
    page.close()


@pytest.mark.parametrize("width", [1280, 1400])
def test_no_word_of_the_navigation_is_cut(chromium: Any, address: str, width: int) -> None:
    page = opened(chromium, address, width)
    assert page.evaluate(
        "(() => { const nav = document.querySelector('header nav'); "
        "return nav.scrollWidth <= nav.clientWidth; })()"
    )
    page.close()


def test_the_details_have_the_operators_and_the_trace(chromium: Any, address: str) -> None:
    page = opened(chromium, f"{address}#cell={synthetic.many(1)[0]['cell']['id']}")
    page.wait_for_selector("#details .operators tbody tr")
    assert page.locator("#details .operators tbody tr").count() == 3
    trace = page.locator("#details .operators a").get_attribute("href")
    file = Path(page.url.removeprefix("file://").partition("#")[0]).parent / trace
    assert json.loads(file.read_text())["traceEvents"]
    page.close()
