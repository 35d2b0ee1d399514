"""Negative controls: runtimes with a deliberate, typical mistake. Each must always be caught.

All wrap ONNX Runtime or OpenVINO, so that only the mistake differs from a measured backend.
`evenbench selftest` runs the controls; rankings and `ALL` exclude negative controls.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import export
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.onnxruntime.session import OrtSession
from evenbench.backends.openvino.backend import OpenVino
from evenbench.backends.openvino.session import OpenVinoSession
from evenbench.backends.torch import model
from evenbench.harness import Cell, Session, Source, TensorSpec, Unsupported

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

FACTOR = 1.05


class OneWeight(OnnxRuntime):
    """A single weight is 5 % too large: the largest in the first layer with no unused weights."""

    name = "negative-weight"

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or model.supports_module(cell.model)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {**super().artifact_key(cell), "one weight": FACTOR}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import torch

        state = torch.load(source.weights_folder / model.WEIGHTS, weights_only=True)
        tables = _embedding_weights(model.build(cell.model))
        first = next(
            value for name, value in state.items() if value.ndim >= 2 and name not in tables
        ).view(-1)
        first[first.abs().argmax()] *= FACTOR
        with tempfile.TemporaryDirectory() as changed:
            torch.save(state, Path(changed) / model.WEIGHTS)
            return export.export(replace(source, weights_folder=Path(changed)), cell, folder)


def _embedding_weights(module: Any) -> set[str]:
    """Return the names of embedding weights: a step reads only some rows of an embedding."""
    import torch

    return {
        f"{name}.weight"
        for name, child in module.named_modules()
        if isinstance(child, torch.nn.Embedding)
    }


class SwappedSession(OrtSession):
    """Reads blue as red, as in images decoded by OpenCV."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value[:, ::-1].copy() for name, value in inputs.items()})


class SwappedChannels(OnnxRuntime):
    """BGR instead of RGB."""

    name = "negative-channels"

    def supports(self, cell: Cell) -> str:
        images = [spec for spec in cell.model.inputs if len(spec.shape) == 4 and spec.shape[1] == 3]
        return super().supports(cell) or (
            "" if images else f"{cell.model.name} has no input with three colour channels to swap"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        return SwappedSession(folder / export.FILE, cell)


class PermutedSession(OrtSession):
    """Transposes images: the same pixels and mean, but another picture."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value.swapaxes(-1, -2).copy() for name, value in inputs.items()})


class ReversedSession(OrtSession):
    """Reads sequences backwards: the same words and padding, but another sentence."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value[..., ::-1].copy() for name, value in inputs.items()})


class PermutedInputs(OnnxRuntime):
    """Swapped height and width, hidden by square inputs; reversed sequences of integers."""

    name = "negative-permuted"

    def supports(self, cell: Cell) -> str:
        fits = all(_square(spec) or _sequence(spec) for spec in cell.model.inputs)
        return super().supports(cell) or (
            ""
            if fits
            else f"{cell.model.name} has an input neither square nor a sequence of tokens"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        kind = PermutedSession if all(map(_square, cell.model.inputs)) else ReversedSession
        return kind(folder / export.FILE, cell)


def _square(spec: TensorSpec) -> bool:
    return len(spec.shape) >= 2 and spec.shape[-1] == spec.shape[-2]


def _sequence(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and spec.dtype.startswith("int")


class StaleSession(OrtSession):
    """Returns the previous input's outputs, like a stale result cache or an off-by-one pipeline."""

    previous: list[Any] | None = None

    def step(self) -> None:
        super().step()
        current = self.result
        self.result = self.previous or current
        self.previous = current


class StaleOutput(OnnxRuntime):
    """Correct outputs, late by an input."""

    name = "negative-stale"

    def load(self, folder: Path, cell: Cell) -> Session:
        return StaleSession(folder / export.FILE, cell)


class DefaultPrecision(OpenVino):
    """OpenVINO with its default precision: bf16 on a CPU with bf16 instructions, for any model."""

    name = "negative-bf16"

    def load(self, folder: Path, cell: Cell) -> Session:
        session = OpenVinoSession(
            folder / export.FILE, replace(cell, options=(("precision_hint", "runtime"),))
        )
        if session.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32":
            raise Unsupported(
                "OpenVINO's default is f32 on this CPU without bf16 instructions, so that "
                "the mistake has no effect"
            )
        return session
