"""Distance of each cell from the limit of its machine, and the bound: arithmetic or memory.

After S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model
for multicore architectures", Communications of the ACM 52 (4), 2009. Records hold the limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.charts import roofline as chart
from evenbench.reports.charts.drawing import Chart
from evenbench.reports.charts.roofline import Point, Roof
from evenbench.reports.result_groups import Group, Record, Result
from evenbench.reports.sections import tables
from evenbench.reports.sections.tables import MEASURE, WORDS, Column, Table

ROOFS_DRAWN = 6
"""Limit on roofs in the chart; more roofs would be indistinguishable."""

POINTS_DRAWN = 600

CONVOLUTIONS = ("conv", "Conv")
"""Name parts of operators with algorithms other than the direct algorithm."""


def table(groups: Sequence[Group]) -> Table:
    """Return every ranked cell with a limit: its time, the least possible time, and the bound."""
    columns = (
        *tables.IDENTITY,
        Column("Compute", MEASURE, "one inference, inputs already bound"),
        Column("Least possible", MEASURE, "max(FLOPs / peak, bytes / bandwidth)"),
        Column(
            "Of the limit",
            MEASURE,
            "least possible time over compute; 100 % is as fast as the usual bound allows",
        ),
        Column("Bound by", WORDS, "which of the two takes longer"),
        Column("Work", MEASURE, "floating-point operations of one step, by the direct algorithm"),
        Column("Least bytes", MEASURE, "weights once at this precision, inputs, outputs"),
        Column("Reached", MEASURE, "work over compute"),
        Column("Remark"),
        *tables.INDEX,
    )
    return Table(
        "limit",
        "How close every correct runtime comes to the limit of its machine",
        columns,
        list(_rows(groups)),
    )


def _rows(groups: Sequence[Group]) -> Iterator[list[Any]]:
    for index, group, result in tables.in_order(groups):
        fraction, limit = result.of_limit, result.limit
        if not result.ranks or fraction is None or result.compute is None:
            continue
        reached = limit["flops"] / result.compute.value * 1e9
        yield [
            *tables.identity(group, result),
            tables.measure(formatting.latency(result.compute), result.compute.value),
            tables.measure(formatting.seconds(limit["least_seconds"]), limit["least_seconds"]),
            tables.measure(share(fraction), fraction),
            str(limit["bound"]),
            tables.measure(formatting.amount(limit["flops"], "FLOP"), limit["flops"]),
            tables.measure(formatting.size(limit["least_bytes"]), limit["least_bytes"]),
            tables.measure(formatting.amount(reached, "FLOP/s"), reached),
            remark(limit, fraction),
            *tables.indexed(index, result),
        ]


def share(fraction: float) -> str:
    """Format a fraction: `37 %`, `0.84 %`, `130 %`."""
    return f"{formatting.number(fraction * 100, 2 if fraction < 1 else 3)}{formatting.SPACE}%"


def remark(limit: Record, fraction: float) -> str:
    """Return why a limit was exceeded, and work missing from its count; often empty."""
    uncounted = limit.get("flops_uncounted") or {}
    left_out = (
        f"without the work of {', '.join(f'{many} {name}' for name, many in uncounted.items())}"
        if uncounted
        else ""
    )
    return "; ".join(filter(None, [_passed(limit) if fraction > 1 else "", left_out]))


def _passed(limit: Record) -> str:
    """Why a cell is faster than its limit.

    A limit assumes the direct algorithm, weights in memory, and a quiet machine.
    """
    slowed = f"or a disturbance lowered the measured peaks ({limit.get('measured')})"
    if limit.get("bound") == "memory":
        cache, needed = limit.get("cache_bytes"), limit["least_bytes"]
        if cache and needed <= cache:
            sizes = f"{formatting.size(needed)} stay in the caches ({formatting.size(cache)})"
            return (
                f"above the limit: {sizes} from lap to lap, and the bandwidth is of the memory; "
                f"{slowed}"
            )
        return (
            "above the limit: a part of the weights stays in the caches from lap to lap, or is "
            f"stored in less; {slowed}"
        )
    if any(
        word in operator
        for operator in limit.get("flops_by_operator") or {}
        for word in CONVOLUTIONS
    ):
        return (
            "above the limit: FLOPs are counted for the direct algorithm, and convolutions by "
            f"Winograd or FFT, or without zeros, take fewer; {slowed}"
        )
    return (
        "above the limit: products take fewer operations than counted, or beat the "
        f"{limit.get('peak_by')}; {slowed}"
    )


def drawn(groups: Sequence[Group]) -> Chart | None:
    """Return the measured roofs, and cells under each roof, up to a readable number."""
    members = [
        result
        for group in groups
        for result in group.ranked
        if result.of_limit is not None and result.limit["flops"]
    ]
    points = [_point(result) for result in members]
    roofs = list(dict.fromkeys(point.roof for point in points))[:ROOFS_DRAWN]
    shown = [point for point in points if point.roof in roofs][:POINTS_DRAWN]
    return chart.chart(shown, len(points) - len(shown))


def _roof(result: Result) -> Roof:
    threads = formatting.count(int(result.cell.get("threads") or 0), "thread")
    limit = result.limit
    return Roof(
        f"bound of {result.cell.get('precision')}, {result.cell.get('device')}, {threads}",
        limit["peak_flops_per_second"],
        limit["bandwidth_bytes_per_second"],
    )


def _point(result: Result) -> Point:
    limit, compute = result.limit, result.compute
    assert compute is not None
    return Point(
        result.name,
        str(result.cell.get("model", "")),
        limit["flops"] / max(1, limit["least_bytes"]),
        limit["flops"] / compute.value * 1e9,
        _roof(result),
    )


def described(result: Result) -> list[tuple[str, str]]:
    """Return the limit of a cell with its sources, as label and text; empty without a limit."""
    limit, fraction = result.limit, result.of_limit
    if not limit:
        return []
    peak = formatting.amount(limit.get("peak_flops_per_second"), "FLOP/s")
    bandwidth = formatting.amount(limit.get("bandwidth_bytes_per_second"), "B/s")
    facts = [
        ("least possible", formatting.seconds(limit.get("least_seconds"))),
        ("of the limit", "" if fraction is None else share(fraction)),
        ("bound by", str(limit.get("bound") or "")),
        ("no limit", str(limit.get("reason") or "")),
        ("remark", "" if fraction is None else remark(limit, fraction)),
        ("work", formatting.amount(limit.get("flops"), "FLOP")),
        ("least bytes", formatting.size(limit.get("least_bytes"))),
        ("peak", f"{peak} ({limit['peak_by']})" if limit.get("peak_by") else ""),
        (
            "bandwidth",
            f"{bandwidth} ({limit['bandwidth_by']})" if limit.get("bandwidth_by") else "",
        ),
        (
            "measured",
            f"{limit['measured']} with {limit['library']} {limit['version']}"
            if limit.get("library")
            else "",
        ),
    ]
    return [(label, words) for label, words in facts if words and words != formatting.DASH]
