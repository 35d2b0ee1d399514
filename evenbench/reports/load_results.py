"""Texts of a load scenario: a row per point of each cell, the result per cell, and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evenbench.reports import formatting

Line = Mapping[str, Any]
Point = Mapping[str, Any]

HEADINGS: Mapping[str, tuple[str, ...]] = {
    "single-stream": ("p50", "p90", "p99", "per second", "calls"),
    "batch-sweep": ("batch", "p50", "p90", "p99", "per second", "calls"),
    "concurrent": ("callers", "p50", "p90", "p99", "per second", "over the first", "calls"),
    "server": ("run", "verdict", "offered", "answered", "p50", "p90", "p99", "queries"),
    "idle-gaps": ("gap", "p50", "over no gap", "laps"),
    "shapes": ("batch", "size", "first", "first over later", "built", "p50", "p90", "p99", "laps"),
}
"""Columns of each scenario, after the column of the cell."""

TEXT_COLUMNS = ("run", "verdict")
"""Columns with text; all other columns have numbers."""

NAMES = {"SingleStream": "one caller", "Offline": "all at once", "Server": "arrivals"}


def rows(line: Line) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a cell: its id, then a text per heading.

    An incorrect cell has no rows.
    """
    columns = COLUMNS[line["scenario"]["name"]]
    for part in line["parts"]:
        for point in part["points"]:
            for row in columns({"batch": part["cell"]["batch"], **point}):
                yield (name_of(line), *row)


def name_of(line: Line) -> str:
    """Return the id of the cell, without the batch size if the scenario varies batch sizes."""
    cell, varies = line["cell"], "batches" in line["scenario"]
    return str(cell["id"]).replace(f"-b{cell['batch']}", "", 1) if varies else str(cell["id"])


def notes(lines: Sequence[Line]) -> list[str]:
    """Return the result of each cell, unsupported percentiles, and reasons for missing numbers."""
    listed = [note for line in lines for note in _results(line)]
    listed += _refusals(lines)
    measured = any(part["points"] for line in lines for part in line["parts"])
    if measured and lines[0]["run"]["processes"] == 1:
        listed.append(
            "one process each: differences between cells may be chance; --plan default takes three"
        )
    return listed


def _results(line: Line) -> Iterator[str]:
    name = name_of(line)
    for part in line["parts"]:
        if part["outcome"] != "ok":
            batch = f", batch {part['cell']['batch']}" if len(line["parts"]) > 1 else ""
            yield f"{name}{batch}: {part['outcome']} in {part['phase']}: {part['reason']}"
    if line["answer"]:
        yield f"{name}: {answer(line['answer'])}"


def _refusals(lines: Sequence[Line]) -> list[str]:
    """Each reason for an unsupported percentile once, with its cells."""
    names: dict[str, dict[str, None]] = {}
    for line in lines:
        for part in line["parts"]:
            for point in part["points"]:
                for reason in point.get("latency", {}).get("refused", ()):
                    names.setdefault(reason, {})[name_of(line)] = None
    return [f"{reason}: {formatting.listing(cells)}" for reason, cells in names.items()]


def answer(answer: Mapping[str, Any]) -> str:
    """Return the best batch or the highest valid rate of a cell as text, or the reason for none."""
    bound = formatting.duration(answer["bound_ns"])
    if "batch" in answer:
        limit = f" with a p99 within {bound}" if answer["bound_ns"] else ", without a limit"
        excluded = "; ".join(f"batch {batch}: {why}" for batch, why in answer["excluded"].items())
        best = (
            f"best batch{limit}: {answer['batch']}"
            if answer["batch"]
            else f"no batch has a p99 within {bound}"
        )
        return f"{best} ({excluded})" if excluded else best
    if answer["rate_per_second"] is None:
        return f"no valid rate for a p99 of {bound}: {answer['reason']}"
    rate = formatting.number(answer["rate_per_second"])
    return f"valid for a p99 of {bound}: {rate} arrivals per second"


# -- the columns of each scenario ------------------------------------------------------------------


def _percentiles(point: Point, *names: str) -> tuple[str, ...]:
    return tuple(
        formatting.duration(_value(point["latency"][name]))
        for name in names or ("p50_ns", "p90_ns", "p99_ns")
    )


def _value(estimate: Mapping[str, Any] | None) -> float | None:
    return None if estimate is None else float(estimate["value"])


def _ratio(estimate: Mapping[str, Any] | None) -> str:
    """A ratio, with an interval if known."""
    if estimate is None:
        return formatting.DASH
    interval = ""
    if estimate["low"] is not None:
        low, high = formatting.number(estimate["low"]), formatting.number(estimate["high"])
        interval = f" ({low}–{high})"
    return f"×{formatting.number(estimate['value'])}{interval}"


def _laps(point: Point) -> str:
    return " + ".join(map(str, point["latency"]["laps"]))


def _calls(point: Point) -> str:
    return " + ".join(map(str, point["calls"]))


def _single(point: Point) -> Iterator[tuple[str, ...]]:
    yield (*_percentiles(point), formatting.number(_value(point["per_second"])), _calls(point))


def _sweep(point: Point) -> Iterator[tuple[str, ...]]:
    yield (
        str(point["batch"]),
        *_percentiles(point),
        formatting.number(_value(point["per_second"])),
        _calls(point),
    )


def _concurrent(point: Point) -> Iterator[tuple[str, ...]]:
    speed = formatting.number(_value(point["per_second"]))
    callers = f"1, {point['requests']} requests" if "requests" in point else str(point["callers"])
    scaling = formatting.DASH if "requests" in point else _ratio(point["scaling"])
    yield (callers, *_percentiles(point), speed, scaling, _calls(point))


def _gap(point: Point) -> Iterator[tuple[str, ...]]:
    yield (
        f"{point['gap_ms']:g} ms",
        *_percentiles(point, "p50_ns"),
        _ratio(point["wake_up"]),
        _laps(point),
    )


def _shape(point: Point) -> Iterator[tuple[str, ...]]:
    first = formatting.duration(_value(point["first"])) if point["first"] else "at load"
    known = [count for count in point.get("builds", ()) if count is not None]
    built = " + ".join(map(str, known)) or formatting.DASH
    shape = (str(point["batch"]), point.get("size", formatting.DASH))
    yield (*shape, first, _ratio(point["first_seen"]), built, *_percentiles(point), _laps(point))


def _server(point: Point) -> Iterator[tuple[str, ...]]:
    """The runs of the load generator in the last process, in order."""
    for run in point["runs"][-1] if point["runs"] else []:
        offered = formatting.number(run.get("server_target_qps"))
        percentiles = (formatting.duration(run[name]) for name in ("p50_ns", "p90_ns", "p99_ns"))
        speed = formatting.number(run["queries_per_second"])
        yield (
            NAMES.get(run["scenario"], run["scenario"]),
            run["verdict"],
            offered,
            speed,
            *percentiles,
            str(run["queries"]),
        )


COLUMNS: Mapping[str, Callable[[Point], Iterator[tuple[str, ...]]]] = {
    "single-stream": _single,
    "batch-sweep": _sweep,
    "concurrent": _concurrent,
    "server": _server,
    "idle-gaps": _gap,
    "shapes": _shape,
}
