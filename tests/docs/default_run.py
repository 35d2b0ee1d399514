"""The recorded default run as tables and pictures: `python -m tests.docs.default_run`.

README, docs/results/default-run.md and docs/images come from the records in docs/data. Each
picture carries the digest of the record behind it; a test compares.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from evenbench.harness.comparison import markdown_summary
from evenbench.reports import formatting, result_groups, verdict
from evenbench.reports.pages import index
from evenbench.reports.result_groups import Group, Result
from tests.performance.gate_tables import placed, table

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "data"
RECORD = DATA / "default-run.jsonl"
IMAGES = ROOT / "docs" / "images"
MODEL = "mobilenet_v3_small"
MARK = "<!-- figures: make bench -->\n"
DIGEST = "Record-SHA256"
"""The text chunk of a picture with the digest of the record behind it."""
WIDTH = 1280

PICTURES: Mapping[str, tuple[str, str, str, int]] = {
    "report.png": ("default-run.jsonl", "", "", 1600),
    "report-answer.png": ("default-run.jsonl", "", "#summary", 900),
    "report-cells.png": ("default-run.jsonl", "#model=resnet18", "#cells", 900),
    "report-details.png": ("default-run.jsonl", "#cell=resnet18-ort-fp32-cpu-b1", "#details", 900),
    "report-map.png": ("default-run.jsonl", "", "#map", 900),
    "wrong-output.png": ("wrong-output.jsonl", "", "#map", 900),
    "gate-summary.png": ("comparison.json", "", "main", 900),
}
"""Picture → record, address within the page, element (empty: the window), height of the window."""


def lines(record: Path = RECORD) -> list[dict[str, Any]]:
    """The recorded lines."""
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def digest(picture: str) -> str:
    """The SHA-256 of the record behind a picture."""
    return hashlib.sha256((DATA / PICTURES[picture][0]).read_bytes()).hexdigest()


def groups() -> list[Group]:
    """The groups of the run, by model."""
    found = result_groups.groups(result_groups.results(lines()))
    return sorted(found, key=lambda group: str(group.ranked[0].cell["model"]))


def machine() -> str:
    """When, where and with which versions the run was measured."""
    record = lines()[0]
    environment = record["environment"]
    packages = {
        name: version
        for line in lines()
        for name, version in line["environment"]["packages"].items()
    }
    named = {"torch": "torch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    versions = ", ".join(f"{words} {packages[name]}" for name, words in named.items())
    return (
        f"{environment['cpu']}, {environment['cores']} cores of a shared virtual machine, "
        f"Python {environment['python']}, {versions}"
    )


def minutes() -> int:
    """The time from the start of the run to its last outcome, rounded."""
    started = datetime.fromisoformat(lines()[0]["run"]["started"])
    ended = max(datetime.fromisoformat(line["time"]) for line in lines())
    return round((ended - started).total_seconds() / 60)


def readme() -> str:
    """The figures of the README: the four fastest runtimes of one model."""
    (group,) = [group for group in groups() if group.ranked[0].cell["model"] == MODEL]
    rows = list(group.ranked)[:4]
    names = [str(result.cell["backend"]) for result in rows]
    heading = (
        f"`{MODEL}`, batch 1, fp32, in a run of the default suite on {lines()[0]['time'][:10]}: "
        f"{machine()}. The suite took {minutes()} min from an empty cache.\n\n"
    )
    header = ("runtime", "speed-up over torch-eager", "latency", "output")
    return heading + table(
        header,
        [
            (f"`{name}`", *_numbers(group, result), _output(result))
            for name, result in zip(names, rows, strict=True)
        ],
    ).replace("| --- | ---: | ---: | ---: |", "| --- | ---: | ---: | --- |")


def everything() -> str:
    """The figures of docs/results/default-run.md: every cell."""
    day = lines()[0]["time"][:10]
    heading = f"`make bench` on {day}: {machine()}; 95 % intervals over processes.\n\n"
    return heading + table(
        ("cell", "compute", "over torch-eager", "error, share of tolerance"), list(_rows())
    )


def _rows() -> Iterator[tuple[str, str, str, str]]:
    for group in groups():
        for result in (*group.ranked, *group.unranked):
            speed_up, latency = _numbers(group, result)
            needed = (result.record.get("parity") or {}).get("needed")
            error = "–" if needed is None else f"{needed:.2g}"
            yield f"`{result.cell['id']}`", latency, speed_up, error


def _numbers(group: Group, result: Result) -> tuple[str, str]:
    speed_up = formatting.with_interval(*verdict.speedup_texts(group, result))
    latency = formatting.with_interval(
        formatting.latency(result.compute), formatting.latency_interval(result.compute)
    )
    return speed_up, latency


def _output(result: Result) -> str:
    return f"correct, {result.record['parity']['needed']:.0%} of the tolerance"


def pages() -> Mapping[Path, str]:
    """The pages as they should be."""
    made = {
        ROOT / "README.md": readme(),
        ROOT / "docs" / "results" / "default-run.md": everything(),
    }
    return {
        page: placed(page.read_text(encoding="utf-8"), text, MARK) for page, text in made.items()
    }


STYLE = (
    "<style>main{font:15px system-ui,sans-serif;padding:16px;width:860px}"
    "table{border-collapse:collapse}td,th{border:1px solid #d0d7de;padding:4px 10px}"
    "blockquote{border-left:4px solid #d0d7de;margin:0;padding:0 1em;color:#59636e}</style>"
)
"""The looks of a summary on GitHub."""


def written(record: Path, folder: Path) -> Path:
    """The page of a record: the report of a run, or the summary of a comparison."""
    if record.suffix == ".jsonl":
        return index.write(lines(record), folder / record.stem)
    from markdown_it import MarkdownIt

    text = markdown_summary.text(json.loads(record.read_text(encoding="utf-8")))
    html = MarkdownIt().enable("table").render(text)
    page = folder / f"{record.stem}.html"
    page.write_text(f"<meta charset='utf-8'>{STYLE}<main>{html}</main>", encoding="utf-8")
    return page


def draw() -> None:
    """Write every picture, with the digest of the record in it."""
    from PIL import Image, PngImagePlugin

    from tests.reports import browser

    with tempfile.TemporaryDirectory() as folder, browser.launched() as chromium:
        for name, (record, address, element, height) in PICTURES.items():
            file = IMAGES / name
            page = written(DATA / record, Path(folder))
            tab = chromium.new_page(viewport={"width": WIDTH, "height": height})
            tab.goto(f"{page.as_uri()}{address}")
            tab.wait_for_timeout(1500)
            (tab.locator(element).first if element else tab).screenshot(path=str(file))
            tab.close()
            mark = PngImagePlugin.PngInfo()
            mark.add_text(DIGEST, digest(name))
            with Image.open(file) as opened:
                opened.convert("RGB").quantize(256).save(file, pnginfo=mark, optimize=True)


def main() -> None:
    """Bring pages and pictures up to date."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
