"""Origin of the numbers: runs with machine and versions, models with weights and inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.result_groups import Record, Result

Facts = list[tuple[str, str]]

_MACHINE = ("os", "cpu", "cores", "governor", "turbo", "python", "commit")
_MOVING = {
    "load_average": "load average",
    "cpu_pressure_percent": "CPU pressure, %",
    "steal": "steal, share since boot",
}
_LONG = ("cpu_flags", "packages", "variables", "lock")


@dataclass(frozen=True)
class Run:
    """A run: command, machine and packages, as texts."""

    id: str
    facts: Facts
    machine: Facts
    variables: Facts
    packages: Facts
    locks: Facts
    cpu_flags: str


@dataclass(frozen=True)
class Origin:
    """Weights and inputs of a model, as texts."""

    model: str
    weights: str
    weights_sha256: str
    inputs: str
    input_sha256: tuple[str, ...]


def runs(results: Iterable[Result]) -> list[Run]:
    """Return every run with results, newest first."""
    records: dict[str, list[Record]] = {}
    for result in results:
        records.setdefault(result.run, []).append(result.record)
    return [_run(identity, records[identity]) for identity in sorted(records, reverse=True)]


def origins(results: Iterable[Result]) -> list[Origin]:
    """Return every model with each of its weights and inputs."""
    records: dict[tuple[str, str], list[Record]] = {}
    for result in results:
        weights = result.record.get("weights") or {}
        if weights or result.record.get("inputs"):
            key = str(result.cell.get("model", "")), str(weights.get("sha256", ""))
            records.setdefault(key, []).append(result.record)
    return [_origin(model, records[model, digest]) for model, digest in sorted(records)]


def _run(identity: str, records: Sequence[Record]) -> Run:
    run = records[0].get("run") or {}
    environments = [record["environment"] for record in records if record.get("environment")]
    keys = ("started", "plan", "processes", "seed", "evenbench")
    facts = [(key, formatting.plain(run.get(key))) for key in keys]
    facts.append(("cells", formatting.plain(len(records))))
    return Run(
        id=identity,
        facts=facts,
        machine=_machine(environments),
        variables=_by_name(environments, "variables"),
        packages=_by_name(environments, "packages"),
        locks=[
            (lock["name"], f"Python {lock['python']}, {', '.join(lock['packages'])}")
            for lock in _variants(environments, "lock")
        ],
        cpu_flags=" ".join(
            sorted({str(flag) for flags in _variants(environments, "cpu_flags") for flag in flags})
        ),
    )


def _machine(environments: Sequence[Record]) -> Facts:
    others = sorted(
        {key for environment in environments for key in environment} - {*_MACHINE, *_MOVING, *_LONG}
    )
    steady = [
        (key.replace("_", " "), _distinct(environment.get(key) for environment in environments))
        for key in (*_MACHINE, *others)
    ]
    moving = [
        (name, _range([environment.get(key) for environment in environments]))
        for key, name in _MOVING.items()
    ]
    return [(key, shown) for key, shown in [*steady, *moving] if shown != formatting.DASH]


def _by_name(environments: Sequence[Record], key: str) -> Facts:
    variants = _variants(environments, key)
    names = sorted({name for variant in variants for name in variant}, key=str.casefold)
    return [(name, _distinct(variant.get(name) for variant in variants)) for name in names]


def _variants(environments: Sequence[Record], key: str) -> list[Any]:
    # Thousands of cells share a handful of package lists: each is read once.
    return list(
        {
            repr(environment[key]): environment[key]
            for environment in environments
            if environment.get(key)
        }.values()
    )


def _distinct(values: Iterable[Any]) -> str:
    # A backend in its own environment has its own versions: all of them are shown.
    return (
        " or ".join(
            shown
            for shown in dict.fromkeys(map(formatting.plain, values))
            if shown != formatting.DASH
        )
        or formatting.DASH
    )


def _range(values: Sequence[Any]) -> str:
    known = sorted(value for value in values if isinstance(value, int | float))
    if not known:
        return formatting.DASH
    low, high = formatting.number(known[0], 2), formatting.number(known[-1], 2)
    return low if low == high else f"{low} to {high}"


def _origin(model: str, records: Sequence[Record]) -> Origin:
    weights = records[0].get("weights") or {}
    inputs = records[0].get("inputs") or {}
    names = [str(name) for name in inputs.get("names") or []]
    recipe = " ".join(
        filter(
            None,
            [str(inputs.get("recipe") or ""), f"on {formatting.listing(names)}" if names else ""],
        )
    )
    return Origin(
        model=model,
        weights=": ".join(str(weights[key]) for key in ("source", "note") if weights.get(key))
        or formatting.DASH,
        weights_sha256=str(weights.get("sha256") or formatting.DASH),
        inputs=recipe or formatting.DASH,
        input_sha256=tuple(
            dict.fromkeys(
                str(record["input_sha256"]) for record in records if record.get("input_sha256")
            )
        ),
    )
