"""The page of a pipeline in a real Chromium: themes, a phone, pictures, and no request."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.reports.pages import pipeline
from tests.reports import browser
from tests.reports.pipelines import ALONE, QUICK, SLOW, WRONG, shown


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    from PIL import Image

    folder = tmp_path_factory.mktemp("pipeline")
    names = (
        "golden-0",
        *(
            f"key-{name}-0{end}"
            for name in ("quick", "slow", "wrong", "alone")
            for end in ("", "-difference")
        ),
    )
    for name in names:
        Image.new("RGB", (640, 360), (len(name), 0, 0)).save(folder / f"{name}.jpg")
    pictures: dict[str, Any] = {
        "golden": [{"frame": 0, "image": "golden-0.jpg"}],
        "kind": "float64 torch eager",
        "gain": 8,
    }
    pictures |= {
        f"key-{name}": shown(f"key-{name}", 0.2 * (name == "wrong"))
        for name in ("quick", "slow", "wrong", "alone")
    }
    hostile = {**WRONG, "reason": "<script>alert(1)</script>"}
    return pipeline.write([QUICK, SLOW, hostile, ALONE], pictures, folder, folder).as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (360, "dark")])
def test_the_page_is_drawn_without_an_error_or_a_request(
    chromium: Any, address: str, width: int, scheme: str
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page = context.new_page()
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:")) or complaints.append(request.url)
        ),
    )
    page.goto(address)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= width, (
        "only tables and strips scroll sideways"
    )
    page.locator(".strip img").last.scroll_into_view_if_needed()
    browser.until(
        page,
        (
            "[...document.querySelectorAll('.strip img')].every((image) => image.complete "
            "&& image.naturalWidth === 640)"
        ),
    )
    assert page.locator(".strip img").count() == 6
    widths = page.evaluate(
        "[...document.querySelectorAll('.bars')].map((bar) => "
        "[...bar.children].map((part) => part.offsetWidth))"
    )
    assert len(widths) == 3, "none for what is wrong"
    assert all(max(parts) > 0 for parts in widths)
    context.close()
    assert complaints == []


def test_frames_stand_on_one_line(chromium: Any, address: str) -> None:
    context = chromium.new_context(viewport={"width": 1400, "height": 800})
    page = context.new_page()
    page.goto(address)
    tops = page.evaluate(
        "[...document.querySelectorAll('.strip figure')].map((each) => "
        "each.querySelector('img').offsetTop)"
    )
    context.close()
    assert len(set(tops)) == 1
