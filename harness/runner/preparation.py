"""Everything that must exist before a cell can be timed: inputs, weights, artifact and golden, each
made once by a worker.

All of it lies in the store under a key of what decides its content, so a second run starts no
process here, and one changed weight or flag is a miss. This module runs in the parent and imports
neither numpy nor a runtime.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core import artifact_store, import_strings, registry, source_digests
from harness.core.backend import Backend, Golden
from harness.core.errors import StoreError, Unavailable, Unsupported, UsageError
from harness.core.measurements import Artifact
from harness.core.types import Cell, Model
from harness.environment import gpu, system_info, virtualenvs
from harness.inputs import batches
from harness.runner import job as runner_job
from harness.runner import launcher
from harness.runner.child_process import shared_path
from harness.runner.job import Job, Reply, SourceDigests

CALIBRATED = "int8-static"
"""The precision whose artifacts are made from calibration data."""

GOLDEN_FACTS = ("kind", "own_rmse", "accuracy", "work")
"""What is known of a golden beside its outputs. Part of its key, so that one that was made before
there was more is made anew.
"""


class Refusal(Exception):
    """A cell ends here without a number; carries the reply that says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.reply = reply


@dataclass(frozen=True)
class Prepared:
    """All that a cell's measuring processes read, by name, and what made them."""

    inputs: Artifact
    artifact: Artifact
    weights: Mapping[str, Any]
    golden: Artifact | None
    distributions: tuple[str, ...] = ()
    environment: Mapping[str, Any] | None = None
    """The lock of the environment that the cell lives in, as facts for the record; None for this
    one.
    """
    sizes: tuple[Prepared, ...] = ()
    """The same for each of the model's other sizes, where these were asked for: the one artifact,
    inputs and golden of their own.
    """

    @property
    def work(self) -> Mapping[str, Any]:
        """What the golden counted of one step (`Golden.work`); empty where it did not, and of a
        control, which has no golden.
        """
        return (self.golden.facts.get("work") or {}) if self.golden else {}

    def key(self) -> list[str]:
        """What a measurement must have been made from to be pooled with another."""
        entries = [
            Path(entry.path).name + entry.sha256
            for entry in (self.inputs, self.artifact, self.golden)
            if entry
        ]
        return (
            entries
            + ([self.environment["sha256"]] if self.environment else [])
            + [each for size in self.sizes for each in size.key()]
        )

    def difference(self, measured: Mapping[str, Any]) -> str:
        """In words, where a process read other bytes than were prepared; an empty string where they
        agree.
        """
        asked = {
            "artifact_sha256": self.artifact.sha256,
            "input_sha256": self.inputs.facts["sha256"],
        }
        pairs = [(name, measured[name], value) for name, value in asked.items()]
        read = zip(measured.get("sizes", ()), self.sizes, strict=True)
        pairs += [
            (f"input_sha256 of {size['model']}", size["input_sha256"], made.inputs.facts["sha256"])
            for size, made in read
        ]
        wrong = [
            f"{name} is {found[:12]}, prepared was {value[:12]}"
            for name, found, value in pairs
            if found != value
        ]
        return (
            f"the cache changed under this run: {'; '.join(wrong)}; run it again" if wrong else ""
        )

    def folders(self) -> dict[str, str]:
        """Paths by what they hold; of the model's other sizes with a number behind (`inputs 1`,
        `golden 1`), in their order.
        """
        found = {"inputs": self.inputs.path, "artifact": self.artifact.path}
        found |= {"golden": self.golden.path} if self.golden else {}
        numbered = [
            (f"{kind} {number}", path)
            for number, size in enumerate(self.sizes, 1)
            for kind, path in size.folders().items()
        ]
        return found | {name: path for name, path in numbered if not name.startswith("artifact")}


@dataclass(frozen=True)
class House:
    """Another environment that a cell lives in: its Python, and its lock as facts for the record."""

    python: str
    facts: Mapping[str, Any]


@dataclass
class Preparer:
    """Makes and remembers what cells need. `tell(kind, text)` is called before anything slow
    starts.
    """

    timeout_seconds: float
    tell: Callable[[str, str], None] = lambda kind, text: None
    _made: dict[str, Artifact | Reply] = field(default_factory=dict, init=False)
    _houses: dict[str, House | Reply] = field(default_factory=dict, init=False)

    def prepare(self, cell: Cell) -> Prepared:
        """All that measuring this cell needs, from the cache or made now. Raises Refusal where it
        cannot be had.

        Whatever else goes wrong is this cell's outcome as well, except a cache that cannot be
        written, which concerns all.
        """
        return self._refusing(lambda: self._prepare(cell))

    def prepare_sizes(self, cell: Cell) -> Prepared:
        """As `prepare`, and what the cell's artifact is fed and judged by at the other sizes that
        its model declares.

        Held-out data is left out there.
        """
        return self._refusing(lambda: self._prepare_sizes(cell))

    def _refusing(self, make: Callable[[], Prepared]) -> Prepared:
        try:
            return make()
        except (Refusal, StoreError):
            raise
        except Unavailable as error:
            raise Refusal(Reply(None, "unavailable", "prepare", str(error))) from error
        except Exception as error:
            tail = "".join(traceback.format_exception(error))[-runner_job.LOG_TAIL_BYTES :]
            reason = (
                str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            )
            raise Refusal(Reply(None, "failed", "prepare", reason, tail)) from error

    def judged_on(self, cell: Cell, kind: str, parts: Mapping[str, Any], job: Job) -> Prepared:
        """As `prepare`, but judged on other inputs than the model's own: those that `job` makes,
        whose facts have their `sha256`.

        The artifact stays that of the cell. Held-out data is left out: what is timed are not its
        inputs.
        """
        prepared = self.prepare(cell)
        made = self._make(kind, parts, job, cell)
        weights = self._weights(cell, self._inputs(cell))
        return replace(
            prepared,
            inputs=made,
            golden=self._golden(
                replace(cell, model=replace(cell.model, evaluation="")), made, weights
            ),
        )

    def _prepare(self, cell: Cell) -> Prepared:
        backend = _backend_of(cell)
        self._refuse(cell, backend)
        made = self._inputs(cell)
        if not backend.uses_weights:
            facts = {"source": "none", "sha256": "", "note": "not used"}
            return Prepared(
                made,
                self._artifact(cell, made, None),
                facts,
                None,
                backend.distributions,
                self._lock(cell),
            )
        weights = self._weights(cell, made)
        artifact = self._artifact(cell, made, weights)
        told = {name: value for name, value in weights.facts.items() if name != "code"}
        facts = {"source": cell.model.weights.source, **told, "code_sha256": code_of(weights)}
        return Prepared(
            made,
            artifact,
            facts,
            self._golden(cell, made, weights),
            backend.distributions,
            self._lock(cell),
        )

    def _prepare_sizes(self, cell: Cell) -> Prepared:
        prepared = self._prepare(cell)
        weights = (
            self._weights(cell, self._inputs(cell)) if _backend_of(cell).uses_weights else None
        )
        sizes = []
        for model in cell.model.sizes:
            there = replace(cell, model=replace(model, evaluation=""))
            made = self._inputs(there)
            sizes.append(
                replace(
                    prepared,
                    inputs=made,
                    golden=self._golden(there, made, weights) if weights else None,
                )
            )
        return replace(prepared, sizes=tuple(sizes))

    def _refuse(self, cell: Cell, backend: Backend) -> None:
        """Raise Refusal where the cell cannot run: it is not supported, or something is missing."""
        reason = backend.supports(cell)
        if reason:
            raise Refusal(Reply(None, "unsupported", "prepare", reason))
        asked = virtualenvs.request(cell.backend)
        missing = () if asked else backend.missing()
        if missing:
            reason = f"{cell.backend}: {', '.join(missing)} is not installed; {registry.row(cell.backend).hint}"
            raise Refusal(Reply(None, "unavailable", "prepare", reason))
        lacking = "" if backend.builds_ahead(cell) else gpu.lacks(cell.device)
        lacking = lacking or (self._lacking_there(cell) if asked else backend.lacks(cell))
        if lacking:
            raise Refusal(Reply(None, "unavailable", "prepare", lacking))

    def house(self, cell: Cell) -> House | None:
        """The environment that the cell lives in, built now where it is not there; None for this
        one.

        Raises Refusal where it cannot be had, which is remembered for this run.
        """
        asked = virtualenvs.request(cell.backend)
        if asked is None:
            return None
        if cell.backend not in self._houses:
            try:
                self._houses[cell.backend] = self._find_or_build(asked, cell)
            except Unavailable as error:
                self._houses[cell.backend] = Reply(None, "unavailable", "prepare", str(error))
            except Refusal as refusal:
                self._houses[cell.backend] = refusal.reply
        found = self._houses[cell.backend]
        if isinstance(found, Reply):
            raise Refusal(found)
        return found

    def _find_or_build(self, asked: virtualenvs.Request, cell: Cell) -> House:
        there = virtualenvs.ensure(asked, lambda text: self.tell("environment", text))
        if there.lock is None:  # somebody else made it: its lock is what a process finds there
            seen = self._examined(cell, there.python)
            there = virtualenvs.as_found(there, seen["python"], seen["packages"])
        return House(there.python, there.facts())

    def _examined(self, cell: Cell, python: str) -> Mapping[str, Any]:
        """What a process under that Python says of it, and of what the cell's backend lacks there.
        Raises Refusal.
        """
        reply = self._run(Job("examine", cell), python)
        if reply.value is None:
            raise Refusal(reply)
        return reply.value

    def _lacking_there(self, cell: Cell) -> str:
        """In words, what the cell lacks in the environment that it lives in."""
        house = self.house(cell)
        assert house is not None
        seen = self._examined(cell, house.python)
        missing = f"{cell.backend}: {', '.join(seen['missing'])} is not installed in environment {house.facts['name']}"
        return (
            f"{missing}, which {house.python} runs; add it there"
            if seen["missing"]
            else str(seen["lacks"])
        )

    def _lock(self, cell: Cell) -> Mapping[str, Any] | None:
        house = self.house(cell)
        return house.facts if house else None

    def tune(self, cell: Cell, per_task: int) -> Reply:
        """Add trials for the cell in a process of its own. Raises Refusal where the cell cannot run
        here.
        """
        backend = registry.tunable(cell.backend)
        self._refuse(cell, backend)
        made = self._inputs(cell)
        weights = self._weights(cell, made) if backend.uses_weights else None
        calibration = self._calibration(cell) if weights else None
        return self.work(_job("tune", cell, made, weights, calibration, per_task))

    def _inputs(self, cell: Cell) -> Artifact:
        return self._make("inputs", batches.key_parts(cell), Job("inputs", cell), cell)

    def _calibration(self, cell: Cell) -> Artifact | None:
        """The samples that a precision takes its ranges from, where it needs any. Raises Refusal
        where the model declares none.
        """
        if cell.precision != CALIBRATED:
            return None
        if not (cell.model.calibration or cell.model.calibration_from):
            reason = (
                f"{cell.precision} takes its ranges from calibration data, and model {cell.model.name} declares none; "
                "give it calibration= (photographs that are not judged) or calibration_from="
            )
            raise Refusal(Reply(None, "unsupported", "prepare", reason))
        return self._make(
            "calibration", batches.calibration_key(cell), Job("calibration", cell), cell
        )

    def _golden_backend(self, cell: Cell) -> Golden:
        try:
            golden = registry.golden_for(cell)
        except Unsupported as error:
            raise Refusal(Reply(None, "unsupported", "parity", str(error))) from None
        missing = golden.missing()
        if missing:
            hint = registry.row(golden.name).hint
            reason = f"the golden {golden.name} needs {', '.join(missing)}, which is not installed; {hint}"
            raise Refusal(Reply(None, "unavailable", "parity", reason))
        return golden

    def _weights(self, cell: Cell, made: Artifact) -> Artifact:
        if (
            cell.batch != 1
        ):  # weights do not depend on the batch: they are made from the inputs of batch 1
            cell = replace(cell, batch=1)
            made = self._inputs(cell)
        declared = self._golden_backend(cell).weights_key(cell.model)
        job = Job("weights", cell, folders={"inputs": made.path})
        if declared is None:
            # Only building this model tells what its weights are: it is built in every run, and
            # what follows is cached by them.
            memo = f"own weights {cell.model.fingerprint} {made.sha256}"
            return self._remember(memo, lambda: self._make_new("weights", _own_key, job, cell))
        return self._make("weights", {**declared, "inputs": made.facts["sha256"]}, job, cell)

    def _artifact(self, cell: Cell, made: Artifact, weights: Artifact | None) -> Artifact:
        backend = registry.find(cell.backend)
        calibration = self._calibration(cell) if weights else None
        parts = {
            "weights": weights.facts["sha256"] if weights else "",
            "code": code_of(weights),
            "model": model_key(cell.model, weights),
            "inputs": [
                [spec.name, spec.concrete(cell.batch), spec.dtype] for spec in cell.model.inputs
            ],
            "outputs": cell.model.outputs,
            "precision": cell.precision,
            "interpreter": ""
            if backend.portable_artifact
            else (self._lock(cell) or {}).get("sha256", ""),
            "by": backend.artifact_key(cell),
        }
        if calibration:
            parts["calibration"] = calibration.facts["sha256"]
        return self._make(
            "artifacts", parts, _job("prepare", cell, made, weights, calibration), cell
        )

    def _golden(self, cell: Cell, made: Artifact, weights: Artifact) -> Artifact | None:
        if registry.row(cell.backend).role == "control":
            return None
        golden = self._golden_backend(cell)
        plain = registry.golden_cell(cell, golden.name)
        artifact = self._artifact(plain, made, weights)
        yardsticks = {}
        if golden.yardstick:
            # What fp32 itself costs tells a lower precision that really ran from one that was only
            # asked for.
            for precision in dict.fromkeys(("fp32", cell.precision)):
                twin = registry.golden_cell(cell, golden.yardstick, precision)
                if not registry.find(golden.yardstick).supports(twin):
                    yardsticks[precision] = self._artifact(twin, made, weights)
        parts = {
            "artifact": artifact.sha256,
            "code": code_of(weights),
            "model": model_key(cell.model, weights),
            "inputs": made.facts["sha256"],
            "outputs": cell.model.outputs,
            "by": golden.artifact_key(plain),
            "yardsticks": {precision: entry.sha256 for precision, entry in yardsticks.items()},
            "facts": GOLDEN_FACTS,
        }
        folders = {"artifact": artifact.path, "inputs": made.path}
        paths = {precision: entry.path for precision, entry in yardsticks.items()}
        return self._make("goldens", parts, Job("golden", plain, paths, folders=folders), cell)

    def _make(self, kind: str, parts: Mapping[str, Any], job: Job, cell: Cell) -> Artifact:
        """The store's entry for `parts`, made by a worker where it is absent or a source file that
        it was made from changed.

        A failure is remembered for this run.
        """

        def find_or_make() -> Artifact:
            found = artifact_store.find(kind, parts)
            current = found is not None and source_digests.unchanged(found.facts.get("code", {}))
            return found if found and current else self._make_new(kind, lambda _: parts, job, cell)

        return self._remember(f"{kind} {artifact_store.key_of(parts)}", find_or_make)

    def _remember(self, memo: str, make: Callable[[], Artifact]) -> Artifact:
        if memo not in self._made:
            try:
                self._made[memo] = make()
            except Refusal as refusal:
                self._made[memo] = refusal.reply
        found = self._made[memo]
        if isinstance(found, Reply):
            raise Refusal(found)
        return found

    def _make_new(
        self,
        kind: str,
        parts: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        job: Job,
        cell: Cell,
    ) -> Artifact:
        self.tell(kind, cell.id)
        folder = artifact_store.stage(kind)
        try:
            reply = self.work(job, folder=str(folder))
            if reply.value is None:
                raise Refusal(reply)
            return artifact_store.commit(
                folder, kind, parts(reply.value), reply.wall_seconds, reply.value
            )
        finally:
            artifact_store.discard(folder)

    def work(self, job: Job, **more: Any) -> Reply:
        """Do `job` in a fresh process with the environment that its cell asks for."""
        # Inputs, weights, goldens and portable artifacts are the same for every environment, and
        # are made in this one.
        here = job.task == "prepare" and registry.find(job.cell.backend).portable_artifact
        house = (
            self.house(job.cell)
            if job.task in ("prepare", "measure", "load", "tune", "watch") and not here
            else None
        )
        return self._run(Job(**{**vars(job), **more}), house.python if house else sys.executable)

    def _run(self, job: Job, interpreter: str) -> Reply:
        more = {
            **gpu.variables(job.cell.device),
            **registry.find(job.cell.backend).variables(job.cell),
        }
        variables = system_info.for_worker(job.cell.threads, more)
        return launcher.run(
            replace(job, sys_path=shared_path()), variables, self.timeout_seconds, interpreter
        )


def _job(
    task: str,
    cell: Cell,
    made: Artifact,
    weights: Artifact | None,
    calibration: Artifact | None,
    trials: int = 0,
) -> Job:
    """A job on the cell's `Source`: its inputs, weights and calibration samples, as far as there
    are any.
    """
    found = {"inputs": made, "weights": weights, "calibration": calibration}
    folders = {name: entry.path for name, entry in found.items() if entry}
    sha256 = {name: str(entry.facts["sha256"]) if entry else "" for name, entry in found.items()}
    return Job(
        task, cell, SourceDigests(sha256["weights"], sha256["calibration"], trials), folders=folders
    )


def _own_key(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"own": facts["sha256"], "code": source_digests.digest_of(facts.get("code", {}))}


def code_of(weights: Artifact | None) -> str:
    """The digest of the source files that the model was built from; empty where it was not built
    from source.
    """
    return (
        source_digests.digest_of(weights.facts["code"])
        if weights and weights.facts.get("code")
        else ""
    )


def model_key(model: Model, weights: Artifact | None) -> list[Any]:
    """What tells two models of equal weights apart: what builds them, with what arguments, and the
    structure that came out.
    """
    return [
        import_strings.portable(model.build),
        dict(model.arguments),
        weights.facts.get("structure", "") if weights else "",
    ]


def _backend_of(cell: Cell) -> Backend:
    try:
        return registry.find(cell.backend)
    except UsageError as error:
        raise Refusal(Reply(None, "failed", "prepare", str(error))) from None


def interpreter_for(cell: Cell) -> str:
    """The Python that runs the cell's workers: this one, or that of its environment, built now
    where it is not there.

    Raises Unavailable where it cannot be had.
    """
    asked = virtualenvs.request(cell.backend)
    return virtualenvs.ensure(asked).python if asked else sys.executable
