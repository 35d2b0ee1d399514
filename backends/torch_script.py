"""TorchScript: traced and frozen ahead, optimised for inference at load. Deprecated by PyTorch in favour of torch.export."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends import torch_model, torch_session
from harness import Cell, Session, Source

FILE = "model.torchscript.pt"


class TorchScript(torch_session.TorchBackend):
    """What many C++ deployments still run; kept, and labelled, because people must compare against it."""

    name = "torch-script"

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"format": "torchscript", "trace": "trace+freeze", "batch": cell.batch, **torch_model.versions()}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import numpy as np
        import torch

        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
        torch_session.configure(cell)
        module = torch_model.in_declared_order(torch_model.load(source.weights_folder, cell), cell.model)
        examples = tuple(torch.from_numpy(np.load(source.batches[spec.name])[0]) for spec in cell.model.inputs)
        with torch.no_grad():
            traced = torch.jit.trace(module, examples, check_trace=False, strict=False)
            torch.jit.save(torch.jit.freeze(traced), folder / FILE)
        return {"format": "TorchScript", "made_by": "trace, freeze"}

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
        torch_session.configure(cell)
        # Packed oneDNN weights cannot be saved, so the last optimisation happens here, as it would in a deployment.
        optimised = torch.jit.optimize_for_inference(torch.jit.load(folder / FILE))
        return torch_session.TorchSession(optimised, cell, torch.inference_mode, labels=("deprecated",))
