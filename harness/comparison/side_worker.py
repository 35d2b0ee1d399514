"""One side of a paired comparison: a process that loads one cell, and then takes laps whenever it
is told to.

`python -m harness.comparison.side_worker --reply FD` reads JSON lines from standard input and
answers each with one JSON line. The first says which cell (`Spec`), chosen by the same words as on
a command line, so that a side of another commit finds the cell in that commit's own declarations.
Then it either prepares the cell or measures it: `{"do": "sample", "number": n}` takes one untimed
lap and n timed ones, `{"do": "finish"}` judges the outputs and ends.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.collection import discovery, selection
from harness.core import registry
from harness.core.cases import Entry
from harness.core.errors import UsageError
from harness.core.plans import Plan
from harness.core.types import Cell, to_json
from harness.runner import preparation
from harness.runner.job import Channel


@dataclass(frozen=True)
class Change:
    """What this side has instead of the declaration: another backend, or other options of it. None
    leaves it alone.
    """

    backend: str = ""
    options: tuple[tuple[str, Any], ...] | None = None

    def of(self, cell: Cell) -> Cell:
        """The cell with the change made."""
        options = cell.options if self.options is None else self.options
        return dataclasses.replace(cell, backend=self.backend or cell.backend, options=options)


@dataclass(frozen=True)
class Spec:
    """Which cell a process is for, in words that another commit understands. `cell` is the declared
    id, before the change.
    """

    words: tuple[str, ...]
    cell: str
    change: Change
    plan: Plan
    sys_path: tuple[str, ...]
    task: str = "prepare"
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, line: bytes) -> Spec:
        """From the JSON line that `written` made. What a later commit's parent says more than is
        known here is left alone.
        """
        told = json.loads(line)
        found = _known(cls, told)
        options = told["change"]["options"]
        change = Change(
            told["change"]["backend"],
            None if options is None else tuple((name, value) for name, value in options),
        )
        rest = {name: tuple(told[name]) for name in ("words", "sys_path")}
        return cls(
            **{**found, **rest, "change": change, "plan": Plan(**_known(Plan, told["plan"]))}
        )

    def written(self) -> bytes:
        """One JSON line."""
        return json.dumps(to_json(self)).encode() + b"\n"


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def chosen(words: Sequence[str]) -> dict[str, Cell]:
    """The cells that targets and flags name, by id, in order."""
    return {name: entry.cell for name, entry in _entries(words).items()}


def _entries(words: Sequence[str]) -> dict[str, Entry]:
    parser = argparse.ArgumentParser(prog="evenbench compare", allow_abbrev=False)
    selection.add_arguments(parser)
    return {entry.cell.id: entry for entry in selection.select(parser.parse_args(list(words)))}


def places(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Where each of those cells is declared: `{"file": ..., "line": ...}`, the file relative to the
    working folder.

    The line is None where it cannot be told; a model that was named on the command line is its own
    place.
    """
    cases = {name: entry.case for name, entry in _entries(words).items()}
    found = {case: _place(case) for case in set(cases.values())}
    return {name: found[case] for name, case in cases.items()}


def _place(case: str) -> dict[str, Any]:
    file, _, name = case.partition("::")
    return {"file": file, "line": discovery.line_of(Path(file), name) if name else None}


def cell_of(spec: Spec) -> Cell:
    """The cell in this process's own declarations. Raises UsageError where they have none of that
    id.
    """
    cells = chosen(spec.words)
    if spec.cell not in cells:
        raise UsageError(
            f"{spec.cell} is not declared here; the two sides must declare the same cell"
        )
    return spec.change.of(cells[spec.cell])


def prepare(spec: Spec) -> dict[str, Any]:
    """Everything the measuring process reads, made or found in the store."""
    cell = cell_of(spec)
    prepared = preparation.Preparer(spec.plan.timeout_seconds).prepare(cell)
    return {
        "id": cell.id,
        "described": cell.described(),
        "threads": cell.threads,
        "folders": prepared.folders(),
        "interpreter": preparation.interpreter_for(cell),
        "variables": dict(registry.find(cell.backend).variables(cell)),
        "artifact_bytes": prepared.artifact.bytes,
        "artifact_sha256": prepared.artifact.sha256,
        "input_sha256": prepared.inputs.facts["sha256"],
    }


def serve(spec: Spec, channel: Channel) -> dict[str, Any]:
    """Keep the cell resident, take laps as the parent asks, and judge its outputs at the end."""
    from harness.measurement import provenance
    from harness.measurement.resident import resident

    cell = cell_of(spec)
    folders = {name: Path(path) for name, path in spec.folders.items()}
    with resident(cell, spec.plan, folders) as loaded:
        loaded.warm_up()
        channel.tell({"ready": True})
        for command in channel.commands():
            channel.tell(loaded.take_laps(command["number"]))
        peak = provenance.peak_rss_bytes(loaded.session)
        loaded.keep_outputs()
        attested = loaded.session.attest()
        judged = loaded.judged()
    return {
        **judged,
        "cold_start_seconds": loaded.cold_start_seconds,
        "peak_rss_bytes": peak,
        "attested": to_json(attested),
        "asked_is_used": provenance.difference(cell, attested),
    }


def answer(spec: Spec, channel: Channel) -> dict[str, Any]:
    """The task's last reply: its value, or the error as text."""
    try:
        if spec.task == "cells":
            return {"value": places(spec.words)}
        return {"value": prepare(spec) if spec.task == "prepare" else serve(spec, channel)}
    except selection.NoCells as error:
        return {"value": {}} if spec.task == "cells" else {"error": str(error)}
    except preparation.Refusal as refusal:
        return {
            "error": f"{refusal.reply.outcome}: {refusal.reply.reason}",
            "traceback": refusal.reply.traceback,
        }
    except Exception as error:
        cause = getattr(error, "error", error)
        words = str(cause) if isinstance(cause, UsageError) else f"{type(cause).__name__}: {cause}"
        return {"error": words, "traceback": "".join(traceback.format_exception(cause))[-3000:]}


def main(arguments: Sequence[str] | None = None) -> None:
    """The process's own entry; standard output and error are a log."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.comparison.side_worker", description=__doc__
    )
    parser.add_argument("--reply", type=int, required=True, help="file descriptor to answer on")
    reply = parser.parse_args(arguments).reply
    from harness.runner import child_process

    child_process.die_with_parent()
    spec = Spec.read(sys.stdin.buffer.readline())
    child_process.share_path(spec.sys_path)
    with os.fdopen(reply, "wb") as pipe:
        channel = Channel(pipe, sys.stdin.buffer)
        channel.tell(to_json(answer(spec, channel)))
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has already given its answer


if __name__ == "__main__":
    main()
