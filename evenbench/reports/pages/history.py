"""The history page beside the report: steps, every cell, and charts over results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evenbench.reports import assets, formatting, history_results
from evenbench.reports.charts import history
from evenbench.reports.pages.templates import template

if TYPE_CHECKING:
    pass

PLACE_OF_LINK = "<!-- history -->"
"""The place of the link to the history in the report; an HTML comment until a history exists."""

LINK = '<li><a href="history.html">History</a></li>'


def write(value: Mapping[str, Any], folder: Path) -> Path:
    """Write `history.html` into `folder` and return the file; link to the page from a report there.

    Creates the folder if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, index = folder / "history.html", folder / "index.html"
    page.write_text(render(value, index.is_file()), encoding="utf-8")
    if index.is_file():
        report = index.read_text(encoding="utf-8")
        if PLACE_OF_LINK in report:
            index.write_text(linked(report), encoding="utf-8")
    return page


def linked(report: str) -> str:
    """Return the HTML of a report with a link to the history."""
    return report.replace(PLACE_OF_LINK, LINK, 1)


def render(value: Mapping[str, Any], has_report: bool) -> str:
    """Return the page as HTML. `value` is the JSON of `evenbench history --json`."""
    cells = value["cells"]
    worst = [change for change in value["alarms"] if _is_worse(change)]
    marks: dict[str, list[Mapping[str, Any]]] = {}
    for change in (*value["alarms"], *value["waiting"]):
        marks.setdefault(change["key"], []).append(change)
    lines = "\n".join(
        assets.dump(history.drawing(cell, marks.get(cell["key"], []))) for cell in cells
    )
    return template("history.html.j2").render(
        head=_head(value),
        has_report=has_report,
        notes=value["notes"],
        alarms=[history_results.step(change, cells) for change in worst],
        gains=[
            history_results.step(change, cells)
            for change in value["alarms"]
            if not _is_worse(change)
        ],
        waiting=[history_results.step(change, cells) for change in value["waiting"]],
        rows=history_results.rows(value),
        accepted=[history_results.accepted(change) for change in value["accepted"]],
        pairs=[history_results.pair(comparison) for comparison in value["pairs"]],
        metrics=list(history_results.METRICS.values()),
        packed={
            "history-lines": assets.pack(lines),
            "plotly-source": assets.packed_library(*assets.PLOTLY),
        },
        style=Markup(assets.own("page.css")),
        scripts=[
            Markup(assets.own("theme.js")),
            Markup(assets.own("figures.js") + assets.own("history.js")),
        ],
    )


def _is_worse(change: Mapping[str, Any]) -> bool:
    return bool(change["kind"] == "worse")


def _head(value: Mapping[str, Any]) -> dict[str, str]:
    points = [point for cell in value["cells"] for point in cell["points"]]
    commits = {point[1] for point in points if point[1]}
    times = [point[0] for point in points]
    counts = [
        formatting.count(len(value["cells"]), "cell"),
        formatting.count(len(points), "result"),
        formatting.count(len(commits), "commit"),
    ]
    worse = sum(map(_is_worse, value["alarms"]))
    better = len(value["alarms"]) - worse
    parts = [
        formatting.count(worse, "change for the worse", "changes for the worse") if worse else "",
        formatting.count(better, "gain to accept", "gains to accept") if better else "",
    ]
    sentence = " and ".join(filter(None, parts)) or "No step left to accept"
    return {
        "counts": formatting.listing(counts),
        "dates": f"{min(times)[:10]} to {max(times)[:10]}",
        "sentence": sentence,
    }
