"""The base class of backends with the shared ONNX file as artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.onnx import (
    conversion,
    dynamic_axes,
    export,
    exporters,
    quantisation,
    tensor_capture,
)
from evenbench.backends.onnx.file_inputs import feeds
from evenbench.backends.torch import outputs as torch_outputs
from evenbench.harness import Backend, Cell, Session, Source, Unsupported
from evenbench.harness.core.intermediate_tensors import Exposed

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""Without this variable ONNX Runtime, also the quantiser, collects usage data in the user's home
during measurements.
"""


class OnnxBackend(Backend):
    """A runtime with the shared ONNX file as artifact. Subclasses implement `load`."""

    distributions = ("onnx", "onnxscript", "torch")
    precisions = conversion.PRECISIONS
    options = {**exporters.OPTIONS, **quantisation.OPTIONS}
    portable_artifact = True
    takes_values: ClassVar[tuple[str, ...]] = ()
    """Kinds of values beside plain numbers, `feeds.TENSORS` and `feeds.LISTS`, of its sessions."""

    def supports(self, cell: Cell) -> str:
        return (
            super().supports(cell)
            or export.supports_onnx(cell.model)
            or dynamic_axes.refuses(cell)
            or exporters.refuses(cell)
            or conversion.refuses(cell)
            or feeds.refuses(cell, self.takes_values)
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
            files = ", ".join(sorted(file.name for file in folder.iterdir()))
            raise Unsupported(f"{cell.id} does not run an ONNX file, but {files}")
        tensors = tensor_capture.expose(
            folder / export.FILE, into / export.FILE, only, _wrappers(cell)
        )
        return Exposed(export.names_of(cell), tuple(tensors))

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        # All outputs of the copy, in order, because some runtimes know outputs by position only.
        outputs = tensor_capture.further_outputs(folder / export.FILE, cell)
        return self.load(folder, tensor_capture.with_outputs(cell, outputs))


def _wrappers(cell: Cell) -> int:
    """The number of wrapper modules around the model's module in the scopes of the cell's file."""
    narrowed = cell.precision == "bf16"
    return 0 if cell.model.file else torch_outputs.wrappers(cell.model) + narrowed
