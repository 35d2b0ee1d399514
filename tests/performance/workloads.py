"""What the gate is measured on: a GEMM, a memory-bound loop, and real runtimes, each with a count
of repeats of real work.

`gemm-x105` does 5 % more work per lap than `gemm-x100`. The gate must find that, and must see
nothing between a backend and itself.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL
from evenbench.backends.controls.null import Null, NullSession
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.harness import Attestation, Case, Cell, Session

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

REPEATS = (100, 102, 105, 110, 130)
"""Base, and 2, 5, 10 and 30 % more."""

MEMBERS = "abcd"
"""Names of identical cells: `gemm-a` to `gemm-d` are the backend `gemm-x100`."""


class Repeated(Session):
    """Some work, `repeats` times per step."""

    repeats: int

    def work(self) -> None:
        """One repeat."""
        raise NotImplementedError

    def step(self) -> None:
        for _ in range(self.repeats):
            self.work()


class Gemm(Repeated, NullSession):
    """fp32 products of two 128 x 128 matrices, which stay in the first caches: arithmetic binds."""

    def __init__(self, cell: Cell, repeats: int) -> None:
        NullSession.__init__(self, cell)
        self.repeats = repeats
        left, right = np.random.default_rng(0).standard_normal((2, 128, 128), dtype=np.float32)
        self.left, self.right, self.product = left, right, np.empty_like(left)

    def work(self) -> None:
        np.matmul(self.left, self.right, out=self.product)

    def attest(self) -> Attestation:
        return _attested("numpy", np.__version__, self.cell)


class Memory(Repeated, NullSession):
    """Copies of 1 MiB out of 256 MiB, one after the other: more than the caches hold, so memory
    binds.
    """

    def __init__(self, cell: Cell, repeats: int) -> None:
        NullSession.__init__(self, cell)
        self.repeats = repeats
        self.source = np.ones((256, 1 << 18), dtype=np.float32)
        self.target = np.empty(1 << 18, dtype=np.float32)
        self.next = 0

    def work(self) -> None:
        np.copyto(self.target, self.source[self.next])
        self.next = (self.next + 1) % len(self.source)

    def attest(self) -> Attestation:
        return _attested("numpy", np.__version__, self.cell)


def _attested(runtime: str, version: str, cell: Cell) -> Attestation:
    return Attestation(
        runtime,
        version,
        "cpu",
        cell.precision,
        cell.threads,
        "preserved",
        f"python {platform.python_version()}",
    )


class RepeatedRuntime(Repeated):
    """A real session, whose step is taken some times per step."""

    def __init__(self, session: Session, repeats: int) -> None:
        self.session, self.repeats = session, repeats

    def bind(self, inputs: Arrays) -> None:
        self.session.bind(inputs)

    def work(self) -> None:
        self.session.step()

    def sync(self) -> None:
        self.session.sync()

    def fetch(self) -> Arrays:
        return self.session.fetch()

    def attest(self) -> Attestation:
        return self.session.attest()

    def close(self) -> None:
        self.session.close()


class _Loop(Null):
    kind: type[Any]
    repeats: int

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"backend": "loop"}

    def load(self, folder: Path, cell: Cell) -> Session:
        made: Session = self.kind(cell, self.repeats)
        return made


class _Ort(OnnxRuntime):
    repeats: int

    def load(self, folder: Path, cell: Cell) -> Session:
        return RepeatedRuntime(super().load(folder, cell), self.repeats)


for _count in REPEATS:
    for _kind in (Gemm, Memory):
        _name = f"{_kind.__name__}{_count}"
        globals()[_name] = type(
            _name,
            (_Loop,),
            {"name": f"{_kind.__name__.lower()}-x{_count}", "kind": _kind, "repeats": _count},
        )
    globals()[f"Ort{_count}"] = type(
        f"Ort{_count}", (_Ort,), {"name": f"ort-x{_count}", "repeats": _count}
    )

BACKENDS = ",".join(
    [
        f"{kind.lower()}-x{count}=tests.performance.workloads:{kind}{count}:control"
        for kind in ("Gemm", "Memory")
        for count in REPEATS
    ]
    + [f"ort-x{count}=tests.performance.workloads:Ort{count}" for count in REPEATS]
)
"""For `EVENBENCH_BACKENDS`."""

GROUP_BACKENDS = ",".join(
    [BACKENDS]
    + [
        f"{kind.lower()}-{member}=tests.performance.workloads:{kind}{REPEATS[0]}:control"
        for kind in ("Gemm", "Memory")
        for member in MEMBERS
    ]
    + [f"ort-{member}=tests.performance.workloads:Ort{REPEATS[0]}" for member in MEMBERS]
)
"""For `EVENBENCH_BACKENDS`: the same, and the base under several names. An artifact is shared."""

DIGITS = replace(DIGITS_CNN, evaluation="")
"""Without the held-out photos, whose 360 answers would take longer than the pair of processes
itself.
"""

loops = Case((DIGITS,), backends=("gemm-x100", "memory-x100"), threads=(1,))
repeated = Case((DIGITS,), backends=("ort-x100",), threads=(1,))
models = Case((MOBILENET_V3_SMALL,), backends=("ort", "torch-eager"))
