"""Recorded cells as a table: a row per cell, documented columns, and files in other formats."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import UsageError
from evenbench.reports import formatting, result_groups, verdict
from evenbench.reports.result_groups import Group, Record, Result

if TYPE_CHECKING:
    from evenbench.harness.statistics.estimates import Estimate

MS = 1e6
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True)
class Column:
    """A column of the table: its name, the unit (empty for text), and its meaning."""

    name: str
    unit: str
    meaning: str
    value: Callable[[Group, Result], Any]


def _recorded(*path: str) -> Callable[[Group, Result], Any]:
    """Read nested keys of the record; None where a key is absent."""

    def value(group: Group, result: Result) -> Any:
        place: Any = result.record
        for key in path:
            place = place.get(key) if isinstance(place, Mapping) else None
        return place

    return value


def _of_cell(key: str) -> Callable[[Group, Result], Any]:
    return lambda group, result: result.cell.get(key)


def _compute(group: Group, result: Result) -> Estimate | None:
    return result.compute


def _host_to_host(group: Group, result: Result) -> Estimate | None:
    return result.host_to_host


def _speedup(group: Group, result: Result) -> Estimate | None:
    return group.speedup(result)


def _estimated(
    estimate: Callable[[Group, Result], Estimate | None], part: str, scale: float = 1.0
) -> Callable[[Group, Result], float | None]:
    """A part of an estimate (`value`, `low`, `high`), divided by `scale`."""

    def value(group: Group, result: Result) -> float | None:
        known = estimate(group, result)
        number: float | None = getattr(known, part) if known else None
        return None if number is None else number / scale

    return value


def _interval(
    name: str,
    unit: str,
    meaning: str,
    estimate: Callable[[Group, Result], Estimate | None],
    scale: float = 1.0,
) -> tuple[Column, ...]:
    """Three columns: an estimate and the limits of its 95 % interval."""
    suffix = f"_{unit}" if unit else ""
    return (
        Column(f"{name}{suffix}", unit, meaning, _estimated(estimate, "value", scale)),
        Column(f"{name}_low{suffix}", unit, "lower 95 % limit", _estimated(estimate, "low", scale)),
        Column(
            f"{name}_high{suffix}", unit, "upper 95 % limit", _estimated(estimate, "high", scale)
        ),
    )


def _cold_start(group: Group, result: Result) -> float | None:
    return result.cold_start_seconds


def _throughput(group: Group, result: Result) -> float | None:
    if result.compute is None or not result.compute.value:
        return None
    return float(result.cell.get("batch") or 1) * 1e9 / result.compute.value


def _standing(group: Group, result: Result) -> str:
    return verdict.stand(group, result) if result.ranks else ""


def _may_be_fastest(group: Group, result: Result) -> bool:
    return any(result is one for one in group.fastest)


def _peak_memory(group: Group, result: Result) -> int | None:
    recorded = (result.record.get("memory") or {}).get("peak_rss_bytes") or []
    return max(recorded, default=None)


def _options(group: Group, result: Result) -> str:
    options = result.cell.get("options") or {}
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _joined(key: str) -> Callable[[Group, Result], str]:
    return lambda group, result: "; ".join(map(str, result.record.get(key) or []))


COLUMNS: tuple[Column, ...] = (
    Column("run", "", "id of the run", _recorded("run", "id")),
    Column("time", "", "end of the cell, in UTC", _recorded("time")),
    Column("commit", "", "commit of the sources", _recorded("environment", "commit")),
    Column("cell", "", "id of the cell", _of_cell("id")),
    Column("model", "", "name of the model", _of_cell("model")),
    Column("backend", "", "name of the backend", _of_cell("backend")),
    Column("options", "", "options of the backend", _options),
    Column("precision", "", "precision asked for", _of_cell("precision")),
    Column("device", "", "device asked for", _of_cell("device")),
    Column("batch", "samples", "samples per inference", _of_cell("batch")),
    Column("threads", "threads", "threads asked for", _of_cell("threads")),
    Column("outcome", "", "`ok`, or the kind of failure", _recorded("outcome")),
    Column("reason", "", "cause of an outcome other than `ok`", _recorded("reason")),
    *_interval("compute", "ms", "latency, inputs in place", _compute, MS),
    *_interval("host_to_host", "ms", "latency with copies in and out", _host_to_host, MS),
    Column("throughput", "samples/s", "batch over compute latency", _throughput),
    *_interval("speedup", "", "speed-up over torch eager of the group, as a ratio", _speedup),
    Column("verdict", "", "corrected comparison with torch eager", _standing),
    Column("may_be_fastest", "", "whether the cell may be its group's fastest", _may_be_fastest),
    Column("parity_needed", "", "tolerance needed; 1 is the limit", _recorded("parity", "needed")),
    Column("cold_start_s", "s", "import, load, compile and first step", _cold_start),
    Column("peak_memory_bytes", "bytes", "peak resident memory of a process", _peak_memory),
    Column("artifact_bytes", "bytes", "size of the artifact", _recorded("artifact", "bytes")),
    Column("warnings", "", "disturbances of the numbers", _joined("warnings")),
    Column("reproduce", "", "command that measures the cell again", _recorded("reproduce")),
)
"""The columns, in order. Numbers are None for a cell without the measurement."""


class Table:
    """Cells as rows. Missing pandas or pyarrow is a UsageError with the command to install it."""

    def __init__(self, lines: Iterable[Record], notes: Iterable[str] = ()) -> None:
        self.lines = tuple(lines)
        self.notes = tuple(notes)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A dict per cell, by the names of `COLUMNS`; fastest first within a group."""
        return [
            {column.name: column.value(group, result) for column in COLUMNS}
            for group in result_groups.groups(result_groups.results(self.lines))
            for result in (*group.ranked, *group.unranked)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row per cell."""
        pandas = imported("pandas")
        return pandas.DataFrame(self.rows, columns=[column.name for column in COLUMNS])

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` with a row per cell."""
        pyarrow = imported("pyarrow")
        return pyarrow.Table.from_pylist(self.rows) if self.rows else pyarrow.table({})

    def to_csv(self) -> str:
        """Comma-separated values with a header; an empty field for None."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [column.name for column in COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def write_parquet(self, file: Path) -> None:
        """Write a Parquet file."""
        imported("pyarrow")
        from pyarrow import parquet

        parquet.write_table(self.to_arrow(), file)

    def __repr__(self) -> str:
        outcomes = [row["outcome"] for row in self.rows]
        counts = {name: outcomes.count(name) for name in dict.fromkeys(outcomes)}
        words = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no cells"
        return f"<{type(self).__module__}.{type(self).__name__}: {words}>"

    def _repr_html_(self) -> str:
        """The table of a notebook, a row per cell."""
        from evenbench.reports.pages import templates

        return templates.template("notebook.html.j2").render(rows=shown(self.lines), caption="")


def shown(lines: Iterable[Record]) -> list[dict[str, str]]:
    """The texts of a notebook's table: cell, outcome, latency, speed-up, verdict, reason."""
    return [
        {
            "cell": str(result.cell.get("id", "")),
            "outcome": result.outcome,
            "compute latency": formatting.with_interval(
                formatting.latency(result.compute), formatting.latency_interval(result.compute)
            ),
            "speed-up": formatting.with_interval(*verdict.speedup_texts(group, result)),
            "verdict": _standing(group, result),
            "reason": str(result.record.get("reason") or ""),
        }
        for group in result_groups.groups(result_groups.results(lines))
        for result in (*group.ranked, *group.unranked)
    ]


def imported(name: str) -> Any:
    """Import an optional library. Raises UsageError with the command to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"{name} is not installed; pip install {name}, or use `rows`, a list of dicts"
        ) from None
