"""Operator profiles in files: a trace in Chrome's trace-event format per cell, for Perfetto.

`results/profiles/<cell>-<key>.trace.json` has the calls as complete events (`ph` X, times in µs)
and the facts of the profile under `otherData`. Format:
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.core import serialization

FOLDER = "profiles"
"""The folder in the results folder, and in the folder of a report."""

SUFFIX = ".trace.json"

SCHEMA = 1
"""Raised when a key under `otherData` changes its meaning."""

PROCESS = 1
"""The process id of all events: a trace has the calls of one process."""

NAME_CHARACTERS = 120
"""Characters of a cell's id in a file name, which may have 255 in all."""


@dataclass(frozen=True)
class OperatorTime:
    """Calls and time of an operator type; `self_ns` excludes calls within a call."""

    type: str
    calls: int
    self_ns: float


@dataclass(frozen=True)
class RecordedProfile:
    """A profile as read from a trace file: its facts, and the time by operator type, longest first.

    `in_operators_ns` is the time with at least one call; the rest of `inference_ns` passes between
    operators or in the caller.
    """

    file: Path
    facts: Mapping[str, Any]
    by_type: tuple[OperatorTime, ...]
    in_operators_ns: float

    @property
    def inference_ns(self) -> float:
        """The time of the profiled inference, profiler included."""
        return float(self.facts["inference_ns"])

    @property
    def total_ns(self) -> float:
        """The sum over operators, above the inference's time if calls run in parallel."""
        return sum(row.self_ns for row in self.by_type)


def file_name(cell: Mapping[str, Any]) -> str:
    """The name of a cell's trace file: the readable id, and the key against equal names."""
    readable = re.sub(r"[^\w.=-]+", "_", str(cell["id"]))[:NAME_CHARACTERS]
    return f"{readable}-{cell['key']}{SUFFIX}"


# -- writing ---------------------------------------------------------------------------------------


def trace(profile: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile (`OperatorProfile` as JSON) in the trace-event format.

    `facts` are the cell and its origin, for `otherData`.
    """
    calls = sorted(profile["calls"], key=lambda call: (call["begin_ns"], -call["duration_ns"]))
    start_ns = calls[0]["begin_ns"] if calls else 0.0
    tracks = {
        name: number
        for number, name in enumerate(dict.fromkeys(call["track"] for call in calls), 1)
    }
    events: list[dict[str, Any]] = [_named("process_name", 0, facts["cell"]["id"])]
    events += [_named("thread_name", number, name) for name, number in tracks.items()]
    events += [_event(call, start_ns, tracks) for call in calls]
    about = {name: profile[name] for name in ("profiler", "inference_ns", "note")}
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"evenbench_profile": SCHEMA, **facts, **about},
    }


def _named(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": track, "args": {"name": name}}


def _event(call: Mapping[str, Any], start_ns: float, tracks: Mapping[str, int]) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": call["name"] or call["type"],
        "cat": call["type"],
        "pid": PROCESS,
        "tid": tracks[call["track"]],
        "ts": round((call["begin_ns"] - start_ns) / 1000, 3),
        "dur": round(call["duration_ns"] / 1000, 3),
        "args": {"type": call["type"], **call["details"]},
    }


def write(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write a trace into `folder`, in place of an older trace of the cell; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name(content["otherData"]["cell"])
    stage = file.with_name(f"{file.name}.new")
    stage.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    stage.replace(file)
    return file


# -- reading ---------------------------------------------------------------------------------------


def read(folders: Iterable[Path]) -> tuple[dict[str, RecordedProfile], list[str]]:
    """Return the profiles under results folders by cell key, and notes about unreadable files.

    The newest profile of a cell counts.
    """
    newest: dict[str, RecordedProfile] = {}
    notes = []
    for file in sorted(file for folder in folders for file in (folder / FOLDER).glob(f"*{SUFFIX}")):
        try:
            profile = parse(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            notes.append(f"{file.name}: no operator profile of evenbench, left out")
            continue
        key = str(profile.facts["cell"]["key"])
        if key not in newest or newest[key].facts["time"] < profile.facts["time"]:
            newest[key] = profile
    return newest, notes


def parse(file: Path) -> RecordedProfile:
    """Read a trace file. Raises ValueError, KeyError or TypeError for other files."""
    content = serialization.parsed(file.read_bytes())
    facts = content["otherData"]
    if facts["evenbench_profile"] != SCHEMA:
        raise ValueError(f"profile {facts['evenbench_profile']}, expected {SCHEMA}")
    events = [event for event in content["traceEvents"] if event["ph"] == "X"]
    for name in ("time", "profiler", "note", "artifact_sha256"):
        if not isinstance(facts[name], str):
            raise TypeError(f"{name} is text")
    spans = [(float(event["ts"]), float(event["ts"] + event["dur"])) for event in events]
    float(facts["inference_ns"]), facts["cell"]["key"], facts["cell"]["id"]
    return RecordedProfile(file, facts, by_type(events), _covered(spans) * 1000)


def by_type(events: Sequence[Mapping[str, Any]]) -> tuple[OperatorTime, ...]:
    """Sum the calls of complete events (times in µs) by operator type, longest first.

    A call within a call of the same track counts for its own type alone.
    """
    counts: dict[str, int] = {}
    spent: dict[str, float] = {}
    tracks: dict[Any, list[Mapping[str, Any]]] = {}
    for event in events:
        tracks.setdefault(event["tid"], []).append(event)
    for calls in tracks.values():
        above: list[tuple[float, str]] = []
        for call in sorted(calls, key=lambda call: (call["ts"], -call["dur"])):
            begin, end, kind = call["ts"], call["ts"] + call["dur"], str(call["cat"])
            while above and above[-1][0] <= begin:
                above.pop()
            if above:
                outer_end, outer = above[-1]
                spent[outer] -= min(end, outer_end) - begin
            counts[kind] = counts.get(kind, 0) + 1
            spent[kind] = spent.get(kind, 0.0) + call["dur"]
            above.append((end, kind))
    rows = [OperatorTime(kind, counts[kind], max(0.0, spent[kind]) * 1000) for kind in counts]
    return tuple(sorted(rows, key=lambda row: (-row.self_ns, row.type)))


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered
