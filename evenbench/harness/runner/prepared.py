"""The prepared entries of a cell, the input of a measuring process, and refusals to prepare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store, build_sources
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.runner.job import Reply

Parts = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Maps the facts returned by a worker to the facts of the entry's key."""


class Refusal(Exception):
    """A cell ends without a number; carries the reply with the reason."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.reply = reply


def make_entry(kind: str, parts: Parts, work: Callable[[Path], Reply]) -> Artifact:
    """A new entry of the artifact store, filled by a worker process.

    `work` is called with the stage folder to fill. Raises Refusal if the worker fails, and
    StoreError if the store is not writable.
    """
    folder = artifact_store.stage(kind)
    try:
        reply = work(folder)
        if reply.value is None:
            raise Refusal(reply)
        code = reply.value.get("code")
        return artifact_store.commit(
            *(folder, kind, parts(reply.value), reply.wall_seconds, reply.value),
            variant=build_sources.digest_of(code) if code else "",
        )
    finally:
        artifact_store.discard(folder)


@dataclass(frozen=True)
class Prepared:
    """A cell's prepared entries, with the weights and environment of origin."""

    inputs: Artifact
    artifact: Artifact
    weights: Mapping[str, Any]
    golden: Artifact | None
    distributions: tuple[str, ...] = ()
    environment: Mapping[str, Any] | None = None
    """The lock of the cell's virtual environment, as facts for the record; None for this one."""
    calibration: Artifact | None = None
    """The samples behind the ranges of int8-static; None for other precisions."""
    commit: str = ""
    """The commit with the code of the cell; empty for the working folder."""
    sizes: tuple[Prepared, ...] = ()
    """For each other size of the model, if requested: the same artifact, its inputs and golden."""

    @classmethod
    def read(cls, facts: Mapping[str, Any], commit: str) -> Prepared:
        """The entries prepared by a process of another commit, from their JSON (`to_json`)."""
        return cls(
            Artifact(**facts["inputs"]),
            Artifact(**facts["artifact"]),
            facts["weights"],
            Artifact(**facts["golden"]) if facts["golden"] else None,
            tuple(facts["distributions"]),
            facts["environment"],
            Artifact(**facts["calibration"]) if facts.get("calibration") else None,
            commit,
        )

    @property
    def work(self) -> Mapping[str, Any]:
        """Counted operations of a step (`Golden.work`); empty for controls and uncounted models."""
        return (self.golden.facts.get("work") or {}) if self.golden else {}

    def key(self) -> list[str]:
        """The digests of all entries. Measurements are pooled only if the digests are equal."""
        entries = [entry for entry in (self.inputs, self.artifact, self.golden) if entry]
        digests = [Path(entry.path).name + entry.sha256 for entry in entries]
        lock = [self.environment["sha256"]] if self.environment else []
        return digests + lock + [digest for size in self.sizes for digest in size.key()]

    def difference(self, measured: Mapping[str, Any]) -> str:
        """The difference between the bytes read by a process and the prepared bytes, or nothing."""
        inputs_sha256 = self.inputs.facts["sha256"]
        pairs = [
            ("artifact_sha256", measured["artifact_sha256"], self.artifact.sha256),
            ("input_sha256", measured["input_sha256"], inputs_sha256),
        ]
        for size, prepared in zip(measured.get("sizes", ()), self.sizes, strict=True):
            expected = prepared.inputs.facts["sha256"]
            pairs.append((f"input_sha256 of {size['model']}", size["input_sha256"], expected))
        wrong = [
            f"{name} is {read[:12]}, prepared was {expected[:12]}"
            for name, read, expected in pairs
            if read != expected
        ]
        if not wrong:
            return ""
        return f"the cache changed under this run: {'; '.join(wrong)}; run it again"

    def folders(self) -> dict[str, str]:
        """Paths by content: `inputs`, `artifact`, `golden`, and `inputs 1` of the next size."""
        folders = {"inputs": self.inputs.path, "artifact": self.artifact.path}
        folders |= {"golden": self.golden.path} if self.golden else {}
        for number, size in enumerate(self.sizes, 1):
            own = {name: path for name, path in size.folders().items() if name != "artifact"}
            folders |= {f"{name} {number}": path for name, path in own.items()}
        return folders
