"""A trial run of an ONNX file on made-up inputs: whether they are accepted, and all output shapes.

ONNX Runtime runs the file, unoptimised; where it is not installed, there is no trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenbench.backends.onnx.file_inputs import feeds, value_outputs


@dataclass
class Trial:
    """A file, loaded once. `refusal` is the reason for not loading it, or an empty string."""

    file: Path
    refusal: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.session: Any = None
        self.runtime: Any = None
        try:
            import onnxruntime
        except ImportError:
            self.refusal = "onnxruntime is not installed"
            return
        self.runtime = onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self.session = onnxruntime.InferenceSession(
                str(self.file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # an operator or type that ONNX Runtime lacks
            self.refusal = _first_line(error)

    def run(
        self, arrays: Mapping[str, Any], sequences: Sequence[str], absent: Sequence[str] = ()
    ) -> tuple[dict[str, list[int]], str]:
        """The shape of each output, as arrays of `value_outputs`, and the error, if any."""
        names = [output.name for output in self.session.get_outputs()]
        inputs = feeds.joined(arrays, sequences, absent)
        try:
            outputs = feeds.run(self.session, self.runtime, names, inputs)
        except Exception as error:  # invalid values or sizes
            return {}, _first_line(error)
        named = value_outputs.separated(dict(zip(names, outputs, strict=True)))
        shapes = {
            name: output.shape() if callable(output.shape) else output.shape
            for name, output in named.items()
            if hasattr(output, "shape")
        }
        return {name: [int(size) for size in shape] for name, shape in shapes.items()}, ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
