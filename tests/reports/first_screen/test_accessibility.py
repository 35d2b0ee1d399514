"""axe-core over every page, in both themes: no serious and no critical violation."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import synthetic

from evenbench.harness import cli
from evenbench.harness.load.scenarios import CONCURRENT, Scenario
from evenbench.reports.pages import index, load
from tests.reports.test_load_page import FASTER, line
from tests.reports.test_pipeline_browser import address as pipeline_address

__all__ = ["pipeline_address"]

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The address of each page that needs no other fixture."""
    folder = tmp_path_factory.mktemp("pages")
    lines = synthetic.suite()
    for each in lines[:2]:
        each["warnings"] = ["contended: others used 1.0 cores; stop other work"]
    loads = [line(Scenario(CONCURRENT), FASTER, name=name) for name in ("fast", "other")]
    return {
        "report": index.write(lines, folder / "site", ["a note"]).as_uri(),
        "load": load.write(loads, folder / "load.html").as_uri(),
        "history": _history(folder),
    }


def _history(folder: Path) -> str:
    spec = importlib.util.spec_from_file_location("past", Path(__file__).parent.parent / "past.py")
    assert spec
    assert spec.loader
    past = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(past)
    cells = [("resnet18", "ort"), ("resnet18", "openvino")]
    past.write(folder / "results", 20, cells, lambda model, backend, at: 1.5 if at > 10 else 1.0)
    here = Path.cwd()
    os.chdir(folder)
    try:
        cli.main(["history"])
    finally:
        os.chdir(here)
    return (folder / "site" / "history.html").as_uri()


def violations(chromium: Any, address: str, scheme: str, width: int) -> list[str]:
    """The serious violations, each with its first element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(300)
    found = axe.run(page).response["violations"]
    context.close()
    return [
        f"{each['id']}: {json.dumps(each['nodes'][0]['html'])[:200]}"
        for each in found
        if each["impact"] in SERIOUS
    ]


DESKTOP, PHONE = ("light", 1400), ("dark", 390)
NIGHTLY_PHONE = pytest.param(*PHONE, marks=pytest.mark.nightly)


@pytest.mark.parametrize(("scheme", "width"), [DESKTOP, PHONE])
def test_the_report_has_no_serious_violation(
    chromium: Any, pages: Mapping[str, str], scheme: str, width: int
) -> None:
    assert violations(chromium, pages["report"], scheme, width) == []


@pytest.mark.parametrize(("scheme", "width"), [DESKTOP, NIGHTLY_PHONE])
@pytest.mark.parametrize("name", ["load", "history"])
def test_no_page_has_a_serious_violation(
    chromium: Any, pages: Mapping[str, str], name: str, scheme: str, width: int
) -> None:
    assert violations(chromium, pages[name], scheme, width) == []


@pytest.mark.parametrize(("scheme", "width"), [DESKTOP, NIGHTLY_PHONE])
def test_the_pipeline_page_has_no_serious_violation(
    chromium: Any, pipeline_address: str, scheme: str, width: int
) -> None:
    assert violations(chromium, pipeline_address, scheme, width) == []


def test_axe_finds_what_is_planted(chromium: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<html lang=en><title>t</title><main><h1>x</h1><button></button></main>")
    assert any("button-name" in each for each in violations(chromium, page.as_uri(), "light", 400))
