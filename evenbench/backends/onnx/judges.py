"""The judges of ONNX files beside ONNX's reference evaluator, and the version of the committee."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from evenbench.backends.onnx import export, unoptimised_runtime, witness
from evenbench.backends.onnx.unoptimised_runtime import UnoptimisedSession
from evenbench.backends.onnx.witness import WitnessSession
from evenbench.harness import Cell
from evenbench.harness.core.golden import Judge
from evenbench.harness.inputs import batches as inputs

VERSION = 2
"""Part of every golden's key of an ONNX file. Raised when the committee changes goldens."""

SECONDS = 60.0
"""The evaluator's time limit beside ONNX Runtime, for all batches."""

PACKAGES = ("onnx", "onnxruntime", "openvino")
"""Distributions with a voice in the committee."""


def has_runtime() -> bool:
    """Whether ONNX Runtime is installed. Imports nothing."""
    return importlib.util.find_spec("onnxruntime") is not None


def beside(cell: Cell) -> tuple[Judge, ...]:
    """The installed judges other than the evaluator, in order of preference."""
    judges = []
    if has_runtime():
        judges.append(
            Judge(
                unoptimised_runtime.NAME,
                "onnxruntime",
                lambda folder: UnoptimisedSession(folder / export.FILE, cell),
                lambda folder: UnoptimisedSession(folder / export.FILE, cell, wide=False),
            )
        )
    if importlib.util.find_spec("openvino") is not None:
        judges.append(
            Judge(
                witness.NAME,
                "openvino",
                lambda folder: WitnessSession(folder / export.FILE, cell),
                is_witness=True,
            )
        )
    return tuple(judges)


def key() -> Mapping[str, Any]:
    """The facts behind the committee: its version, and the versions of the installed judges."""
    return {"committee": VERSION, **{name: inputs.version_of(name) for name in PACKAGES}}
