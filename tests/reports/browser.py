"""The system's Chromium, headless, and how long a big page takes in it; for the tests and for the
figures of performance.md.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HEADLESS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
FIRST_ROW = "[data-table=matrix] tbody tr"


def installed() -> str:
    """The path of the system's Chromium, or an empty string."""
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )


@contextmanager
def launched() -> Iterator[Any]:
    """A running headless Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=HEADLESS)
        yield browser
        browser.close()


def until(page, expression, arg=None, seconds=10.0):
    """Wait until a JavaScript expression is true. Playwright's own waiting evaluates a string in
    the page, which its policy forbids.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(50)


def seconds_until_usable(chromium: Any, address: str) -> float:
    """From asking for the page of `synthetic.many` until its matrix is there and a filter has
    narrowed it down to one model.
    """
    page = chromium.new_page()
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(FIRST_ROW)
    page.fill("#q", "model-0077")
    until(page, "document.querySelectorAll('[data-table=matrix] tbody tr').length === 7")
    taken = time.perf_counter() - started
    page.close()
    return taken
