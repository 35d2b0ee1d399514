"""One row per model over all precisions: the fastest correct cells, and the Pareto front.

Latency is host to host, as seen by a caller of a deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import (
    constraints,
    deployment_facts,
    formatting,
    input_shapes,
    machine_state,
    pareto,
)
from evenbench.reports.charts import trade_offs
from evenbench.reports.charts.drawing import Chart
from evenbench.reports.charts.trade_offs import TradeOff
from evenbench.reports.deployment_facts import Facts
from evenbench.reports.result_groups import Result

LEAST_PRECISIONS = 2
"""A model measured at one precision has its row in the summary already."""

CHARTS_DRAWN = 4
"""Models with a chart; the table has all models."""


@dataclass(frozen=True)
class ModelRow:
    """A model in a setting: the cells to ship at any precision, with gain and cost, as text."""

    model: str
    setting: str
    ship: str
    tie: str
    speedup: str
    speedup_interval: str
    latency: str
    memory: str
    accuracy: str
    front: tuple[str, ...]
    chart: Chart | None


def rows(members: Sequence[Result]) -> list[ModelRow]:
    """Return a row per model, batch, shape and run with several precisions, in recorded order."""
    scopes: dict[tuple[str, ...], list[Result]] = {}
    for result in members:
        if not result.is_control:
            cell = result.cell
            names = ("model", "device", "batch", "threads")
            place = (result.run, *(str(cell.get(name)) for name in names), input_shapes.of(cell))
            scopes.setdefault(place, []).append(result)
    several = [
        scope
        for scope in scopes.values()
        if len({result.cell.get("precision") for result in scope}) >= LEAST_PRECISIONS
    ]
    listed = []
    for number, scope in enumerate(several):
        row = _row(scope, number, len({str(one[0].cell.get("batch")) for one in several}) > 1)
        listed += [row] if row else []
    return listed


def _row(scope: Sequence[Result], place: int, names_batch: bool) -> ModelRow | None:
    every = deployment_facts.gather(scope)
    front = pareto.front(every)
    ranked = sorted(
        (facts for facts in every if facts.runs and not facts.in_flight), key=pareto.latency_ns
    )
    if not ranked:
        return None
    best = ranked[0]
    tied = [best] + [other for other in ranked[1:] if id(best.result) in pareto.tied(other, ranked)]
    cell = best.result.cell
    over = best.over_eager
    return ModelRow(
        model=str(cell.get("model", "")),
        setting=f"batch {cell.get('batch')}" if names_batch else "",
        ship=formatting.listing([_name(facts) for facts in tied[:3]], "or"),
        tie=_tie(tied),
        speedup=formatting.ratio(over) if over else formatting.DASH,
        speedup_interval=formatting.ratio_interval(over) if over else _without(best),
        latency=formatting.latency(best.result.host_to_host),
        memory=formatting.size(best.memory_bytes),
        accuracy=_accuracy(best),
        front=tuple(_listed(facts) for facts in front),
        chart=_chart(front, ranked, place) if place < CHARTS_DRAWN else None,
    )


def _without(best: Facts) -> str:
    """Why a speed-up over eager fp32 is missing."""
    if best.eager is best.result:
        return "is eager fp32"
    if best.eager is None:
        return "no eager fp32"
    return pareto.BUSY if machine_state.withheld(best.eager, best.result, None) else "not judged"


def _tie(tied: Sequence[Facts]) -> str:
    more = len(tied) - 3
    if len(tied) == 1:
        return ""
    return "too close to call" + (f", with {more} more" if more > 0 else "")


def _name(facts: Facts) -> str:
    return f"{facts.result.name} {facts.result.cell.get('precision')}"


def _accuracy(facts: Facts) -> str:
    """The accuracy with the drop from eager fp32; else the error against the reference answer."""
    if facts.accuracy is not None:
        drop = facts.accuracy_drop
        lost = f", {constraints.share(drop)} lost" if drop and drop > 0 else ", nothing lost"
        return f"{trade_offs.words(facts.accuracy)}{'' if drop is None else lost}"
    if facts.error is None:
        return formatting.DASH
    return f"error {constraints.share(facts.error)} of the output"


def _listed(facts: Facts) -> str:
    parts = (
        formatting.latency(facts.result.host_to_host),
        formatting.size(facts.memory_bytes),
        trade_offs.words(facts.accuracy),
    )
    return f"{_name(facts)}: {', '.join(filter(None, parts))}"


def _chart(front: Sequence[Facts], ranked: Sequence[Facts], place: int) -> Chart | None:
    points = [
        TradeOff(
            str(facts.result.cell.get("precision")),
            pareto.latency_ns(facts),
            float(facts.memory_bytes),
            facts in front,
        )
        for facts in ranked
        if facts.memory_bytes is not None
    ]
    model = str(ranked[0].result.cell.get("model", ""))
    return trade_offs.chart(f"trade-off-{place}", model, points)
