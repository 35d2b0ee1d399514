"""Pages of hostile lines in Chromium: no script runs, and no request, dialog or element is theirs.

The normal test opens every page once, the nightly one with each payload in each place.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic

from evenbench.harness import cli
from evenbench.harness.load.scenarios import CONCURRENT, Scenario
from evenbench.reports.pages import history, index, load, notebook, pipeline
from tests.reports import past, pipelines, test_load_page
from tests.reports.hostile_lines.payloads import PAYLOADS, hostile

FOREIGN = """() => {
  const chosen = 'iframe,object,embed,base,meta[http-equiv=refresh],math,a[href^="javascript"],'
    + 'a[href^="http://127"],input[autofocus],textarea,img:not([src^="data:"]),foreignObject';
  const found = [...document.querySelectorAll(chosen)].map(e => e.outerHTML.slice(0, 120));
  for (const e of document.querySelectorAll('*'))
    for (const a of e.attributes)
      if (/^on/i.test(a.name) && a.value !== 'return false') found.push(e.outerHTML.slice(0, 120));
  return found;
}"""


def _index(folder: Path, first: int) -> Path:
    lines = json.loads(json.dumps(synthetic.suite()[::3]))
    return index.write(hostile(lines, first), folder, hostile(["a note"], first))


def _load(folder: Path, first: int) -> Path:
    line = test_load_page.line(Scenario(CONCURRENT), test_load_page.FASTER)
    return load.write(hostile(json.loads(json.dumps([line] * 3)), first), folder / "load.html")


def _pipeline(folder: Path, first: int) -> Path:
    lines = [
        pipelines.line("ort", [pipelines.process(9.0)]),
        pipelines.line("openvino", [], "failed", reason="why", traceback="trace"),
    ]
    return pipeline.write(hostile(json.loads(json.dumps(lines)), first), None, folder, folder)


def _notebook(folder: Path, first: int) -> Path:
    lines = hostile(json.loads(json.dumps(synthetic.suite())), first)
    page = folder / "notebook.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{notebook.Table(lines)._repr_html_()}")
    return page


def _history(folder: Path, first: int) -> Path:
    results = past.write(folder / "results", 30, [("resnet18", "ort")], _slower)
    with contextlib.redirect_stdout(io.StringIO()) as told:
        cli.main(["history", str(results), "--json", "-o", str(folder / "site")])
    return history.write(hostile(json.loads(told.getvalue()), first), folder)


def _slower(model: str, backend: str, number: int) -> float:
    return 1.1 if number >= 20 else 1.0


PAGES: dict[str, Callable[[Path, int], Path]] = {
    "index": _index,
    "history": _history,
    "load": _load,
    "pipeline": _pipeline,
    "notebook": _notebook,
}


def complaints(chromium: Any, page: Path) -> list[str]:
    """What the page did that it should not, after a look at all of it."""
    context = chromium.new_context()
    found: list[str] = []
    tab = context.new_page()
    tab.on("pageerror", lambda error: found.append(f"error {error}"))
    tab.on("dialog", lambda dialog: (found.append(f"dialog {dialog.message}"), dialog.dismiss()))
    tab.on("popup", lambda _: found.append("popup"))
    tab.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "blob:", "data:")) or found.append(request.url)
        ),
    )
    tab.goto(page.as_uri())
    tab.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    for cell in tab.query_selector_all("[data-cell]")[:3]:
        tab.evaluate("element => element.click()", cell)
        tab.evaluate("document.querySelector('dialog[open]')?.close()")
    tab.wait_for_timeout(100)
    found += tab.evaluate(FOREIGN)
    if tab.evaluate("typeof window.PWNED") != "undefined":
        found.append("a payload ran")
    context.close()
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_hostile_lines_obeys_none(name: str, chromium: Any, tmp_path: Path) -> None:
    page = PAGES[name](tmp_path, 0)
    assert "PWNED" in page.read_text(encoding="utf-8"), "the payloads are on the page"
    assert complaints(chromium, page) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAGES)
def test_every_payload_in_every_place(name: str, chromium: Any, tmp_path: Path) -> None:
    for first in range(len(PAYLOADS)):
        folder = tmp_path / str(first)
        folder.mkdir()
        assert complaints(chromium, PAGES[name](folder, first)) == [], PAYLOADS[first]


def test_the_look_finds_what_a_page_obeys(chromium: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(f"<!doctype html><p>{PAYLOADS[1]}{PAYLOADS[8]}</p>")
    found = complaints(chromium, page)
    assert "a payload ran" in found
    assert any("127.0.0.1:9/f" in each for each in found)
