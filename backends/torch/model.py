"""PyTorch models made real: built, given their weights, described. Shared by every backend that
starts from a module.

torch is imported inside the functions, so that the backends' modules stay free to import.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.torch import exported_files
from harness import Cell, Model, Source, UsageError
from harness.core import import_strings
from harness.inputs import batches as inputs

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.pt"
DISTRIBUTIONS = ("torch", "torchvision")


def supports_module(model: Model) -> str:
    """An empty string, or why torch cannot take this model."""
    return (
        ""
        if model.build
        else f"needs a PyTorch module, and {model.name} is the file {Path(model.file).name}"
    )


def versions() -> dict[str, str]:
    """Of the distributions that decide what a module computes."""
    return {name: inputs.version_of(name) for name in DISTRIBUTIONS}


def build(model: Model) -> torch.nn.Module:
    """Call the model's `build` and return its module in eval mode, with the weights that `build`
    gave it.
    """
    return module_and_examples(model)[0]


def module_and_examples(model: Model) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """`build` may return a module, or (module, example inputs), or name a file that holds one.
    Raises UsageError for anything else.
    """
    import torch

    made = (
        exported_files.read(model.build)
        if exported_files.is_file(model.build)
        else import_strings.resolve(model.build)()
    )
    module, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, ())
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{model.build} returned a {type(module).__name__}; expected a torch.nn.Module, or (module, example inputs)"
        )
    return module.eval(), tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


def load(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, in eval mode, gradients off."""
    import torch

    module = build(cell.model)
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.requires_grad_(False)


def copy_weights(source: Source, folder: Path) -> None:
    """Put the materialised weights into an artifact's folder, as a hard link where the file system
    allows it.
    """
    try:
        os.link(source.weights_folder / WEIGHTS, folder / WEIGHTS)
    except OSError:
        shutil.copyfile(source.weights_folder / WEIGHTS, folder / WEIGHTS)
