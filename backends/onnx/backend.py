"""Backends that read the shared ONNX file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import conversion, export, exporters, quantisation, tensor_capture
from backends.torch import outputs as torch_outputs
from harness import Backend, Cell, Session, Source, Unsupported
from harness.core.intermediate_tensors import Exposed

if TYPE_CHECKING:
    from harness.core.session import Arrays


QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""ONNX Runtime, which also quantises, otherwise gathers usage data in the user's home, beside what
is measured.
"""


class OnnxBackend(Backend):
    """A runtime that reads the shared ONNX file; what is left to write is `load`."""

    distributions = ("onnx", "onnxscript", "torch")
    precisions = conversion.PRECISIONS
    options = {**exporters.OPTIONS, **quantisation.OPTIONS}
    portable_artifact = True

    def supports(self, cell: Cell) -> str:
        return (
            super().supports(cell)
            or export.supports_onnx(cell.model)
            or exporters.refuses(cell)
            or conversion.refuses(cell)
        )

    def lacks(self, cell: Cell) -> str:
        return super().lacks(cell) or conversion.lacks(cell)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return {**super().variables(cell), **QUIET}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return export.key(cell)

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return export.export(source, cell, folder)

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if not (folder / export.FILE).exists():
            raise Unsupported(
                f"{cell.id} does not run an ONNX file, but {', '.join(sorted(file.name for file in folder.iterdir()))}"
            )
        return Exposed(
            export.names_of(cell),
            tuple(
                tensor_capture.expose(
                    folder / export.FILE, into / export.FILE, only, _wrappers(cell)
                )
            ),
        )

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        # All that the copy hands out, in its order: a runtime may tell outputs by position only.
        return self.load(
            folder,
            tensor_capture.with_outputs(
                cell, tensor_capture.further_outputs(folder / export.FILE, cell)
            ),
        )


def _wrappers(cell: Cell) -> int:
    """How many modules of ours were around the model's when the cell's file was exported; the file
    names them as well.
    """
    narrowed = cell.precision == "bf16"
    return 0 if cell.model.file else torch_outputs.wrappers(cell.model) + narrowed
