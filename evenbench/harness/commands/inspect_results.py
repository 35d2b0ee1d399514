"""Outcomes and results files as sections of text for `evenbench inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.core.types import BOUNDARIES, OUTCOMES, PHASES
from evenbench.harness.results import interleaving, records
from evenbench.harness.results.records import Reading, Record
from evenbench.harness.statistics import estimates

if TYPE_CHECKING:
    from rich.console import Console

Section = tuple[str, list[tuple[str, Any]]]
"""A heading and rows of a name with a sentence, a number or a list."""


def find_outcome(wanted: str, folder: Path) -> Record:
    """Return the newest outcome of a cell, by id or key. Raises UsageError for an unknown cell."""
    lines = records.read([folder]).lines
    outcomes = [line for line in lines if wanted in (line["cell"]["id"], line["cell"]["key"])]
    if not outcomes:
        import difflib

        near = difflib.get_close_matches(wanted, {line["cell"]["id"] for line in lines}, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "`evenbench inspect " + str(folder) + "` shows its cells"
        )
        raise UsageError(
            f"{wanted}: no such file, and no cell of that id or key in {folder}; {hint}"
        )
    return max(outcomes, key=lambda line: line["time"])


def summary(reading: Reading[OutcomeRecord]) -> list[dict[str, Any]]:
    """Return an object per run, oldest first: plan, start, outcomes by kind, ids of cells."""
    runs: dict[str, list[Record]] = {}
    for line in reading.lines:
        runs.setdefault(str(_run_of(line).get("id", "")), []).append(line)
    return sorted(
        (_run_summary(lines) for lines in runs.values()),
        key=lambda run: (str(run.get("started")), str(run.get("id"))),
    )


def _run_of(line: Record) -> Mapping[str, Any]:
    """Return the run of a line; empty for a line edited by hand."""
    run = line.get("run")
    return run if isinstance(run, Mapping) else {}


def _run_summary(lines: Sequence[Record]) -> dict[str, Any]:
    counts = Counter(line["outcome"] for line in lines)
    return {
        **_run_of(lines[0]),
        "cells": [line["cell"]["id"] for line in lines],
        "outcomes": {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]},
    }


def summary_sections(runs: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> list[Section]:
    """Return the runs as sections, and the notes of the reader."""
    sections: list[Section] = [
        (
            f"run {run.get('id', 'without a name')}",
            _rows({name: value for name, value in run.items() if name != "id"}),
        )
        for run in runs
    ]
    return [*sections, ("notes", [("", note) for note in notes])]


def outcome_sections(line: Record) -> list[Section]:
    """Return all fields of an outcome line, the most wanted first."""
    outcome = {
        name: line[name] for name in ("outcome", "phase", "reason", "signal", "hint") if line[name]
    }
    artifact = line["artifact"] or {}
    facts = dict(artifact.get("facts") or {})
    weights = dict(line["weights"] or {})
    model = facts.pop("model", None) or weights.pop("model", None)
    prepared = {"sha256": line["artifact_sha256"], **(line["prepare"] or {})}
    artifact = {**artifact, "facts": facts, **prepared} if artifact else {}
    return [
        ("cell", [*_rows(line["cell"]), ("case", line["case"]), ("role", line["role"])]),
        (
            "outcome",
            [
                *_rows(outcome),
                ("warnings", "\n".join(line["warnings"])),
                ("labels", line["labels"]),
                ("calibration", _calibration(line)),
            ],
        ),
        (
            "latency",
            [
                (boundary, _latency(line, boundary))
                for boundary in BOUNDARIES
                if line["samples_ns"].get(boundary)
            ],
        ),
        ("parity", _parity_rows(line["parity"])),
        ("accuracy", [*_rows(line["accuracy"]), *_rows(line.get("dataset"))]),
        ("seconds", _second_rows(line)),
        (
            "memory",
            [("peak resident", [_size(value) for value in line["memory"]["peak_rss_bytes"]])],
        ),
        ("attested", _rows(line["attested"])),
        ("artifact", _sized(artifact)),
        ("weights", _rows(weights)),
        ("model", _rows(model)),
        ("inputs", [*_rows(line["inputs"]), ("sha256", line["input_sha256"])]),
        ("environment", _sized(line["environment"])),
        ("run", [*_rows(line["run"]), ("time", line["time"]), ("reproduce", line["reproduce"])]),
        ("traceback", [("", line["traceback"])]),
    ]


def _rows(values: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return [(name.replace("_", " "), value) for name, value in (values or {}).items()]


def _sized(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return rows with units for values in bytes or seconds."""
    return [
        (name.removesuffix("_bytes").replace("_", " "), _with_unit(name, value))
        for name, value in values.items()
    ]


def _with_unit(name: str, value: Any) -> Any:
    from evenbench.reports import formatting

    if name.endswith("bytes") and isinstance(value, int):
        return formatting.size(value)
    return formatting.seconds(value) if name == "seconds" else value


def _calibration(line: Mapping[str, Any]) -> str:
    known = line.get("calibration")
    return f"{known['from']}, sha256 {known['sha256'][:16]}" if known else ""


def _latency(line: Record, boundary: str) -> str:
    from evenbench.reports import formatting, run_verdicts

    laps = [process for process in line["samples_ns"][boundary] if process]
    values = estimates.process_values(laps)
    if not values or min(values) <= 0:
        return "under the clock's resolution"
    estimate = run_verdicts.level(interleaving.sweeps_of(line, boundary))
    count = (
        formatting.count(sum(map(len, laps)), "lap")
        + " in "
        + formatting.count(len(laps), "process", "processes")
    )
    latency = formatting.with_interval(
        formatting.latency(estimate), formatting.latency_interval(estimate)
    )
    return f"{latency}, {count}, {', '.join(line['stability'][boundary])}"


def _parity_rows(parity: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    if not parity:
        return []
    plain = [
        (name, value)
        for name, value in _rows(parity)
        if name not in ("outputs", "artifact sha256", "input sha256")
    ]
    return plain + [
        (f"output {output['name']}", {k: v for k, v in output.items() if k != "name"})
        for output in parity["outputs"]
    ]


def _in_seconds(seconds: Sequence[float] | None) -> str:
    from evenbench.reports import formatting

    return ", ".join(map(formatting.seconds, seconds or ()))


def _second_rows(line: Record) -> list[tuple[str, Any]]:
    phases = [
        ("import", line["import_seconds"]),
        *((phase, line["phases_seconds"].get(phase)) for phase in PHASES),
    ]
    return [
        *((name.replace("_", " "), _in_seconds(seconds)) for name, seconds in phases),
        ("whole process", _in_seconds(line["process_seconds"])),
    ]


def _size(count: float) -> str:
    from evenbench.reports import formatting

    return formatting.size(count)


def show(sections: Iterable[Section], console: Console) -> None:
    """Print the filled sections with aligned names."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from evenbench.reports import formatting

    for heading, rows in sections:
        filled = [
            (name, value if isinstance(value, str) else formatting.plain(value))
            for name, value in rows
            if value not in (None, "", [], {})
        ]
        if not filled:
            continue
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=14, no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in filled:
            table.add_row(Text(name, style="dim"), Text(value))
        console.print(Text(heading, style="bold"), Padding(table, (0, 0, 1, 2), expand=False))
