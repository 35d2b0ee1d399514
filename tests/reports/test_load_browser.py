"""The page of a load scenario in a real Chromium: the chart, both themes, a phone, no request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.load.scenarios import CONCURRENT, GAPS, Scenario
from evenbench.reports.pages import load
from tests.reports import browser
from tests.reports.test_load_page import FASTER, line


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (360, "dark")])
def test_the_chart_is_drawn_without_an_error_or_a_request(
    chromium: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    lines = [line(Scenario(CONCURRENT), FASTER, name=name) for name in ("fast", "<b>other</b>")]
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:")) or complaints.append(request.url)
        ),
    )
    page.goto(load.write(lines, tmp_path / "load.html").as_uri())
    page.locator("#load-chart").scroll_into_view_if_needed()
    browser.until(page, "document.querySelectorAll('#load-chart .point').length === 4")
    assert page.locator("#load-chart .keys li").all_inner_texts() == [
        "●net-fast-fp32-cpu-b4",
        "■net-<b>other</b>-fp32-cpu-b4",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    browser.until(page, "document.querySelectorAll('#load-chart .point').length === 4")
    context.close()
    assert complaints == []


def test_a_page_without_a_chart_runs_without_an_error(chromium: Any, tmp_path: Path) -> None:
    wrong = line(Scenario(GAPS), {"outcome": "mismatch", "phase": "parity", "reason": "wrong"})
    page, complaints = chromium.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    file = load.write([wrong], tmp_path / "load.html")
    page.goto(file.as_uri())
    page.click("#theme")
    page.close()
    assert complaints == []
    assert file.stat().st_size < 100_000, "plotly.js is packed for a chart only"
