"""A scenario of load as a page of its own: a table of points, throughput against latency, and what
is not stated and why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reports import assets, formatting, load_results
from reports.pages.templates import template

Line = Mapping[str, Any]

WIDE, HIGH = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 78, 36, 14, 48
"""Of the chart, in units of its own; the margins hold the axes' words."""

COLOURS = 8
"""How many the theme has; a ninth cell has the first one's again, and its name beside its last
point.
"""

LEADS = {
    "single-stream": "One caller, each call as soon as the one before is answered.",
    "batch-sweep": "One caller; every batch size is an artifact of its own, in processes of its own.",
    "concurrent": "Threads on one loaded network, each calling as fast as it is answered.",
    "server": "Arrivals at random, by MLCommons' load generator; latency counts from the moment at which a query was to arrive.",
    "idle-gaps": "One call after each pause, as a ratio to a call without one.",
    "shapes": "Shapes that change from call to call: the first call of each, what was compiled for it, and the later ones.",
}


def write(lines: Sequence[Line], file: Path) -> Path:
    """Write the page of one run's lines, and return it."""
    file.write_text(render(lines), encoding="utf-8")
    return file


def render(lines: Sequence[Line]) -> str:
    """The page as text. Raises ValueError where there is no line."""
    if not lines:
        raise ValueError("load: no lines; expected one per cell")
    scenario = lines[0]["scenario"]["name"]
    return template("load.html.j2").render(
        scenario=scenario,
        run=lines[0]["run"].get("id", ""),
        lead=LEADS[scenario],
        counts=formatting.count(len(lines), "cell"),
        headings=load_results.HEADINGS[scenario],
        left=("run", "verdict"),
        rows=[row for line in lines for row in load_results.rows(line)],
        notes=load_results.notes(lines),
        chart=chart(lines),
        facts=facts(lines),
        style=Markup(assets.own("page.css") + assets.own("load.css")),
        script=Markup(assets.own("theme.js")),
    )


def facts(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Where the numbers are from."""
    line = lines[0]
    environment = line["environment"]
    packages = {
        name: version
        for each in lines
        for name, version in (each["environment"].get("packages") or {}).items()
    }
    needed = [
        (load_results.name_of(each), part["parity"])
        for each in lines
        for part in each["parts"]
        if part["parity"]
    ]
    worst = {
        name: max(float(found["needed"]) for other, found in needed if other == name)
        for name, _ in needed
    }
    judged = ", ".join(
        f"{name} needs {formatting.number(value)} of the tolerance" for name, value in worst.items()
    )
    return [
        ("Command", line["reproduce"]),
        ("Parity", judged or "nothing was judged"),
        (
            "Processes",
            f"{line['run']['processes']} each, plan {line['run']['plan']}, started {line['run']['started']}",
        ),
        (
            "Machine",
            f"{environment['cpu']}, {formatting.count(environment['cores'], 'core')}, {environment['os']}",
        ),
        ("Python", environment["python"]),
        ("Packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))),
    ]


# -- throughput against latency --------------------------------------------------------------------


def chart(lines: Sequence[Line]) -> dict[str, Any] | None:
    """Throughput against latency of every cell, both on logarithmic axes, as coordinates; None
    where a scenario has no such curve.

    The latency is the highest percentile that all points have, so that no curve is drawn from
    another one than its neighbour's.
    """
    if lines[0]["scenario"]["name"] not in ("batch-sweep", "concurrent"):
        return None
    seen = {
        load_results.name_of(line): [point for part in line["parts"] for point in part["points"]]
        for line in lines
    }
    found = {
        name: [point for point in points if "requests" not in point]
        for name, points in seen.items()
    }
    found = {name: points for name, points in found.items() if points}
    every = [point for points in found.values() for point in points]
    which = next(
        (
            name
            for name in ("p99_ns", "p90_ns", "p50_ns")
            if every and all(point["latency"][name] for point in every)
        ),
        "",
    )
    if not which:
        return None
    across, up = (
        _axis([_speed(point) for point in every]),
        _axis([_latency(point, which) for point in every]),
    )
    curves = [
        {
            "name": name,
            "colour": f"k{place % COLOURS + 1}",
            "dots": [
                {
                    **_place(point, which, across, up),
                    "label": _label(point),
                    "words": _words(name, point, which),
                }
                for point in points
            ],
        }
        for place, (name, points) in enumerate(found.items())
    ]
    return {
        "percentile": which.removesuffix("_ns"),
        "of": "batch sizes" if "batch" in every[0] else "numbers of callers",
        "curves": curves,
        "across": [(_x(value, across), formatting.number(value)) for value in _ticks(across)],
        "up": [(_y(value, up), formatting.duration(value)) for value in _ticks(up)],
        "size": {
            "wide": WIDE,
            "high": HIGH,
            "left": LEFT,
            "right": WIDE - RIGHT,
            "top": TOP,
            "bottom": HIGH - BOTTOM,
        },
    }


def _speed(point: Mapping[str, Any]) -> float:
    return float(point["per_second"]["value"])


def _latency(point: Mapping[str, Any], which: str) -> float:
    return float(point["latency"][which]["value"])


def _label(point: Mapping[str, Any]) -> str:
    return str(point.get("batch") or point["callers"])


def _words(name: str, point: Mapping[str, Any], which: str) -> str:
    at = (
        f"batch {point['batch']}"
        if "batch" in point
        else formatting.count(point["callers"], "caller")
    )
    percentile = which.removesuffix("_ns")
    return f"{name}, {at}: {formatting.number(_speed(point))} per second, {percentile} {formatting.duration(_latency(point, which))}"


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis that holds the values with some room."""
    return min(values) / 1.25, max(values) * 1.25


def _share(value: float, ends: tuple[float, float]) -> float:
    return (math.log(value) - math.log(ends[0])) / (math.log(ends[1]) - math.log(ends[0]))


def _x(value: float, ends: tuple[float, float]) -> float:
    return round(LEFT + _share(value, ends) * (WIDE - LEFT - RIGHT), 1)


def _y(value: float, ends: tuple[float, float]) -> float:
    return round(HIGH - BOTTOM - _share(value, ends) * (HIGH - TOP - BOTTOM), 1)


def _place(
    point: Mapping[str, Any], which: str, across: tuple[float, float], up: tuple[float, float]
) -> dict[str, float]:
    return {"x": _x(_speed(point), across), "y": _y(_latency(point, which), up)}


def _ticks(ends: tuple[float, float]) -> list[float]:
    """Round numbers on an axis: 1, 2 and 5 of every power of ten, or the powers alone where those
    would be too many.
    """
    powers = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    fine = [
        step * 10.0**power
        for power in powers
        for step in (1, 2, 5)
        if ends[0] <= step * 10.0**power <= ends[1]
    ]
    coarse = [10.0**power for power in powers if ends[0] <= 10.0**power <= ends[1]]
    return fine if len(fine) <= 8 else coarse
