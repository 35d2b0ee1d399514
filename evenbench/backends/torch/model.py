"""PyTorch modules from declared models: built, and loaded with materialised weights.

Functions import torch themselves, so that importing a backend's module does not import torch.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import adoption, arguments, random_state
from evenbench.backends.torch.files import exported_files
from evenbench.harness import Cell, Model, Source, UsageError
from evenbench.harness.core import import_strings
from evenbench.harness.inputs import batches as inputs

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.pt"
EXTRA_STATE = "_extra_state"
"""The end of the names of state without tensors (`torch.nn.Module.get_extra_state`)."""

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
    """Build the module as a function of tensors in order, in eval mode, and the example tensors.

    `build` returns a module, (module, example inputs) or (module, arguments, keywords), or names a
    file with a module. Examples may be nested (`arguments.flattened`). Raises UsageError for
    anything else.
    """
    import torch

    result = (
        exported_files.read(model.build)
        if exported_files.is_file(model.build)
        else random_state.repeated(model, lambda: import_strings.resolve(model.build))
    )
    module, examples = _parted(result)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{model.build} returned a {type(module).__name__}; "
            "expected a torch.nn.Module, or (module, example inputs)"
        )
    module = adoption.uncompiled(module)
    module, tensors = arguments.flattened(module.eval(), examples, model.build)
    return adoption.adopted(module, tensors, model.build)


def _parted(result: Any) -> tuple[Any, Any]:
    """The module and the examples in the result of `build`; None without examples."""
    if not isinstance(result, (tuple, list)) or not 2 <= len(result) <= 3:
        return result, None
    module, *examples = result
    return module, examples[0] if len(examples) == 1 else tuple(examples)


def load(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, in eval mode, without gradients."""
    import torch

    module = build(cell.model)
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    lacks = module.load_state_dict(state, strict=False)
    missing = [name for name in lacks.missing_keys if not name.endswith(EXTRA_STATE)]
    if missing or lacks.unexpected_keys:
        raise UsageError(
            f"{cell.model.build} returned other weights than before: missing {missing}, "
            f"unexpected {lacks.unexpected_keys}; return the same module in every call"
        )
    return module.requires_grad_(False)


def copy_weights(source: Source, folder: Path) -> None:
    """Put the materialised weights into an artifact's folder, as a hard link if possible."""
    try:
        os.link(source.weights_folder / WEIGHTS, folder / WEIGHTS)
    except OSError:
        shutil.copyfile(source.weights_folder / WEIGHTS, folder / WEIGHTS)
