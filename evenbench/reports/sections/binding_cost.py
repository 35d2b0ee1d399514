"""Cost of calling a runtime from Python, from C++ and through ctypes: native cells beside Python
cells.

The Python counterpart is found by recorded facts, not by name: the same run, group, runtime,
release and artifact, and threads with the same waiting. The remaining difference is the binding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.harness.core import thresholds
from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST, INNER_BOUNDARIES
from evenbench.harness.statistics import estimates
from evenbench.reports import formatting, result_groups, verdict
from evenbench.reports.result_groups import Result

DEVICE, NATIVE = INNER_BOUNDARIES
"""Boundaries of a second clock: of a device, and inside compiled code called from Python."""


@dataclass(frozen=True)
class BindingRow:
    """A native cell against its Python counterpart, as texts.

    A ratio above 1 means a faster native cell.
    """

    cell: str
    way: str
    counterpart: str
    latency: str
    python: str
    compute: str
    compute_interval: str
    tone: str
    host_to_host: str
    host_to_host_interval: str
    binding: str
    copies: str
    python_copies: str
    doubt: str
    """Why the ratio reflects the machine rather than the binding; empty for a normal run.

    A row in doubt has no verdict.
    """


def rows(members: Sequence[Result]) -> list[BindingRow]:
    """Return a row per correct native cell with a correct Python counterpart, in recorded order."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in members:
        if result.ranks:
            groups.setdefault((result.run, result.group), []).append(result)
    pairs = (
        (result, _counterpart(result, group))
        for group in groups.values()
        for result in group
        if is_native(result)
    )
    return [_row(result, other) for result, other in pairs if other]


def markdown(members: Sequence[Result]) -> str:
    """Return a Markdown table of the rows, by id of the cell; empty without rows.

    A doubtful ratio stands in brackets, with its reason.
    """
    listed = sorted(rows(members), key=lambda row: row.cell)
    if not listed:
        return ""
    reasons: list[str] = []
    lead = (
        "Speed-up over Python with the same library, artifact and bytes; "
        "above 1 the native cell is faster."
    )
    lines = ["### Called from C++ and through ctypes", "", lead, ""]
    lines += [
        "| cell | over | compute | host to host | binding per call |",
        "|---|---|---|---|---|",
    ]
    for row in listed:
        compute = f"{row.compute} ({row.compute_interval})"
        if row.doubt:
            reasons += [row.doubt] if row.doubt not in reasons else []
            compute = f"[{compute}] ({reasons.index(row.doubt) + 1})"
        whole = f"{row.host_to_host} ({row.host_to_host_interval})"
        lines.append(
            f"| `{row.cell}` | `{row.counterpart}` | {compute} | {whole} | {row.binding} |"
        )
    return "\n".join(
        [*lines, "", *(f"{number}. {words}" for number, words in enumerate(reasons, 1)), ""]
    )


def is_native(result: Result) -> bool:
    """Return whether our compiled code called the runtime: timed inside, and not by a device."""
    return bool(_costs(result)) and not result_groups.laps_of(result.record, DEVICE)


def cost(result: Result) -> str:
    """Return the cost of the binding as text; empty for a cell with a single clock."""
    costs = _costs(result)
    return formatting.duration(estimates.median(costs)) if costs else ""


def inside(result: Result) -> str:
    """Return the median lap by the inner clock; empty without an inner clock."""
    values = [
        value
        for name in INNER_BOUNDARIES
        for value in estimates.process_values(result_groups.laps_of(result.record, name))
    ]
    return formatting.duration(estimates.median(values)) if values else ""


def _costs(result: Result) -> list[float]:
    return [value for value in result.record.get("binding_ns") or [] if value is not None]


def _counterpart(native: Result, group: Sequence[Result]) -> Result | None:
    """The Python cell with most shared options.

    A cell with an option unknown to the native cell is configured differently, and not comparable.
    """
    options = native.cell.get("options") or {}
    same = [
        other
        for other in group
        if not is_native(other)
        and _identity(other) == _identity(native)
        and all(
            options.get(name) == value for name, value in (other.cell.get("options") or {}).items()
        )
    ]
    return max(same, key=lambda other: len(other.cell.get("options") or {}), default=None)


def _identity(result: Result) -> tuple[str, ...]:
    attested = result.record.get("attested") or {}
    # PyTorch and OpenVINO append the build to the release; a C++ program may not know the build.
    release = str(attested.get("version", "")).partition("+")[0].partition("-")[0]
    return (
        str(attested.get("runtime", "")),
        release,
        str(attested.get("spinning", "")),
        str(result.record.get("artifact_sha256", "")),
    )


def _row(native: Result, python: Result) -> BindingRow:
    compute, whole = (
        result_groups.ratio(python, native, boundary) for boundary in (COMPUTE, HOST_TO_HOST)
    )
    comparison = native.judged.comparison(python, native)
    doubt = _doubt((native, python))
    return BindingRow(
        cell=str(native.cell.get("id", "")),
        way="ctypes" if result_groups.laps_of(native.record, NATIVE) else "program",
        counterpart=python.name,
        latency=formatting.latency(native.compute),
        python=formatting.latency(python.compute),
        compute=formatting.ratio(compute),
        compute_interval=formatting.ratio_interval(compute),
        tone=verdict.UNKNOWN if doubt else verdict.tone_of(comparison, compute),
        host_to_host=formatting.ratio(whole),
        host_to_host_interval=formatting.ratio_interval(whole),
        binding=cost(native) or formatting.DASH,
        copies=_copies(native),
        python_copies=_copies(python),
        doubt=doubt,
    )


def _doubt(pair: Sequence[Result]) -> str:
    """Reasons to doubt a pair, as text.

    A waiting thread makes a cell many times slower if another process preempts its partner.
    """
    unsettled = [
        result.name
        for result in pair
        if set((result.record.get("stability") or {}).get(COMPUTE) or []) - {"stable"}
    ]
    contended = [
        result.name for result in pair if _foreign_cores(result) > thresholds.FOREIGN_CORES
    ]
    words = {"laps of {} did not settle": unsettled, "other processes ran beside {}": contended}
    return "; ".join(
        words_of.format(formatting.listing(names)) for words_of, names in words.items() if names
    )


def _foreign_cores(result: Result) -> float:
    """Cores used by other processes during the timed laps of a cell."""
    blocks = [
        block
        for taken in (result.record.get("blocks") or {}).values()
        for process in taken
        for block in process
    ]
    wall, own, everyone = (
        sum(int(block.get(name) or 0) for block in blocks)
        for name in ("wall_ns", "cpu_ns", "machine_cpu_ns")
    )
    return (everyone - own) / wall if wall else 0.0


def _copies(result: Result) -> str:
    """The cost of passing arrays: host to host minus compute; negative by noise."""
    compute, whole = result.compute, result.host_to_host
    if not compute or not whole or not (formatting.judged(compute) and formatting.judged(whole)):
        return formatting.DASH
    return formatting.duration(whole.value - compute.value)
