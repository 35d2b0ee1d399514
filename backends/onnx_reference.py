"""ONNX's own reference evaluator, in numpy: the golden of a model that exists as an ONNX file only."""

from __future__ import annotations

import glob
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import onnx_artifact
from harness import BATCH, Attestation, Cell, Golden, Model, Session, TensorSpec, UsageError

if TYPE_CHECKING:
    from harness.backend import Arrays


class ReferenceSession(Session):
    """Runs the graph operator by operator; slow, and without any optimisation."""

    def __init__(self, file: Path, cell: Cell) -> None:
        from onnx.reference import ReferenceEvaluator

        self.cell = cell
        self.evaluator: Any = ReferenceEvaluator(str(file))
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def bind(self, inputs: Arrays) -> None:
        self.feeds = dict(inputs)

    def step(self) -> None:
        self.result = self.evaluator.run(None, self.feeds)

    def fetch(self) -> Arrays:
        return dict(zip(self.evaluator.output_names, self.result, strict=True))

    def attest(self) -> Attestation:
        import onnx

        facts = {"device": "cpu", "precision": "fp32", "threads": self.cell.threads, "denormals": "preserved", "spinning": "off"}
        return Attestation(runtime="onnx.reference", version=onnx.__version__, labels=("golden",), **facts)  # type: ignore[arg-type]


class OnnxReference(onnx_artifact.OnnxBackend, Golden):
    """Judges `.onnx` files. It computes in the file's own precision, so its verdicts say so."""

    name = "onnx-reference"
    kind = "ONNX's own reference evaluator (the file's own precision)"
    requires = ("onnx",)
    distributions = ("onnx",)

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or ("" if cell.model.file.endswith(".onnx") else "needs an .onnx file")

    def weights_key(self, model: Model) -> Mapping[str, Any]:
        return {"file": digest(Path(model.file))}

    def materialise(self, model: Model, batches: Mapping[str, Path], folder: Path) -> Mapping[str, Any]:
        source = Path(model.file)
        if len(_files(source)) > 1:  # weights beside the graph: one file with everything inside travels better
            import onnx

            onnx.save(onnx.load(str(source)), str(folder / onnx_artifact.FILE))
        else:
            shutil.copyfile(source, folder / onnx_artifact.FILE)
        return {"sha256": digest(source), "note": f"the file {source.name}"}

    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        import onnx

        graph = onnx.load(model.file, load_external_data=False).graph
        constants = {initializer.name for initializer in graph.initializer}
        return [_spec(value) for value in graph.input if value.name not in constants], [_spec(value) for value in graph.output]

    def load(self, folder: Path, cell: Cell) -> Session:
        return ReferenceSession(folder / onnx_artifact.FILE, cell)


def _files(file: Path) -> list[Path]:
    """The graph, and the external data that exporters put beside it under its name (`model.onnx.data`, `model.onnx_data`)."""
    beside = sorted(found for found in file.parent.glob(f"{glob.escape(file.name)}?*") if found.suffix in (".data", ".onnx_data"))
    return [file, *beside]


def digest(file: Path) -> str:
    """sha256 over the file and its external data. Raises UsageError where it cannot be read."""
    whole = hashlib.sha256()
    try:
        for part in _files(file):
            whole.update(part.read_bytes())
        return whole.hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check the path") from error


def _spec(value: Any) -> TensorSpec:
    """A graph input or output; a symbolic first dimension is the batch, any other symbolic one is an error."""
    import onnx

    kind = value.type.tensor_type
    sizes: list[int | str] = [size.dim_value if size.HasField("dim_value") else BATCH for size in kind.shape.dim]
    if BATCH in sizes[1:]:
        raise UsageError(
            f"{value.name} has shape {sizes} with a free dimension that is not the first; "
            "fix it first, with onnxruntime.tools.make_dynamic_shape_fixed"
        )
    return TensorSpec(value.name, tuple(sizes), str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
