"""ONNX's reference evaluator in numpy: the golden of models from ONNX files."""

from __future__ import annotations

import glob
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.onnx import description, export, float64, precision
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnx.file_inputs import feeds, user_model
from evenbench.harness import (
    Attestation,
    Cell,
    Golden,
    Model,
    Session,
    TensorSpec,
    Unsupported,
    UsageError,
)

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class EvaluatorSession(Session):
    """A session on the graph, operator by operator, in the file's precision, unoptimised."""

    wide = False
    """Whether to widen floats to float64."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self.cell, self.file = cell, file
        model = onnx.load(str(file))
        self.precision = "fp64" if self.wide else precision.precision_of_graph(model)
        self.narrow = float64.narrow_operators(model) if self.wide else []
        with _unsupported_operators():
            self.evaluator: Any = ReferenceEvaluator(float64.widened(model) if self.wide else model)
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def bind(self, inputs: Arrays) -> None:
        self.feeds = feeds.joined(inputs, feeds.sequences_of(self.cell.model))

    def step(self) -> None:
        with _unsupported_operators():
            self.result = self.evaluator.run(None, self.feeds)

    def fetch(self) -> Arrays:
        outputs = dict(zip(self.evaluator.output_names, self.result, strict=True))
        return feeds.separated(outputs)

    def attest(self) -> Attestation:
        import onnx

        return Attestation(
            runtime="onnx.reference",
            version=onnx.__version__,
            precision=self.precision,
            device="cpu",
            threads=self.cell.threads,
            denormals="preserved",
            spinning="off",
        )


class Float64Session(EvaluatorSession):
    """An evaluator session with every float widened, including inputs, and float64 outputs."""

    wide = True

    def bind(self, inputs: Arrays) -> None:
        super().bind({name: _widened(array) for name, array in inputs.items()})


def _widened(array: Any) -> Any:
    """A float array in float64, as the graph; float8 stays, because the graph keeps it."""
    import numpy as np

    is_wide = str(array.dtype) in ("float16", "float32", "bfloat16")
    return array.astype(np.float64) if is_wide else array


@contextmanager
def _unsupported_operators() -> Iterator[None]:
    """Turn the evaluator's RuntimeError for missing operators into Unsupported."""
    try:
        yield
    except RuntimeError as error:
        raise Unsupported(
            f"ONNX's reference evaluator, the golden of .onnx files, cannot run the graph: {error}"
        ) from error


class OnnxEvaluator(OnnxBackend):
    """The yardstick of ONNX files: the evaluator in the file's precision."""

    name = "onnx-evaluator"
    open_outputs = True
    takes_values = True
    requires = ("onnx",)
    precisions = ("fp32",)
    options: ClassVar[Mapping[str, str]] = {}
    distributions = ("onnx",)

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or (
            "" if cell.model.file.endswith(".onnx") else "needs an .onnx file"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        return EvaluatorSession(folder / export.FILE, cell)


class OnnxReference(OnnxBackend, Golden):
    """The golden of `.onnx` files, in float64."""

    name = "onnx-reference"
    kind = "ONNX's own reference evaluator in float64"
    yardstick = "onnx-evaluator"
    open_outputs = True
    takes_values = True
    requires = ("onnx",)
    precisions = ("fp32",)
    options: ClassVar[Mapping[str, str]] = {}
    distributions = ("onnx",)

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or (
            "" if cell.model.file.endswith(".onnx") else "needs an .onnx file"
        )

    def weights_key(self, model: Model) -> Mapping[str, Any]:
        return {"file": digest(Path(model.file))}

    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        source = Path(model.file)
        if len(_files(source)) > 1:  # copy external weights into a single file
            import onnx

            onnx.save(onnx.load(str(source)), str(folder / export.FILE))
        else:
            shutil.copyfile(source, folder / export.FILE)
        described = description.recorded(description.read(source))
        return {"sha256": digest(source), "note": f"the file {source.name}", "model": described}

    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        described = user_model.described(model)
        return described["inputs"], described["outputs"]

    def described(self, model: Model) -> Mapping[str, Any]:
        return user_model.described(model)

    def load(self, folder: Path, cell: Cell) -> Session:
        return Float64Session(folder / export.FILE, cell)

    def work(self, session: Session) -> Mapping[str, Any]:
        assert isinstance(session, EvaluatorSession)
        return description.work(description.read(session.file), session.cell.batch)

    def kind_of(self, session: Session) -> str:
        narrow = session.narrow if isinstance(session, Float64Session) else []
        return f"{self.kind}, but for {', '.join(narrow)} in float32" if narrow else self.kind


def _files(file: Path) -> list[Path]:
    """The graph, and the external data beside the graph (`model.onnx.data`, `model.onnx_data`)."""
    beside = sorted(
        path
        for path in file.parent.glob(f"{glob.escape(file.name)}?*")
        if path.suffix in (".data", ".onnx_data")
    )
    return [file, *beside]


def digest(file: Path) -> str:
    """The sha256 of a file and the external data. Raises UsageError if unreadable."""
    sha256 = hashlib.sha256()
    try:
        for part in _files(file):
            sha256.update(part.read_bytes())
        return sha256.hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check the path") from error
