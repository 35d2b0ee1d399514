"""One operator test on the runtimes: prepared, loaded and judged in this process, without timing.

The entries are made by the code of a run (`harness.runner.entries`), with a worker that works in
this process, so a thousand cases do not start a thousand processes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness import worker
from evenbench.harness.accuracy import distinctness
from evenbench.harness.collection import matrix, model_reader, user_models
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.core import build_sources, registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Cell
from evenbench.harness.measurement import attestation, resident
from evenbench.harness.runner import outcome
from evenbench.harness.runner.entries import Entries
from evenbench.harness.runner.job import Channel, Job, Reply
from evenbench.harness.runner.prepared import Refusal
from tests.operators import cases

RUNTIMES = ("ort", "openvino")

Record = dict[str, str]
"""`case`, `operator`, `runtime`, `outcome`, `phase`, `reason`, `golden` and `traceback`."""


def judge(
    case: Any, folder: Path, made_up: bool = False, runtimes: Sequence[str] = RUNTIMES
) -> list[Record]:
    """The outcome of a case on each runtime.

    Inputs are the case's own, with the expected outputs as a further judge, or made up as for a
    file without inputs. `folder` must be empty; the store of artifacts is the caller's.
    """
    file = cases.write(case, folder, with_data=not made_up)
    head = {"case": str(case.name), "operator": cases.operator_of(case)}
    return of_file(file, head, ModelFlags(backends=tuple(runtimes)), vary=made_up)


def of_file(
    file: Path, head: Mapping[str, str], flags: ModelFlags, vary: bool = True
) -> list[Record]:
    """The outcome of a user's file on each runtime of the flags.

    Without `vary`, one data set judges, although equal outputs for every input show little.
    """
    folder, runtimes = file.parent, flags.backends
    try:
        with _workers_in_this_process():
            found = user_models.find(str(file), flags, 60)
        cells = matrix.expand(found.case)
    except UsageError as error:
        refused = {"phase": "describe", "reason": _plain(str(error), folder)}
        return [_record(head, runtime, "refused", **refused) for runtime in runtimes]
    entries = Entries(_reply, lambda cell: {}, lambda kind, text: None)
    with contextlib.ExitStack() as changes:
        # Files contain no user's code, and a look at all imported modules takes most of the time.
        changes.enter_context(_replaced(build_sources, "recorded", lambda *models: {}))
        if not vary:  # nothing is timed, so one data set judges
            changes.enter_context(_replaced(distinctness, "LEAST_SPREAD", 0.0))
        return [_outcome(cell, entries, head, folder) for cell in cells]


def _outcome(cell: Cell, entries: Entries, head: Mapping[str, str], folder: Path) -> Record:
    backend = registry.find(cell.backend)
    refused = backend.supports(cell)
    try:
        if refused:
            raise Refusal(Reply(None, "unsupported", "prepare", refused))
        inputs = entries.inputs(cell)
        weights = entries.weights(cell, inputs)
        artifact = entries.artifact(cell, inputs, weights)
        golden = entries.golden(cell, inputs, weights)
    except Refusal as refusal:
        return _ended(head, cell, refusal.reply, folder)
    assert golden is not None
    folders = {"inputs": inputs.path, "artifact": artifact.path, "golden": golden.path}
    value: dict[str, Any] = {}

    def measure(job: Job, channel: Channel) -> dict[str, Any]:
        paths = {name: Path(path) for name, path in folders.items()}
        with resident.resident(cell, PLANS["quick"], paths, channel.enter) as loaded:
            loaded.carry_state()
            loaded.keep_outputs()
            used = attestation.difference(cell, loaded.session.attest())
            value.update(loaded.judged(), asked_is_used=used)
        return {}

    reply = _reply(Job("measure", cell), measure)
    if reply.value is None:
        return _ended(head, cell, reply, folder)
    ended = outcome.verdict(value)
    kind = value["parity"]["golden"]
    if ended is None:
        return _record(head, cell.backend, "ok", golden=kind)
    return {**_ended(head, cell, ended, folder), "golden": kind}


def _ended(head: Mapping[str, str], cell: Cell, reply: Reply, folder: Path) -> Record:
    reason = _plain(reply.reason, folder)
    texts = {"phase": reply.phase, "reason": reason, "traceback": reply.traceback}
    return _record(head, cell.backend, reply.outcome, **texts)


def _record(head: Mapping[str, str], runtime: str, ending: str, **texts: str) -> Record:
    empty = dict.fromkeys(("phase", "reason", "golden", "traceback"), "")
    return {**head, "runtime": runtime, "outcome": ending, **empty, **texts}


def _plain(text: str, folder: Path) -> str:
    """A reason on one line, without the temporary folder."""
    return " ".join(text.replace(f"{folder}/", "").split())


# -- a worker in this process ----------------------------------------------------------------------


def _reply(job: Job, function: Callable[[Job, Channel], dict[str, Any]] | None = None) -> Reply:
    """The reply of a worker to a job, in this process."""
    channel = Channel(io.BytesIO(), io.BytesIO())
    if function is None:
        return Reply(**worker.reply_to(job, channel))
    with _replaced(worker, "perform", function):
        return Reply(**worker.reply_to(job, channel))


@contextlib.contextmanager
def _workers_in_this_process() -> Iterator[None]:
    with _replaced(model_reader.launcher, "run_here", lambda job, timeout_seconds: _reply(job)):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
