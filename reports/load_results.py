"""What the terminal shows of a scenario of load: a row per point of each cell, the answer, and what
is not stated and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import formatting

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
"""The columns of each scenario, after the cell's."""

NAMES = {"SingleStream": "one caller", "Offline": "all at once", "Server": "arrivals"}


def show(lines: Sequence[Line], console: Console) -> None:
    """Print the lines of one run to `console`: a table, then the answers, refusals and reasons in
    words.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cell", overflow="fold")
    for heading in HEADINGS[lines[0]["scenario"]["name"]]:
        table.add_column(
            heading, justify="left" if heading in ("run", "verdict") else "right", no_wrap=True
        )
    shown = [row for line in lines for row in rows(line)]
    for row in shown:
        table.add_row(*map(Text, row))
    if shown:
        console.print(table)
    for words in notes(lines):
        console.print(Text(words), soft_wrap=True)


def rows(line: Line) -> Iterator[tuple[str, ...]]:
    """The rows of one cell: its id, then a string for each heading. A cell without a right answer
    has none.
    """
    tell = CELLS[line["scenario"]["name"]]
    for part in line["parts"]:
        for point in part["points"]:
            for row in tell({"batch": part["cell"]["batch"], **point}):
                yield (name_of(line), *row)


def name_of(line: Line) -> str:
    """The cell's id; where batch sizes are the scenario's, and not the cell's own, without one."""
    cell, own = line["cell"], "batches" in line["scenario"]
    return str(cell["id"]).replace(f"-b{cell['batch']}", "", 1) if own else str(cell["id"])


def notes(lines: Sequence[Line]) -> list[str]:
    """What a table cannot say: each cell's answer, the percentiles that are not stated, and why a
    cell or a part of it has no numbers.
    """
    found: list[str] = []
    refused: dict[str, dict[str, None]] = {}
    for line in lines:
        name = name_of(line)
        for part in line["parts"]:
            if part["outcome"] != "ok":
                which = f"{name}, batch {part['cell']['batch']}" if len(line["parts"]) > 1 else name
                found.append(f"{which}: {part['outcome']} in {part['phase']}: {part['reason']}")
            for words in dict.fromkeys(
                words
                for point in part["points"]
                for words in point.get("latency", {}).get("refused", ())
            ):
                refused.setdefault(words, {})[name] = None
        if line["answer"]:
            found.append(f"{name}: {answer(line['answer'])}")
    found += [f"{words}: {formatting.listing(names)}" for words, names in refused.items()]
    if (
        any(part["points"] for line in lines for part in line["parts"])
        and lines[0]["run"]["processes"] == 1
    ):
        found.append(
            "one process each: differences between cells may be chance; --plan default takes three"
        )
    return found


def answer(answer: Mapping[str, Any]) -> str:
    """A cell's answer in words: the best batch or the highest valid rate, or why there is none."""
    bound = formatting.duration(answer["bound_ns"])
    if "batch" in answer:
        limit = f" whose p99 keeps {bound}" if answer["bound_ns"] else ", without a limit"
        excluded = "; ".join(f"batch {batch}: {why}" for batch, why in answer["excluded"].items())
        best = (
            f"best batch{limit}: {answer['batch']}"
            if answer["batch"]
            else f"no batch keeps a p99 of {bound}"
        )
        return f"{best} ({excluded})" if excluded else best
    if answer["rate_per_second"] is None:
        return f"no valid rate for a p99 of {bound}: {answer['reason']}"
    return f"valid for a p99 of {bound}: {formatting.number(answer['rate_per_second'])} arrivals per second"


# -- the columns of each scenario ------------------------------------------------------------------


def _percentiles(point: Point, *names: str) -> tuple[str, ...]:
    return tuple(
        formatting.duration(_value(point["latency"][name]))
        for name in names or ("p50_ns", "p90_ns", "p99_ns")
    )


def _value(told: Mapping[str, Any] | None) -> float | None:
    return None if told is None else float(told["value"])


def _ratio(told: Mapping[str, Any] | None) -> str:
    """A ratio with its interval where there is one."""
    if told is None:
        return formatting.DASH
    interval = (
        f" ({formatting.number(told['low'])}–{formatting.number(told['high'])})"
        if told["low"] is not None
        else ""
    )
    return f"×{formatting.number(told['value'])}{interval}"


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
    known = [many for many in point.get("builds", ()) if many is not None]
    built = " + ".join(map(str, known)) or formatting.DASH
    shape = (str(point["batch"]), point.get("size", formatting.DASH))
    yield (*shape, first, _ratio(point["first_seen"]), built, *_percentiles(point), _laps(point))


def _server(point: Point) -> Iterator[tuple[str, ...]]:
    """The generator's runs of the last process, in order."""
    for run in point["runs"][-1] if point["runs"] else []:
        asked = (
            formatting.number(run["server_target_qps"])
            if "server_target_qps" in run
            else formatting.DASH
        )
        percentiles = (formatting.duration(run[name]) for name in ("p50_ns", "p90_ns", "p99_ns"))
        speed = formatting.number(run["queries_per_second"])
        yield (
            NAMES.get(run["scenario"], run["scenario"]),
            run["verdict"],
            asked,
            speed,
            *percentiles,
            str(run["queries"]),
        )


CELLS: Mapping[str, Callable[[Point], Iterator[tuple[str, ...]]]] = {
    "single-stream": _single,
    "batch-sweep": _sweep,
    "concurrent": _concurrent,
    "server": _server,
    "idle-gaps": _gap,
    "shapes": _shape,
}
