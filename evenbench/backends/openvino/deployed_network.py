"""OpenVINO in packaged programs. Copied by `evenbench package`, so without evenbench imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Network:
    """The model in `folder`, compiled with the properties of the measured cell."""

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import openvino as ov

        core = ov.Core()
        (file,) = [folder / name for name in settings["files"] if (folder / name).exists()]
        model = core.read_model(str(file))
        if model.is_dynamic():
            model.reshape(settings["shapes"])
        capability, hint = settings["hint"]
        supported = set(core.get_property("CPU", "SUPPORTED_PROPERTIES")) | {
            "CPU_DENORMALS_OPTIMIZATION"
        }
        # Without the capability, f32: the plugin would otherwise choose another narrow type.
        precision = (
            hint if capability in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        )
        requested = {
            **settings["properties"],
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self.compiled = core.compile_model(
            model, "CPU", {name: value for name, value in requested.items() if name in supported}
        )
        self.request = self.compiled.create_infer_request()

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """Run one inference: arrays by input name in, outputs in declared order out."""
        self.request.infer(inputs)
        return [self.request.get_tensor(output).data.copy() for output in self.compiled.outputs]
