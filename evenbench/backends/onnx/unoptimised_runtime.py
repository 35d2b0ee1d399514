"""ONNX Runtime without any graph optimisation, in the widest floats with kernels: a judge.

It executes the file operator by operator, as written. Its kernels are shared with the optimised
runtime, so alone it is weaker evidence about ONNX Runtime itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import float64, precision
from evenbench.backends.onnx.file_inputs import feeds, value_outputs
from evenbench.harness import Attestation, Cell, Session, Unsupported

if TYPE_CHECKING:
    import onnx

    from evenbench.harness.core.session import Arrays

NAME = "ONNX Runtime without optimisation"

LARGEST_BYTES = 1 << 30
"""The largest file that is widened: float64 doubles it, and a protobuf message ends at 2 GiB."""


class UnoptimisedSession(Session):
    """A session without optimisation: in float64, else in float32 for narrower files, else as is.

    With `wide` false, always as is. Raises Unsupported, in the runtime's words, if it refuses the
    file.
    """

    def __init__(self, file: Path, cell: Cell, wide: bool = True) -> None:
        import onnx
        import onnxruntime

        self.cell, self.file, self.runtime = cell, file, onnxruntime
        model = onnx.load(str(file))
        self.own = precision.precision_of_graph(model)
        self._widths = self._opened(model, wide)
        self.session, self.floats = next(self._widths)
        self.inputs: Arrays = {}
        self.result: list[Any] = []

    def _opened(self, model: onnx.ModelProto, wide: bool) -> Iterator[tuple[Any, str]]:
        """A session per width with kernels, widest first, with its floats; last the file as is."""
        from onnx import TensorProto

        candidates = [("float64", TensorProto.DOUBLE)]
        if {"fp16", "bf16"} & set(self.own.split(",")):
            candidates.append(("float32", TensorProto.FLOAT))
        for floats, kind in candidates if wide and model.ByteSize() <= LARGEST_BYTES else ():
            try:
                session = self._open(float64.widened(model, kind).SerializeToString())
            except Exception:  # no kernel, or a type that an operator does not take
                continue
            yield session, floats
        yield self._as_is(), ""

    def _as_is(self) -> Any:
        try:
            return self._open(str(self.file))
        except Exception as error:
            kernel = precision.without_kernel(error)
            words = f"{NAME} {kernel}" if kernel else precision.refused_file(error, NAME)
            if not words:
                raise
            named = words.startswith(NAME)
            raise Unsupported(words if named else f"{NAME}: the file is {words}") from error

    def _open(self, source: str | bytes) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = self.cell.threads
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    @property
    def kind(self) -> str:
        """The judge's name in a verdict, with its floats."""
        return f"{NAME}, in {self.floats or 'the precision of the file'}"

    def bind(self, inputs: Arrays) -> None:
        self.inputs = inputs

    def step(self) -> None:
        try:
            names = [output.name for output in self.session.get_outputs()]
            self.result = feeds.run(self.session, self.runtime, names, self._feeds())
        except Exception:  # some kernels refuse float64 when they run
            if not self.floats:
                raise
            self.session, self.floats = next(self._widths)
            self.step()

    def _feeds(self) -> dict[str, Any]:
        import numpy as np

        wide = np.dtype(self.floats) if self.floats else None
        floats = ("float16", "float32", "float64", "bfloat16")
        widened = {
            name: array.astype(wide) if wide and str(array.dtype) in floats else array
            for name, array in self.inputs.items()
        }
        return feeds.of_model(widened, self.cell.model)

    def fetch(self) -> Arrays:
        names = (output.name for output in self.session.get_outputs())
        outputs = value_outputs.separated(dict(zip(names, self.result, strict=True)))
        return {name: feeds.fetched(output) for name, output in outputs.items()}

    def attest(self) -> Attestation:
        import onnxruntime as ort

        named = {"float64": "fp64", "float32": "fp32", "": self.own}
        return Attestation(
            runtime="onnxruntime",
            version=ort.__version__,
            precision=named[self.floats],
            device="cpu",
            threads=self.session.get_session_options().intra_op_num_threads,
            denormals="preserved",
            spinning="on",
        )

    def close(self) -> None:
        self.inputs, self.result, self.session = {}, [], None
