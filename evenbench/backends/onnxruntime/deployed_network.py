"""ONNX Runtime in packaged programs, copied by `evenbench package`: no imports of evenbench."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Network:
    """The model in `folder`, in a session with the options of the measured cell."""

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, settings["optimization"]
        )
        options.execution_mode = getattr(ort.ExecutionMode, settings["execution"])
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = settings["inter_op"]
        options.enable_cpu_mem_arena = settings["arena"]
        for name, value in settings["entries"].items():
            options.add_session_config_entry(name, value)
        self.session = ort.InferenceSession(
            str(folder / settings["file"]), options, providers=["CPUExecutionProvider"]
        )
        self.outputs = settings["outputs"]

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """Run one inference: arrays by input name in, outputs in declared order out."""
        return list(self.session.run(self.outputs, inputs))
