"""Negative controls: runtimes made wrong on purpose, in the ways people get them wrong. Each must
be caught, every time.

They wrap ONNX Runtime or OpenVINO, so that everything but the one mistake is what is really
measured. `evenbench controls` runs them; they are never ranked, and never part of `ALL`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import export
from backends.onnxruntime.backend import OnnxRuntime, OrtSession
from backends.openvino.backend import OpenVino
from backends.openvino.session import OpenVinoSession
from backends.torch import model
from harness import Cell, Session, Source, TensorSpec, Unsupported

if TYPE_CHECKING:
    from harness.core.session import Arrays

FACTOR = 1.05


class OneWeight(OnnxRuntime):
    """A single weight is 5 % too large: the one of largest magnitude in the first layer that reads
    all its weights at every step.
    """

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
    """The weights of embeddings, by name: of such a table a step reads a few rows, and the largest
    number may be in none of them.
    """
    import torch

    return {
        f"{name}.weight"
        for name, child in module.named_modules()
        if isinstance(child, torch.nn.Embedding)
    }


class SwappedSession(OrtSession):
    """Reads blue as red, as images decoded by OpenCV come."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value[:, ::-1].copy() for name, value in inputs.items()})


class SwappedChannels(OnnxRuntime):
    """BGR in the place of RGB."""

    name = "negative-channels"

    def supports(self, cell: Cell) -> str:
        images = [spec for spec in cell.model.inputs if len(spec.shape) == 4 and spec.shape[1] == 3]
        return super().supports(cell) or (
            "" if images else f"{cell.model.name} has no input of three colour channels to swap"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        return SwappedSession(folder / export.FILE, cell)


class PermutedSession(OrtSession):
    """Transposes the image: same pixels, same mean, other picture."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value.swapaxes(-1, -2).copy() for name, value in inputs.items()})


class ReversedSession(OrtSession):
    """Reads every sequence from its end: the same words and the same padding, another sentence."""

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: value[..., ::-1].copy() for name, value in inputs.items()})


class PermutedInputs(OnnxRuntime):
    """Height and width mixed up, which square inputs hide; sequences of whole numbers backwards."""

    name = "negative-permuted"

    def supports(self, cell: Cell) -> str:
        fits = all(_square(spec) or _sequence(spec) for spec in cell.model.inputs)
        return super().supports(cell) or (
            ""
            if fits
            else f"{cell.model.name} has an input that is neither square nor a sequence of tokens"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        kind = PermutedSession if all(map(_square, cell.model.inputs)) else ReversedSession
        return kind(folder / export.FILE, cell)


def _square(spec: TensorSpec) -> bool:
    return len(spec.shape) >= 2 and spec.shape[-1] == spec.shape[-2]


def _sequence(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and spec.dtype.startswith("int")


class StaleSession(OrtSession):
    """Answers with the result of the input before, as a result cache or a pipeline off by one does."""

    previous: list[Any] | None = None

    def step(self) -> None:
        super().step()
        current = self.result
        self.result = self.previous or current
        self.previous = current


class StaleOutput(OnnxRuntime):
    """The right answers, one input late."""

    name = "negative-stale"

    def load(self, folder: Path, cell: Cell) -> Session:
        return StaleSession(folder / export.FILE, cell)


class DefaultPrecision(OpenVino):
    """OpenVINO without a word about precision: bf16 on a CPU that has it, whatever the model was."""

    name = "negative-bf16"

    def load(self, folder: Path, cell: Cell) -> Session:
        session = OpenVinoSession(
            folder / export.FILE, replace(cell, options=(("precision_hint", "runtime"),))
        )
        if session.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32":
            raise Unsupported(
                "OpenVINO's own default is f32 on this CPU, which has no bf16 instructions, so nothing goes wrong"
            )
        return session
