"""Tables of all cells: outcomes, phases, parity and hashes.

A measured value is a pair of its text and the number for sorting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting, recommendation, result_groups, verdict
from evenbench.reports.cell_texts import parity_text, reason
from evenbench.reports.result_groups import Group, Result
from evenbench.reports.sections import task_agreement
from evenbench.reports.sections.tables import (
    CODE,
    HIDDEN,
    IDENTITY,
    INDEX,
    LIMITS,
    MEASURE,
    OUTCOME,
    WORDS,
    Column,
    Table,
    identity,
    in_order,
    indexed,
    measure,
    typical_ns,
)


def matrix(groups: Sequence[Group]) -> Table:
    """Return the table of outcomes and reasons, a row per cell."""
    columns = (
        *IDENTITY,
        Column("Outcome", OUTCOME),
        Column(
            "Compute",
            MEASURE,
            "one inference, inputs already bound; typical lap, robust level over processes",
        ),
        Column("Host to host", MEASURE, "inputs in, one inference, outputs out"),
        Column("Per second", MEASURE, "inferences of one caller: batch over compute"),
        Column(
            "Speed-up",
            MEASURE,
            f"over {result_groups.BASELINE}, same run and group, compute with compute",
        ),
        Column("Parity", MEASURE, "tolerance needed / allowed; above 1 the output is wrong"),
        Column("Reason"),
        Column("Precision", HIDDEN),
        Column(
            "Limits",
            LIMITS,
            "exceeded limits; within all limits, faster cells not told apart",
        ),
        *INDEX,
    )
    return Table(
        "matrix", "Every cell, its outcome and the reason", columns, list(_matrix_rows(groups))
    )


def phases(groups: Sequence[Group]) -> Table:
    """Return the table of times per phase and of peak memory."""
    names = (
        "Cold start",
        "Import",
        "Load",
        "Compile",
        "First step",
        "Prepare",
        "Warm-up",
        "Sample",
        "Parity check",
    )
    helps = {
        "Cold start": "import + load + compile + first step",
        "Prepare": "export, convert, compile; cached results took no time",
    }
    measures = tuple(Column(name, MEASURE, helps.get(name, "")) for name in names)
    columns = (
        *IDENTITY,
        *measures,
        Column("Peak memory", MEASURE, "resident set, largest process"),
        *INDEX,
    )
    return Table("phases", "Phases of every loaded cell", columns, list(_phase_rows(groups)))


def parity(groups: Sequence[Group]) -> Table:
    """Return the table of errors against the golden."""
    columns = (
        *IDENTITY,
        Column("Answer", OUTCOME),
        Column("Needed / allowed", MEASURE, "tolerance needed over allowed"),
        Column("Largest error", MEASURE, "largest absolute difference of any output"),
        Column("RMSE", MEASURE, "root mean square error of the worst output"),
        Column("Cosine", MEASURE, "smallest cosine similarity of any output"),
        Column(
            "Agreement",
            MEASURE,
            "by task: best classes, mean IoU, lowest cosine, matched objects; for information only",
        ),
        Column("Accuracy", MEASURE, "on held-out data, if the model has any"),
        Column("Remark on the answer"),
        *INDEX,
    )
    return Table(
        "parity",
        "Parity of every compared cell with its golden",
        columns,
        list(_parity_rows(groups)),
    )


def hashes(groups: Sequence[Group]) -> Table:
    """Return the table of artifacts, inputs, versions and commands."""
    columns = (
        *IDENTITY,
        Column("Artifact", MEASURE, "bytes loaded by the runtime"),
        Column("Artifact sha256", CODE),
        Column("Input sha256", CODE),
        Column("Runtime", WORDS, "as attested by the runtime"),
        Column("Reproduce", CODE),
        *INDEX,
    )
    return Table(
        "hashes",
        "Hashes, versions and the command for every cell",
        columns,
        list(_hash_rows(groups)),
    )


def _matrix_rows(groups: Sequence[Group]) -> Iterator[list[Any]]:
    limits = recommendation.page_values(result for group in groups for result in group.results)
    index_of = {id(result): index for index, _, result in in_order(groups)}
    for index, group, result in in_order(groups):
        speedup = group.speedup(result)
        compute = formatting.with_interval(
            formatting.latency(result.compute, typical_ns(group)),
            formatting.latency_interval(result.compute, typical_ns(group)),
        )
        faster = formatting.with_interval(*verdict.speedup_texts(group, result))
        *known, tied = limits[id(result)]
        yield [
            *identity(group, result),
            result.outcome,
            measure(compute, _sorted_by(result.compute)),
            measure(
                formatting.latency(result.host_to_host, typical_ns(group)),
                _sorted_by(result.host_to_host),
            ),
            _throughput(result),
            measure(faster, _sorted_by(speedup)),
            measure(parity_text(result), (result.record.get("parity") or {}).get("needed")),
            reason(group, result),
            str(result.cell.get("precision", "")),
            [*known, [index_of[identifier] for identifier in tied]],
            *indexed(index, result),
        ]


def _throughput(result: Result) -> list[Any]:
    level = _sorted_by(result.compute)
    if level is None:
        return measure(formatting.DASH, None)
    rate = int(result.cell.get("batch") or 1) * 1e9 / level
    return measure(formatting.number(float(f"{rate:.3g}")), rate)


def _sorted_by(estimate: Estimate | None) -> float | None:
    """The number for sorting; None for an estimate that is not judged."""
    return estimate.value if estimate and formatting.judged(estimate) else None


def _phase_rows(groups: Sequence[Group]) -> Iterator[list[Any]]:
    for index, group, result in in_order(groups):
        record = result.record
        cold = result.cold_start_seconds
        if cold is None:
            continue
        names = (
            "import",
            "load",
            "compile",
            "first_step",
            "prepare",
            "warm_up",
            "sample",
            "parity",
        )
        taken = [cold, *(result.seconds(name) for name in names)]
        cells = [measure(formatting.seconds(seconds), seconds) for seconds in taken]
        if (record.get("prepare") or {}).get("cached"):
            cells[5] = ["cached", (record.get("prepare") or {}).get("seconds")]
        peak = max((record.get("memory") or {}).get("peak_rss_bytes") or [], default=None)
        yield [
            *identity(group, result),
            *cells,
            measure(formatting.size(peak), peak),
            *indexed(index, result),
        ]


def _parity_rows(groups: Sequence[Group]) -> Iterator[list[Any]]:
    for index, group, result in in_order(groups):
        parity = result.record.get("parity")
        if parity:
            yield [
                *identity(group, result),
                str(parity.get("verdict", "")),
                measure(parity_text(result), parity.get("needed")),
                _worst(parity, "max_abs", max),
                _worst(parity, "rmse", max),
                _worst(parity, "cosine", min, digits=6),
                measure(*task_agreement.lead(result.record)),
                _accuracy(result),
                str(parity.get("reason") or ""),
                *indexed(index, result),
            ]


def _worst(parity: result_groups.Record, key: str, pick: Any, digits: int = 2) -> list[Any]:
    known = [output[key] for output in parity.get("outputs") or [] if output.get(key) is not None]
    value = pick(known) if known else None
    return measure(formatting.number(value, digits), value)


def _accuracy(result: Result) -> list[Any]:
    accuracy = result.record.get("accuracy") or {}
    value = accuracy.get("value")
    if value is None:
        return measure(formatting.DASH, None)
    return measure(
        f"{formatting.number(value)} ({accuracy.get('metric', '')} of {accuracy.get('count', '')})",
        value,
    )


def _hash_rows(groups: Sequence[Group]) -> Iterator[list[Any]]:
    for index, group, result in in_order(groups):
        record = result.record
        size_bytes = (record.get("artifact") or {}).get("bytes")
        attested = record.get("attested") or {}
        yield [
            *identity(group, result),
            measure(formatting.size(size_bytes), size_bytes),
            str(record.get("artifact_sha256") or formatting.DASH),
            str(record.get("input_sha256") or formatting.DASH),
            f"{attested.get('runtime', '')} {attested.get('version', '')}".strip()
            or formatting.DASH,
            str(record.get("reproduce") or formatting.DASH),
            *indexed(index, result),
        ]
