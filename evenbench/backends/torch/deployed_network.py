"""A TorchScript network for shipped programs.

`evenbench package` copies this class into programs, so the class imports nothing from evenbench.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Network:
    """The frozen graph in `folder`, optimised for inference at load time, as in the measurement."""

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.names = torch, settings["inputs"]
        self.graph = torch.jit.optimize_for_inference(
            torch.jit.load(str(folder / settings["file"]), map_location="cpu")
        )

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """Run an inference on arrays by name; return the outputs in declared order."""
        with self.torch.inference_mode():
            result = self.graph(*(self.torch.from_numpy(inputs[name]) for name in self.names))
        outputs = (
            list(result.values())
            if isinstance(result, dict)
            else list(result)
            if isinstance(result, (tuple, list))
            else [result]
        )
        return [output.numpy() for output in outputs]
