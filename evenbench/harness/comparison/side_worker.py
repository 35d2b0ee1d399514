"""The process of a side in a paired comparison: loads a cell, then takes laps on command.

`python -m evenbench.harness.comparison.side_worker --reply FD` reads JSON lines from standard input
and replies with JSON lines. The first line is a `Spec`. The words of a command line select the
cell, so a worker in a checked-out commit uses the declarations of the checked-out commit.
`Spec.task` is `cells` (list the places of declarations), `prepare`, `measure` or `turns`. For
`measure`, `{"do": "sample", "number": n}` takes an untimed lap and n timed laps; for `turns`, the
commands are those of `evenbench run`. The end of the input, or `{"do": "finish"}`, judges the
outputs.
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

from evenbench.harness.collection import discovery, selection, selection_flags
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell, to_json
from evenbench.harness.runner import child_process
from evenbench.harness.runner.interpreters import interpreter_for
from evenbench.harness.runner.job import Channel
from evenbench.harness.runner.module_origins import Origin
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal


@dataclass(frozen=True)
class Change:
    """A side's change to a declared cell: another backend, or other options unless None."""

    backend: str = ""
    options: tuple[tuple[str, Any], ...] | None = None

    def of(self, cell: Cell) -> Cell:
        """The changed cell."""
        options = cell.options if self.options is None else self.options
        return dataclasses.replace(cell, backend=self.backend or cell.backend, options=options)


@dataclass(frozen=True)
class Spec:
    """A process's cell and task, in terms that other commits understand.

    `cell` is the declared id, before the change.
    """

    words: tuple[str, ...]
    cell: str
    change: Change
    plan: Plan
    sys_path: tuple[str, ...]
    task: str = "prepare"
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    origin: Origin | None = None

    @classmethod
    def read(cls, line: bytes) -> Spec:
        """Read a line of `written`. Unknown fields of a later commit are ignored."""
        message = json.loads(line)
        options = message["change"]["options"]
        origin = message.get("origin")
        # JSON has no infinity: null, and a missing limit, stand for the default.
        limits = {name: value for name, value in message["plan"].items() if value is not None}
        converted = {
            "change": Change(
                message["change"]["backend"],
                None if options is None else tuple((name, value) for name, value in options),
            ),
            "plan": Plan(**_known(Plan, limits)),
            "origin": Origin(**_known(Origin, origin)) if origin else None,
            **{name: tuple(message[name]) for name in ("words", "sys_path")},
        }
        return cls(**{**_known(cls, message), **converted})

    def written(self) -> bytes:
        """The specification as a JSON line."""
        return json.dumps(to_json(self)).encode() + b"\n"


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def chosen(words: Sequence[str]) -> dict[str, Cell]:
    """The cells selected by targets and flags, by id, in order."""
    return {name: entry.cell for name, entry in _entries(words).items()}


def _entries(words: Sequence[str]) -> dict[str, Entry]:
    return {entry.cell.id: entry for entry in selection.select(selection_flags.parsed(words))}


def places(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The place of each selected cell's declaration: `{"file": ..., "line": ...}`.

    The file is relative to the working folder; an unknown line is None. For a model on the command
    line, the file is the model.
    """
    cases = {name: entry.case for name, entry in _entries(words).items()}
    by_case = {case: _place(case) for case in set(cases.values())}
    return {name: by_case[case] for name, case in cases.items()}


def _place(case: str) -> dict[str, Any]:
    file, _, name = case.partition("::")
    return {"file": file, "line": discovery.line_of(Path(file), name) if name else None}


def cell_of(spec: Spec) -> Cell:
    """The changed cell of this process's declarations. Raises UsageError for an unknown id."""
    cells = chosen(spec.words)
    if spec.cell not in cells:
        raise UsageError(f"{spec.cell} is not declared here; both sides must declare the same cell")
    return spec.change.of(cells[spec.cell])


def prepare(spec: Spec) -> dict[str, Any]:
    """Prepare the cell; returns the facts and folders for the measuring process."""
    cell = cell_of(spec)
    preparer = Preparer(spec.plan.timeout_seconds, origin=spec.origin)
    prepared = preparer.prepare(cell)
    return {
        "id": cell.id,
        "described": cell.described(),
        "threads": cell.threads,
        "folders": prepared.folders(),
        "interpreter": interpreter_for(cell),
        "variables": dict(registry.find(cell.backend).variables(cell)),
        "artifact_bytes": prepared.artifact.bytes,
        "artifact_sha256": prepared.artifact.sha256,
        "input_sha256": prepared.inputs.facts["sha256"],
        "prepared": to_json(prepared),
        "origins": preparer.origins,
    }


ENDS = (
    *("accuracy", "parity", "cold_start_seconds", "peak_rss_bytes"),
    *("attested", "asked_is_used"),
)
"""The keys of a process's record that a paired comparison reads."""


def take_samples(spec: Spec, channel: Channel) -> dict[str, Any]:
    """Keep the cell resident, take samples on command, and judge the outputs at the end."""
    from evenbench.harness.measurement import resident

    commands, tell = channel.commands(), channel.tell
    # Without phases: an older commit takes each message for an answer.
    value = resident.run(cell_of(spec), spec.plan, _folders(spec), commands=commands, tell=tell)
    return {name: value[name] for name in ENDS}


def take_turns(spec: Spec, channel: Channel) -> dict[str, Any]:
    """Keep the cell resident and take turns on command; returns the record of the process."""
    from evenbench.harness.measurement import resident

    commands, tell = channel.commands(), channel.tell
    folders = _folders(spec)
    return resident.run(
        cell_of(spec), spec.plan, folders, channel.enter, commands=commands, tell=tell
    )


def _folders(spec: Spec) -> dict[str, Path]:
    return {name: Path(path) for name, path in spec.folders.items()}


TASKS = {"prepare": lambda spec, _: prepare(spec), "measure": take_samples, "turns": take_turns}
"""The tasks for a cell, by the name in `Spec.task`."""


def reply_to(spec: Spec, channel: Channel) -> dict[str, Any]:
    """The final reply of the task: the value, or the error as text."""
    try:
        value = places(spec.words) if spec.task == "cells" else TASKS[spec.task](spec, channel)
        origins = spec.origin.check() if spec.origin else {}
        if spec.task != "cells":
            value["origins"] = {**value.get("origins", {}), **origins}
        return {"value": value}
    except selection.NoCells as error:
        return {"value": {}} if spec.task == "cells" else {"error": str(error)}
    except Refusal as refusal:
        return {
            "error": f"{refusal.reply.outcome}: {refusal.reply.reason}",
            "traceback": refusal.reply.traceback,
        }
    except Exception as error:
        cause = getattr(error, "error", error)
        text = str(cause) if isinstance(cause, UsageError) else f"{type(cause).__name__}: {cause}"
        return {"error": text, "traceback": "".join(traceback.format_exception(cause))[-3000:]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the process; standard output and error are a log."""
    parser = argparse.ArgumentParser(
        prog="python -m evenbench.harness.comparison.side_worker", description=__doc__
    )
    parser.add_argument(
        "--reply", type=int, required=True, help="file descriptor to write replies to"
    )
    reply = parser.parse_args(arguments).reply
    child_process.die_with_parent()
    commands = child_process.take_standard_input()
    spec = Spec.read(commands.readline())
    child_process.share_path(spec.sys_path)
    if spec.origin:
        spec.origin.narrow_path()
    with os.fdopen(reply, "wb") as pipe:
        channel = Channel(pipe, commands)
        channel.tell(to_json(reply_to(spec, channel)))
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has replied already


if __name__ == "__main__":
    main()
