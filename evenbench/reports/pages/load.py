"""The page of a load scenario: a table of points, latency over throughput, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evenbench.reports import assets, formatting, load_results
from evenbench.reports.charts.axes import Figure
from evenbench.reports.charts.curves import LoadPoint, throughput
from evenbench.reports.pages import run_facts
from evenbench.reports.pages.templates import template

Line = Mapping[str, Any]
Point = Mapping[str, Any]

LEADS = {
    "single-stream": "One caller, each call right after the previous call.",
    "batch-sweep": "One caller; every batch size has a separate artifact and separate processes.",
    "concurrent": "Threads on one loaded network, each calling without a pause.",
    "server": (
        "Random arrivals, by MLCommons' load generator; latency counts from the scheduled arrival."
    ),
    "idle-gaps": "A call after each pause, as a ratio to a call without a pause.",
    "shapes": (
        "A new shape from call to call: the first call of each shape, its compilations, and later "
        "calls."
    ),
}


def write(lines: Sequence[Line], file: Path) -> Path:
    """Write the page of a run's lines and return the file."""
    file.write_text(render(lines), encoding="utf-8")
    return file


def render(lines: Sequence[Line]) -> str:
    """Return the page as HTML. Raises ValueError without lines."""
    if not lines:
        raise ValueError("load: no lines; expected one per cell")
    scenario = lines[0]["scenario"]["name"]
    drawn = chart(lines)
    return template("load.html.j2").render(
        scenario=scenario,
        run=lines[0]["run"].get("id", ""),
        lead=LEADS[scenario],
        counts=formatting.count(len(lines), "cell"),
        headings=load_results.HEADINGS[scenario],
        left=load_results.TEXT_COLUMNS,
        rows=[row for line in lines for row in load_results.rows(line)],
        notes=load_results.notes(lines),
        chart=drawn,
        figure=assets.element(drawn.figure) if drawn else "",
        plotly=assets.packed_library(*assets.PLOTLY) if drawn else "",
        facts=facts(lines),
        style=Markup(assets.own("page.css") + assets.own("load.css")),
        scripts=[
            Markup(assets.own("theme.js")),
            Markup(assets.own("figures.js") + assets.own("load.js")),
        ],
    )


def facts(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return the origin of the numbers, as label and text."""
    worst: dict[str, float] = {}
    for line in lines:
        for part in line["parts"]:
            if part["parity"]:
                name, needed = load_results.name_of(line), float(part["parity"]["needed"])
                worst[name] = max(worst.get(name, needed), needed)
    judged = ", ".join(
        f"{name} needs {formatting.number(value)} of the tolerance" for name, value in worst.items()
    )
    return [
        ("Command", lines[0]["reproduce"]),
        ("Parity", judged or "nothing was judged"),
        run_facts.processes(lines[0]),
        *run_facts.machine(lines),
    ]


# -- throughput against latency --------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """The chart of a scenario, with the words around it."""

    percentile: str
    labels: str
    figure: Figure


def chart(lines: Sequence[Line]) -> Chart | None:
    """Return latency over throughput of every cell; None for scenarios without curves.

    The latency is the highest percentile stated for all points, so that all curves are comparable.
    """
    if lines[0]["scenario"]["name"] not in ("batch-sweep", "concurrent"):
        return None
    curves = {name: points for line in lines for name, points in _curve(line)}
    points = [point for curve in curves.values() for point in curve]
    percentile = next(
        (
            name
            for name in ("p99_ns", "p90_ns", "p50_ns")
            if points and all(point["latency"][name] for point in points)
        ),
        "",
    )
    if not percentile:
        return None
    named = [
        (name, [_load_point(name, point, percentile) for point in curve])
        for name, curve in curves.items()
    ]
    title = f"{percentile.removesuffix('_ns')}, log scale"
    figure = throughput(named, title)
    assert figure is not None
    return Chart(
        percentile=percentile.removesuffix("_ns"),
        labels="batch sizes" if "batch" in points[0] else "numbers of callers",
        figure=figure,
    )


def _curve(line: Line) -> Iterator[tuple[str, list[Point]]]:
    """The name of a cell and its points; nothing for a cell without points."""
    points = [
        point for part in line["parts"] for point in part["points"] if "requests" not in point
    ]
    if points:
        yield load_results.name_of(line), points


def _load_point(name: str, point: Point, percentile: str) -> LoadPoint:
    per_second = float(point["per_second"]["value"])
    latency_ns = float(point["latency"][percentile]["value"])
    label = str(point.get("batch") or point["callers"])
    setting = f"batch {label}" if "batch" in point else formatting.count(int(label), "caller")
    speed = f"{formatting.number(per_second)} per second"
    latency = f"{percentile.removesuffix('_ns')} {formatting.duration(latency_ns)}"
    return LoadPoint(per_second, latency_ns, label, f"{name}, {setting}: {speed}, {latency}")
