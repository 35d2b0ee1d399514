"""The backend `opencv-dnn`: the network engines of OpenCV's `cv2.dnn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.edge.backend import EdgeBackend
from evenbench.backends.onnx import export
from evenbench.harness import Attestation, Cell, Session, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenbench.harness.core.session import Arrays

ENGINES = {"auto": "ENGINE_AUTO", "classic": "ENGINE_CLASSIC", "new": "ENGINE_NEW"}
"""`cv2.dnn.ENGINE_ORT` is left out: without ONNX Runtime inside, it falls back with a warning."""


class OpenCvDnn(EdgeBackend):
    """OpenCV's DNN module; `auto` is the engine that `readNetFromONNX` takes by default."""

    name = "opencv-dnn"
    requires = ("cv2",)
    distributions = ("opencv-python-headless", *EdgeBackend.distributions)
    options: ClassVar[Mapping[str, str]] = {
        **EdgeBackend.options,
        "engine": f"the engine: {', '.join(ENGINES)} (default: auto, as OpenCV's)",
    }

    def supports(self, cell: Cell) -> str:
        engine = cell.option.get("engine", "auto")
        wrong = f"engine is {', '.join(ENGINES)}, not {engine!r}" if engine not in ENGINES else ""
        return super().supports(cell) or wrong

    def load(self, folder: Path, cell: Cell) -> Session:
        return DnnSession(folder / export.FILE, cell)


class DnnSession(Session):
    """A network of `cv2.dnn`; `bind` copies the inputs in, `forward` computes every layer."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import cv2

        self.cell, self.cv2 = cell, cv2
        cv2.setNumThreads(cell.threads)
        engine = getattr(cv2.dnn, ENGINES[cell.option.get("engine", "auto")])
        try:
            self.net: Any = cv2.dnn.readNetFromONNX(str(file), engine)
            self.net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
            self.net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        except cv2.error as error:
            raise Unsupported(f"OpenCV cannot read this network: {_cause(error)}") from error
        if self.net.empty():  # the new engine's way to refuse
            raise Unsupported(
                f"OpenCV's engine {cell.option['engine']} cannot read this network; engine=classic "
                "names the operator"
            )
        self.names = self._output_names()
        self.result: Any = []

    def _output_names(self) -> list[str]:
        """Return the network's output names in the order of the declared outputs."""
        declared = [spec.name for spec in self.cell.model.outputs]
        names = list(self.net.getUnconnectedOutLayersNames())
        if set(declared) <= set(names):
            return declared
        if len(names) == len(declared) == 1:
            return names
        raise Unsupported(
            f"OpenCV has the outputs {', '.join(names)}, not {', '.join(declared)}, so outputs "
            "cannot be told apart"
        )

    def bind(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            self.net.setInput(array, name)

    def step(self) -> None:
        try:
            self.result = self.net.forward(self.names)
        except self.cv2.error as error:
            raise Unsupported(f"OpenCV cannot run this network: {_cause(error)}") from error

    def fetch(self) -> Arrays:
        pairs = zip(self.cell.model.outputs, self.result, strict=True)
        return {
            spec.name: array.reshape(spec.concrete(self.cell.batch)).copy() for spec, array in pairs
        }

    def attest(self) -> Attestation:
        import numpy as np

        types = self._layer_types()
        return Attestation(
            runtime="opencv-dnn",
            version=self.cv2.__version__,
            device="cpu",
            precision=self._stored_precision(),
            threads=self.cv2.getNumThreads(),
            # The calling thread's mode; OpenCV sets none for its pool.
            denormals="preserved" if np.float32(1e-39) * np.float32(1.0) else "flushed",
            spinning="runtime default",
            placement=types,
            details={
                "engine": self.cell.option.get("engine", "auto"),
                "parallel_framework": _parallel_framework(self.cv2.getBuildInformation()),
            },
        )

    def _layer_types(self) -> dict[str, int]:
        types = self.net.getLayerTypes()
        return {name: self.net.getLayersCount(name) for name in sorted(set(types))}

    def _stored_precision(self) -> str:
        """Return the precision of the stored weights: `fp32`, or numpy's names of other types."""
        import numpy as np

        kinds: set[str] = set()
        for name in self.net.getLayerNames():
            try:
                kinds.add(str(self.net.getParam(name, 0).dtype))
            except self.cv2.error:  # a layer without weights
                continue
        return ",".join(sorted(kinds - {str(np.dtype("float32"))})) or "fp32"

    def close(self) -> None:
        self.result, self.net = [], None


def _cause(error: Exception) -> str:
    """Return OpenCV's message on a line."""
    text = " ".join(str(getattr(error, "err", "") or error).split())
    return text[:300]


def _parallel_framework(information: str) -> str:
    """Return the line `Parallel framework` of OpenCV's build information."""
    lines = (line.partition(":") for line in information.splitlines())
    return next((value.strip() for name, _, value in lines if "Parallel framework" in name), "")
