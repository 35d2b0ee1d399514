"""The golden of models from ONNX files: ONNX's reference evaluator in numpy, and other judges."""

from __future__ import annotations

import glob
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.onnx import (
    description,
    evaluator_gaps,
    export,
    file_precision,
    float64,
    judges,
    precision,
    zip_map,
)
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnx.file_inputs import feeds, user_model, value_outputs
from evenbench.backends.onnx.unoptimised_runtime import UnoptimisedSession
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
from evenbench.harness.core import paths
from evenbench.harness.core.golden import Judge

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
        model = evaluator_gaps.evaluated(onnx.load(str(file)))
        self.precision = "fp64" if self.wide else precision.precision_of_graph(model)
        self.narrow = float64.narrow_operators(model) if self.wide else []
        with _unsupported_operators():
            graph = float64.widened(model) if self.wide else model
            self.evaluator: Any = ReferenceEvaluator(graph, new_ops=[zip_map.operator()])
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def bind(self, inputs: Arrays) -> None:
        self.feeds = feeds.of_model(inputs, self.cell.model)

    def step(self) -> None:
        with _unsupported_operators():
            self.result = self.evaluator.run(None, self.feeds)

    def fetch(self) -> Arrays:
        outputs = dict(zip(self.evaluator.output_names, self.result, strict=True))
        return value_outputs.separated(outputs)

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
        raise Unsupported(f"ONNX's reference evaluator cannot run the graph: {error}") from error


class OnnxEvaluator(OnnxBackend):
    """The yardstick of ONNX files: the evaluator in the file's precision."""

    name = "onnx-evaluator"
    open_outputs = True
    takes_values = (feeds.TENSORS, feeds.LISTS)
    requires = ("onnx",)
    precisions = ("fp32",)
    file_precisions = file_precision.FILE_PRECISIONS
    options: ClassVar[Mapping[str, str]] = {}
    distributions = ("onnx",)

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or (
            "" if cell.model.file.endswith(".onnx") else "needs an .onnx file"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        return EvaluatorSession(folder / export.FILE, cell)


class OnnxReference(OnnxBackend, Golden):
    """The golden of `.onnx` files, in float64: the evaluator, checked by the other judges."""

    name = "onnx-reference"
    kind = "ONNX's own reference evaluator in float64"
    yardstick = "onnx-evaluator"
    open_outputs = True
    takes_values = (feeds.TENSORS, feeds.LISTS)
    requires = ("onnx",)
    precisions = ("fp32",)
    file_precisions = file_precision.FILE_PRECISIONS
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
        description.external_files(description.read(source), source)  # refuses other folders
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
        """The evaluator, or ONNX Runtime without optimisation for graphs without evaluator."""
        try:
            return Float64Session(folder / export.FILE, cell)
        except Unsupported as error:
            if not judges.has_runtime():
                raise
            try:
                return UnoptimisedSession(folder / export.FILE, cell)
            except Unsupported as other:
                raise Unsupported(f"{error}; {other}") from other

    def judges(self, cell: Cell) -> Sequence[Judge]:
        evaluator = Judge(
            "ONNX's reference evaluator",
            "onnx",
            lambda folder: Float64Session(folder / export.FILE, cell),
            seconds=judges.SECONDS,
        )
        return (evaluator, *judges.beside(cell))

    def judges_key(self, cell: Cell) -> Mapping[str, Any]:
        return judges.key()

    def doubts(self, folder: Path, cell: Cell) -> str:
        import onnx

        random = evaluator_gaps.random_operators(onnx.load(str(folder / export.FILE)))
        return f"the graph draws random numbers ({', '.join(random)})" if random else ""

    def work(self, session: Session) -> Mapping[str, Any]:
        assert isinstance(session, EvaluatorSession | UnoptimisedSession)
        return description.work(description.read(session.file), session.cell.batch)

    def kind_of(self, session: Session) -> str:
        if isinstance(session, UnoptimisedSession):
            return session.kind
        narrow = session.narrow if isinstance(session, Float64Session) else []
        return f"{self.kind}, but for {', '.join(narrow)} in float32" if narrow else self.kind


LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")
"""The entry of a tensor's external data with a name of up to 127 bytes, in protobuf's encoding."""


def _files(file: Path) -> list[Path]:
    """The graph, and the external data in the graph's folder.

    Those are `model.onnx.data`, `model.onnx_data`, and the files that the graph names. The parent
    process calls this function, so the graph is searched as bytes.
    """
    beside = {
        path
        for path in file.parent.glob(f"{glob.escape(file.name)}?*")
        if path.suffix in (".data", ".onnx_data")
    }
    content = file.read_bytes()
    for match in LOCATION.finditer(content):
        name = content[match.end() : match.end() + match[1][0]]
        path = file.parent / name.decode(errors="replace").replace("\0", "")
        if path.is_file() and path.resolve().is_relative_to(file.parent.resolve()):
            beside.add(path)
    return [file, *sorted(beside)]


def digest(file: Path) -> str:
    """The sha256 of a file and the external data. Raises UsageError if unreadable."""
    paths.check_content(file)
    sha256 = hashlib.sha256()
    try:
        for part in _files(file):
            sha256.update(part.read_bytes())
        return sha256.hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check the path") from error
