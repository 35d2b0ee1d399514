"""PyTorch modules from declared models: built, and loaded with materialised weights.

Functions import torch themselves, so that importing a backend's module does not import torch.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import exported_files
from evenbench.harness import Cell, Model, Source, UsageError
from evenbench.harness.core import import_strings
from evenbench.harness.inputs import batches as inputs

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.pt"
DISTRIBUTIONS = ("torch", "torchvision")


def supports_module(model: Model) -> str:
    """The reason why torch cannot run this model, or an empty string."""
    return (
        ""
        if model.build
        else f"needs a PyTorch module, and {model.name} is the file {Path(model.file).name}"
    )


def versions() -> dict[str, str]:
    """The versions of the distributions behind a module's computation."""
    return {name: inputs.version_of(name) for name in DISTRIBUTIONS}


def build(model: Model) -> torch.nn.Module:
    """Build the model's module in eval mode, with the initial weights of `build`."""
    return module_and_examples(model)[0]


def module_and_examples(model: Model) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """Build the module in eval mode, and the example inputs if any.

    `build` returns a module or (module, example inputs), or names a file with a module. Raises
    UsageError for anything else.
    """
    import torch

    result = (
        exported_files.read(model.build)
        if exported_files.is_file(model.build)
        else import_strings.resolve(model.build)()
    )
    module, examples = result if isinstance(result, tuple) and len(result) == 2 else (result, ())
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{model.build} returned a {type(module).__name__}; "
            "expected a torch.nn.Module, or (module, example inputs)"
        )
    return module.eval(), tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


def load(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, in eval mode, without gradients."""
    import torch

    module = build(cell.model)
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.requires_grad_(False)


def copy_weights(source: Source, folder: Path) -> None:
    """Put the materialised weights into an artifact's folder, as a hard link if possible."""
    try:
        os.link(source.weights_folder / WEIGHTS, folder / WEIGHTS)
    except OSError:
        shutil.copyfile(source.weights_folder / WEIGHTS, folder / WEIGHTS)
