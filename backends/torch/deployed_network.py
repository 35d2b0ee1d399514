"""A TorchScript network as shipped programs run it: `evenbench ship` copies this class into them,
so it needs nothing of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Network:
    """The frozen graph in `folder`, optimised for inference when it is loaded, as it was where it
    was measured.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.names = torch, settings["inputs"]
        self.graph = torch.jit.optimize_for_inference(
            torch.jit.load(str(folder / settings["file"]), map_location="cpu")
        )

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """One inference: arrays by name in, the outputs in declared order out."""
        with self.torch.inference_mode():
            made = self.graph(*(self.torch.from_numpy(inputs[name]) for name in self.names))
        outputs = (
            list(made.values())
            if isinstance(made, dict)
            else list(made)
            if isinstance(made, (tuple, list))
            else [made]
        )
        return [output.numpy() for output in outputs]
