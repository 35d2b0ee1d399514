"""A network in OpenVINO as shipped programs run it: `evenbench ship` copies this class into them,
so it needs nothing of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Network:
    """The model in `folder`, compiled with the properties of the cell that was measured."""

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import openvino as ov

        core = ov.Core()
        (file,) = [folder / name for name in settings["files"] if (folder / name).exists()]
        model = core.read_model(str(file))
        if model.is_dynamic():
            model.reshape(settings["shapes"])
        can, hint = settings["hint"]
        known = set(core.get_property("CPU", "SUPPORTED_PROPERTIES")) | {
            "CPU_DENORMALS_OPTIMIZATION"
        }
        # A type that this CPU cannot compute in is asked for as f32, or the plugin would choose
        # another narrow one.
        narrow = hint if can in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        wanted = {
            **settings["properties"],
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": narrow,
        }
        self.compiled = core.compile_model(
            model, "CPU", {name: value for name, value in wanted.items() if name in known}
        )
        self.request = self.compiled.create_infer_request()

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """One inference: arrays by name in, the outputs in declared order out."""
        self.request.infer(inputs)
        return [self.request.get_tensor(output).data.copy() for output in self.compiled.outputs]
