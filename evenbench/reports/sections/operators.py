"""Time by operator, as profiled by the runtimes: a table per cell, and the trace's address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from evenbench.harness.results.operator_profiles import FOLDER, OperatorTime, RecordedProfile
from evenbench.reports import formatting
from evenbench.reports.result_groups import Record, Result

FIELD = "operator_profile"
"""Added to outcomes on the page only; recorded in trace files."""

TYPES_SHOWN = 12
"""Operator types with a row of their own; a last row sums the others."""

TYPES_NAMED = 3
"""Operator types named in the row of a cell."""


@dataclass(frozen=True)
class OperatorRow:
    """A type of operators with calls, time and share of the time in operators, as text."""

    type: str
    calls: str
    time: str
    share: str


@dataclass(frozen=True)
class ProfileRow:
    """A profiled cell: the longest operator types, and the address of the trace."""

    model: str
    runtime: str
    cell: str
    inference: str
    outside: str
    longest: str
    trace: str


def attached(
    lines: Sequence[Record], profiles: Mapping[str, RecordedProfile]
) -> tuple[list[Record], list[str]]:
    """Return outcomes with profiles attached, and notes about skipped profiles.

    A profile of an artifact other than the measured one says nothing about the outcome.
    """
    shown: list[Record] = []
    others: list[str] = []
    for line in lines:
        profile = profiles.get(str(line["cell"]["key"]))
        if profile and profile.facts["artifact_sha256"] == line.get("artifact_sha256"):
            shown.append({**line, FIELD: profile})
        else:
            shown.append(line)
            others += [str(line["cell"]["id"])] if profile else []
    notes = (
        [
            f"{formatting.count(len(others), 'operator profile')} left out, of another artifact "
            f"than was measured: {', '.join(others[:3])}; `evenbench profile` takes a new one"
        ]
        if others
        else []
    )
    return shown, notes


def files(results: Iterable[Record]) -> list[RecordedProfile]:
    """The profiles on the page; their files go beside the page."""
    return [line[FIELD] for line in results if FIELD in line]


def rows(profile: RecordedProfile) -> list[OperatorRow]:
    """The operator types of a profile, longest first."""
    total_ns = profile.total_ns
    shown, rest = profile.by_type[:TYPES_SHOWN], profile.by_type[TYPES_SHOWN:]
    listed = [*shown]
    if rest:
        listed.append(
            OperatorTime(
                formatting.count(len(rest), "other type"),
                sum(row.calls for row in rest),
                sum(row.self_ns for row in rest),
            )
        )
    return [
        OperatorRow(
            row.type,
            str(row.calls),
            formatting.duration(row.self_ns),
            _share(row.self_ns, total_ns),
        )
        for row in listed
    ]


def sentences(profile: RecordedProfile) -> list[str]:
    """The profiler, the time in operators, and the limits of the times."""
    return [
        f"One inference by {profile.facts['profiler']}: "
        f"{formatting.duration(profile.inference_ns)} under the profiler, of which "
        f"{formatting.duration(profile.in_operators_ns)} in operators. Never a timed lap.",
        f"{profile.facts['note']}." if profile.facts["note"] else "",
    ]


def page_rows(results: Iterable[Result]) -> list[ProfileRow]:
    """A row per profiled cell, in the order of the results."""
    return [
        _page_row(result, profile)
        for result in results
        if (profile := result.record.get(FIELD)) is not None
    ]


def described(record: Record) -> dict[str, Any] | None:
    """The profile of a cell for the dialog, as JSON; None without a profile."""
    profile = record.get(FIELD)
    if profile is None:
        return None
    return {
        "rows": [list(asdict(row).values()) for row in rows(profile)],
        "words": " ".join(filter(None, sentences(profile))),
        "trace": address(profile),
    }


def address(profile: RecordedProfile) -> str:
    """The address of the trace, relative to the page."""
    return f"./{FOLDER}/{quote(profile.file.name)}"


def _page_row(result: Result, profile: RecordedProfile) -> ProfileRow:
    outside_ns = max(0.0, profile.inference_ns - profile.in_operators_ns)
    total_ns = profile.total_ns
    longest = ", ".join(
        f"{row.type} {_share(row.self_ns, total_ns)}" for row in profile.by_type[:TYPES_NAMED]
    )
    return ProfileRow(
        str(result.cell["model"]),
        result.name,
        str(result.cell["id"]),
        formatting.duration(profile.inference_ns),
        _share(outside_ns, profile.inference_ns),
        longest,
        address(profile),
    )


def _share(part_ns: float, whole_ns: float) -> str:
    """A share in percent, rounded: no limit, so unlike `formatting.percent`."""
    if not whole_ns:
        return formatting.DASH
    share = 100 * part_ns / whole_ns
    return f"{share:.{0 if share >= 9.95 else 1}f}{formatting.SPACE}%"
