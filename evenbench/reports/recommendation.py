"""Recommendation of cells under the limits of a deployment, with reasons for excluded cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.reports import formatting, input_shapes
from evenbench.reports.constraints import (
    ALL,
    CONSTRAINTS,
    Constraint,
    Limits,
    doubts_about,
    excluded_by,
)
from evenbench.reports.deployment_facts import Facts, Reference, gather
from evenbench.reports.pareto import front, latency_ns, not_apart, tied
from evenbench.reports.result_groups import Result


@dataclass(frozen=True)
class Chosen:
    """A recommended cell, and faster recommended cells without a clear difference."""

    facts: Facts
    not_apart: tuple[tuple[str, str], ...]
    """(id, reason) of each: not told apart, one process, another run."""
    doubts: tuple[str, ...] = ()
    """Limits in doubt, because nobody measured the value."""


@dataclass(frozen=True)
class Advice:
    """The recommendation: ranked cells, excluded cells with reasons, and the front.

    `possible` cells are within all known limits, with limits in doubt. `nearest` describes the
    nearest misses if no cell is recommended.
    """

    ranked: tuple[Chosen, ...]
    possible: tuple[Chosen, ...]
    excluded: tuple[tuple[Facts, tuple[str, ...]], ...]
    front: tuple[Facts, ...]
    nearest: tuple[str, ...]
    reference: Reference | None


def advise(
    members: Sequence[Result],
    limits: Limits,
    installed: Mapping[str, tuple[int | None, str]] | None = None,
) -> Advice:
    """Return the recommendation for results of one model at one batch size.

    `limits` are keyed by the names of `constraints.ALL`; `installed` is that of `gather`.
    """
    candidates = gather(members, installed)
    judged = [(facts, excluded_by(facts, limits)) for facts in candidates]
    kept = sorted((facts for facts, reasons in judged if not reasons), key=latency_ns)
    doubts = {id(facts): tuple(doubts_about(facts, limits)) for facts in kept}
    sure = [facts for facts in kept if not doubts[id(facts)]]
    ranked = [Chosen(facts, _not_apart(facts, sure[:place])) for place, facts in enumerate(sure)]
    possible = [Chosen(facts, (), doubts[id(facts)]) for facts in kept if doubts[id(facts)]]
    excluded = tuple((facts, tuple(reasons)) for facts, reasons in judged if reasons)
    nearest = (
        ()
        if ranked
        else tuple(
            _nearest(constraint, candidates, limits)
            for constraint in ALL
            if constraint.name in limits
        )
    )
    reference = next((facts.reference for facts in candidates if facts.reference), None)
    return Advice(tuple(ranked), tuple(possible), excluded, front(candidates), nearest, reference)


def _not_apart(facts: Facts, ahead: Sequence[Facts]) -> tuple[tuple[str, str], ...]:
    reasons = [(other.id, not_apart(facts, other)) for other in ahead]
    return tuple((name, reason) for name, reason in reasons if reason)


def _nearest(constraint: Constraint, members: Sequence[Facts], limits: Limits) -> str:
    """The nearest miss of a constraint as text, preferring cells within all other limits."""
    limit = limits[constraint.name]
    running = [facts for facts in members if facts.runs]
    if not running:
        return f"{constraint.name}: no correct cell, whatever the limit"
    failing = [facts for facts in running if constraint.excludes(facts, limit)]
    unknown = [facts for facts in running if constraint.doubts(facts, limit)]
    met_count = len(running) - len(failing) - len(unknown)
    met_by = f"{met_count} of {formatting.count(len(running), 'correct cell')}"
    met = f"{constraint.name} {constraint.words(limit)} is met by {met_by}"
    stated = [facts for facts in failing if constraint.value(facts) is not None]
    if not stated:
        best = max(unknown, key=lambda facts: sum(map(len, facts.laps_ns)), default=None)
        why = constraint.doubts(best, limit) if best else "other limits exclude these cells"
        return f"{met}; {constraint.unknown(failing[0]) if failing else why}"
    nearest = min(
        stated, key=lambda facts: (len(excluded_by(facts, limits)), constraint.value(facts))
    )
    others = [other.name for other in ALL if other is not constraint and other.name in limits]
    exceeded = [
        other.name
        for other in ALL
        if other.name in others and other.excludes(nearest, limits[other.name])
    ]
    rest = (
        f"; also over the limit of {formatting.listing(exceeded)}"
        if exceeded
        else "; all other limits are met"
        if others
        else ""
    )
    return f"{met}; the nearest miss is {nearest.id}: {constraint.excludes(nearest, limit)}{rest}"


def page_values(members: Iterable[Result]) -> dict[int, list[Any]]:
    """Return the filter values of constraint result, by `id` of the result.

    The values of `CONSTRAINTS`, membership in the front of its model and batch, and the `id`s of
    faster results that are not told apart.
    """
    members_facts = gather(members)
    scopes: dict[tuple[Any, ...], list[Facts]] = {}
    for facts in members_facts:
        cell = facts.result.cell
        place = cell.get("model"), cell.get("batch"), input_shapes.of(cell)
        scopes.setdefault(place, []).append(facts)
    ahead = {id(facts) for scope in scopes.values() for facts in front(scope)}
    ties = {id(facts): tied(facts, scope) for scope in scopes.values() for facts in scope}
    values = {}
    for facts in members_facts:
        values[id(facts.result)] = [
            *(_short(constraint.value(facts)) for constraint in CONSTRAINTS),
            id(facts) in ahead,
            ties[id(facts)],
        ]
    return values


def _short(value: float | None) -> float | None:
    """Whole nanoseconds and bytes, because a large page has forty thousand values."""
    return round(value) if value is not None and value >= 1000 else value
