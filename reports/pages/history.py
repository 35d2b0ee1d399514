"""What `evenbench history` found, as a page of its own beside the report, and as a table for the
terminal.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.statistics.estimates import Estimate
from reports import assets, formatting
from reports.pages.templates import template

if TYPE_CHECKING:
    from rich.console import Console

PLACE_OF_LINK = "<!-- history -->"
"""Where the report leaves room for a link to this page; harmless where there is none."""

LINK = '<li><a href="history.html">History</a></li>'

METRICS = {
    "latency": "Latency",
    "error": "Parity error",
    "memory": "Peak memory",
    "artifact": "Artifact",
}
"""How the metrics are called, in the order in which they are drawn."""

SCALES = {"latency": 1e6, "error": 1.0, "memory": 1e6, "artifact": 1e6}
UNITS = {"latency": "ms", "error": "of what is allowed", "memory": "MB", "artifact": "MB"}

TICKS = 6
"""Commits that are named under a chart; more collide on a phone."""


def write(value: Mapping[str, Any], folder: Path) -> Path:
    """Write `history.html` into `folder`, made if missing, and return it; a report that is there
    already gets its link to it.
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
    """The report's page with a link to this one."""
    return report.replace(PLACE_OF_LINK, LINK, 1)


def render(value: Mapping[str, Any], has_report: bool) -> str:
    """The page as text. `value` is what `evenbench history --json` prints."""
    cells = value["cells"]
    marks: dict[str, list[Mapping[str, Any]]] = {}
    for change in (*value["alarms"], *value["waiting"]):
        marks.setdefault(change["key"], []).append(change)
    lines = "\n".join(assets.dump(drawing(cell, marks.get(cell["key"], []))) for cell in cells)
    return template("history.html.j2").render(
        head=_head(value),
        has_report=has_report,
        notes=value["notes"],
        alarms=[_change(change, cells) for change in value["alarms"]],
        waiting=[_change(change, cells) for change in value["waiting"]],
        rows=rows(value),
        accepted=[_accepted(each) for each in value["accepted"]],
        pairs=[_pair(each) for each in value["pairs"]],
        metrics=list(METRICS.values()),
        packed={
            "history-lines": assets.pack(lines),
            "plotly-source": assets.packed_library(*assets.PLOTLY),
        },
        style=Markup(assets.own("page.css")),
        scripts=[Markup(assets.own(name)) for name in ("theme.js", "history.js")],
    )


def _head(value: Mapping[str, Any]) -> dict[str, str]:
    points = [point for cell in value["cells"] for point in cell["points"]]
    commits = {point[1] for point in points if point[1]}
    times = [point[0] for point in points]
    many = [
        formatting.count(len(value["cells"]), "cell"),
        formatting.count(len(points), "result"),
        formatting.count(len(commits), "commit"),
    ]
    alarms = value["alarms"]
    words = (
        f"{formatting.count(len(alarms), 'step')} that nobody accepted"
        if alarms
        else "No step that nobody accepted"
    )
    return {
        "counts": formatting.listing(many),
        "dates": f"{min(times)[:10]} to {max(times)[:10]}",
        "sentence": words,
    }


def rows(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per cell: the newest value of each metric with its interval, how far that
    environment's last level lies from its first, and the state of the cell in words."""
    alarmed: dict[str, list[str]] = {}
    for kind in ("alarms", "waiting"):
        for change in value[kind]:
            alarmed.setdefault(change["key"], []).append(_state(change))
    return [_row(cell, alarmed.get(cell["key"], [])) for cell in value["cells"]]


def _state(change: Mapping[str, Any]) -> str:
    words = f"{METRICS[change['metric']]} {percent(change['ratio'])}"
    return (
        words
        if change["alarm"]
        else f"{words} for {formatting.count(change['points'], 'point')}, waiting"
    )


def _row(cell: Mapping[str, Any], states: Sequence[str]) -> dict[str, Any]:
    last = cell["last"]
    return {
        "name": cell["name"],
        "metrics": [_newest(cell, metric) for metric in METRICS],
        "results": f"{len(cell['points']):,}",
        "environments": str(len(cell["environments"])),
        "last": (short(last["commit"]), last["time"][:10]),
        "outcome": last["outcome"],
        "states": states,
    }


def _newest(cell: Mapping[str, Any], metric: str) -> tuple[str, str]:
    points = (cell["metrics"].get(metric) or {}).get("points") or []
    if not points:
        return formatting.DASH, ""
    place, value, low, high = points[-1]
    stale = "" if place == len(cell["points"]) - 1 else "older"
    interval = (
        formatting.latency_interval(Estimate(value, low, high, 0))
        if metric == "latency" and low is not None
        else ""
    )
    return in_words(metric, value), ", ".join(filter(None, (interval, stale)))


def in_words(metric: str, value: float) -> str:
    """A value of a metric with its unit."""
    return (
        formatting.duration(value)
        if metric == "latency"
        else formatting.number(value)
        if metric == "error"
        else formatting.size(value)
    )


def percent(ratio: float) -> str:
    """`+6.1 %` of 1.061; a multiple where it is more than threefold."""
    return (
        f"×{formatting.number(ratio)}"
        if ratio > 3
        else f"{100 * (ratio - 1):+.1f}{formatting.SPACE}%"
    )


def short(commit: str) -> str:
    """Eight digits of a commit, or what stands for none."""
    return commit[:8] or "no commit"


def _change(change: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    index = next(place for place, cell in enumerate(cells) if cell["key"] == change["key"])
    between = f"{short(change['commit_before'])} → " if change["commit_before"] else ""
    return {
        "index": index,
        "cell": cells[index]["name"],
        "metric": METRICS[change["metric"]],
        "kind": change["kind"],
        "change": percent(change["ratio"]),
        "values": f"{in_words(change['metric'], change['before'])} → {in_words(change['metric'], change['after'])}",
        "margin": f"margin {100 * change['margin']:.1f}{formatting.SPACE}%",
        "commit": f"{between}{short(change['commit'])}",
        "time": change["time"][:10],
        "points": formatting.count(change["points"], "point"),
        "accept": change["accept"],
        "confirmed": (change.get("confirmed") or {"words": []})["words"],
    }


def _accepted(each: Mapping[str, Any]) -> dict[str, str]:
    return {
        **each,
        "level": in_words(each["metric"], each["level"]),
        "commit": short(each["commit"]),
    }


def _pair(each: Mapping[str, Any]) -> dict[str, str]:
    interval = formatting.SPACE.join(
        (f"{100 * (each['low'] - 1):+.1f} to {100 * (each['high'] - 1):+.1f}", "%")
    )
    metric = METRICS.get(each["metric"], each["metric"].capitalize())
    sides = f"{each['base']} → {each['head']}"
    return {
        **each,
        "sides": sides,
        "metric": metric,
        "change": percent(each["ratio"]),
        "interval": interval,
        "time": each["time"][:10],
    }


# -- charts ----------------------------------------------------------------------------------------


def drawing(cell: Mapping[str, Any], marks: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What the page draws of one cell when it is chosen: its name, what was installed when, and a
    figure per metric, with its steps.
    """
    environments = [
        {
            "name": f"environment {number + 1}",
            "first": _told_point(cell, each["first"]),
            "changes": [*each["changes"], *map(_bridge, each["bridges"])],
        }
        for number, each in enumerate(cell["environments"])
    ]
    figures = [
        {
            "title": METRICS[metric],
            "figure": figure(
                cell, metric, [change for change in marks if change["metric"] == metric]
            ),
        }
        for metric in METRICS
        if metric in cell["metrics"]
    ]
    outcomes = ", ".join(f"{many} {outcome}" for outcome, many in cell["outcomes"].items())
    return {
        "name": cell["name"],
        "outcomes": outcomes,
        "environments": environments,
        "figures": figures,
    }


def _bridge(each: Mapping[str, Any]) -> str:
    """`in pairs, onnxruntime 1.24.1 → 1.31.1: latency -3.1 % (-3.9 to -2.2 %), faster`."""
    shown = _pair(each)
    return f"in pairs, {formatting.listing(each['moves'])}: {shown['metric'].lower()} {shown['change']} ({shown['interval']}), {each['verdict']}"


def _told_point(cell: Mapping[str, Any], place: int) -> str:
    time, commit, _, _ = cell["points"][place]
    return f"{short(commit)}, {time[:10]}"


def figure(
    cell: Mapping[str, Any], metric: str, marks: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """A metric over a cell's results, as plain JSON: a trace per environment with its intervals,
    its levels, a line where one began, and the size of each step that nobody accepted."""
    spans = cell["spans"]
    points = cell["metrics"][metric]["points"]
    scale = SCALES[metric]
    traces = [
        _trace(
            cell, metric, number, [point for point in points if spans[point[0]] == number], scale
        )
        for number in range(len(cell["environments"]))
    ]
    levels = [_level(level, spans, scale) for level in cell["metrics"][metric]["levels"]]
    shapes = [_beginning(each["first"]) for each in cell["environments"][1:]]
    steps = [
        _step(each["first"], f"{formatting.listing(bridge['moves'])}: {percent(bridge['ratio'])}")
        for each in cell["environments"]
        for bridge in each["bridges"]
        if bridge["metric"] == metric
    ]
    places = _spread(len(cell["points"]))
    axis = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [escape(_tick(cell, place)) for place in places],
        "tickangle": 0,
    }
    axis["range"] = [-0.5, len(cell["points"]) - 0.5]
    unit = {"title": {"text": UNITS[metric]}, "automargin": True}
    layout = {"height": 260, "xaxis": axis, "yaxis": unit, "hovermode": "closest", "shapes": shapes}
    layout["annotations"] = [*map(_mark, marks), *steps]
    return {"data": [trace for trace in (*traces, *levels) if trace["x"]], "layout": layout}


def _trace(
    cell: Mapping[str, Any], metric: str, number: int, points: Sequence[Sequence[Any]], scale: float
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "environment": number,
        "x": [point[0] for point in points],
        "y": [_rounded(point[1] / scale) for point in points],
        "hovertext": [_hover(cell, metric, point) for point in points],
        "hoverinfo": "text",
        "marker": {"size": 4 if len(points) > 200 else 7},
    }
    if any(point[2] is not None for point in points):
        above = [_rounded(((point[3] or point[1]) - point[1]) / scale) for point in points]
        below = [_rounded((point[1] - (point[2] or point[1])) / scale) for point in points]
        made["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 1,
            "width": 0,
        }
    return made


def _level(level: Mapping[str, Any], spans: Sequence[int], scale: float) -> dict[str, Any]:
    ends = [level["start"] - 0.4, level["stop"] + 0.4]
    height = _rounded(level["value"] / scale)
    line = {
        "type": "scatter",
        "mode": "lines",
        "environment": spans[level["start"]],
        "x": ends,
        "y": [height, height],
    }
    return {**line, "line": {"width": 3}, "hoverinfo": "skip"}


def _beginning(place: int) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": place - 0.5,
        "x1": place - 0.5,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
    }


def _mark(change: Mapping[str, Any]) -> dict[str, Any]:
    words = f"{change['kind']} {percent(change['ratio'])}"
    arrow = {"ax": -46, "ay": 0, "arrowhead": 2}
    return {
        "x": change["place"] - 0.5,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "text": escape(words),
        **arrow,
    }


def _step(place: int, words: str) -> dict[str, Any]:
    """What an upgrade was measured to do, where its environment begins."""
    return {
        "x": place - 0.5,
        "y": 0,
        "yref": "paper",
        "yanchor": "bottom",
        "xanchor": "left",
        "text": escape(words),
        "showarrow": False,
    }


def _hover(cell: Mapping[str, Any], metric: str, point: Sequence[Any]) -> str:
    place, value, low, high = point
    time, commit, _, outcome = cell["points"][place]
    interval = "" if low is None else f" ({in_words(metric, low)} to {in_words(metric, high)})"
    said = "" if outcome == "ok" else f", {outcome}"
    return escape(
        f"{in_words(metric, value)}{interval} · {short(commit)} · {time}{said}", quote=False
    )


def _tick(cell: Mapping[str, Any], place: int) -> str:
    time, commit, _, _ = cell["points"][place]
    return str(commit[:7] or time[:10])


def _spread(many: int) -> list[int]:
    return (
        sorted({round(step * (many - 1) / (TICKS - 1)) for step in range(TICKS)})
        if many > TICKS
        else list(range(many))
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


# -- the terminal ----------------------------------------------------------------------------------


def show(value: Mapping[str, Any], console: Console) -> None:
    """A row per cell, then the steps with the commands that accept them, then the notes."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in (
        "cell",
        *(name.lower() for name in METRICS.values()),
        "results",
        "environments",
        "last",
        "",
    ):
        table.add_column(column, overflow="fold")
    for row in rows(value):
        metrics = [formatting.with_interval(*shown) for shown in row["metrics"]]
        said = "; ".join(row["states"]) or ("" if row["outcome"] == "ok" else row["outcome"])
        cells = (row["name"], *metrics, row["results"], row["environments"], " ".join(row["last"]))
        table.add_row(*map(Text, cells), Text(said, "yellow" if said else ""))
    console.print(table)
    for change in value["alarms"]:
        shown = _change(change, value["cells"])
        head = f"{shown['cell']}: {shown['metric'].lower()} {shown['kind']}, {shown['change']} ({shown['values']}), {shown['margin']}"
        style = "red" if shown["kind"] == "worse" else "green"
        console.print(
            Text(f"{head}, since {shown['commit']}, {shown['points']} after it", style),
            soft_wrap=True,
        )
        for words in shown["confirmed"]:
            console.print(Text(f"  in pairs: {words}"), soft_wrap=True)
        if not shown["confirmed"] and change["commit_before"] not in ("", change["commit"]):
            sides = f"{change['commit_before'][:12]} {change['commit'][:12]}"
            console.print(
                Text(
                    f"  confirm it: evenbench compare {sides} --cell {shlex.quote(change['cell'])}"
                ),
                soft_wrap=True,
            )
        console.print(Text(f"  accept it: {shown['accept']}"), soft_wrap=True)
    for note in value["notes"]:
        console.print(Text(f"note: {note}", "dim"), soft_wrap=True)
