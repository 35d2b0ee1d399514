"""A model of one's own from a file of PyTorch's: the module that an exported program (.pt2) or a
TorchScript archive (.pt) holds.

What travels in such a file is a graph without Python code. A program is exported again by every
exporter; TorchScript can only be traced, so that what exports by itself refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import file_formats
from harness import Model, UsageError
from harness.core import import_strings

if TYPE_CHECKING:
    import torch

SCRIPT, PROGRAM = import_strings.ARCHIVES
"""The endings of their names."""

OTHERWISE: Mapping[str, str] = {
    "torchscript": f"is TorchScript; give it a name that ends in {SCRIPT}",
    "program": f"is an exported program; give it a name that ends in {PROGRAM}",
    "package": "holds compiled code that no other runtime can take; name the exported program that it was made of",
    "onnx": "is an ONNX file; give it a name that ends in .onnx",
    "plan": "is a TensorRT plan that no other runtime can take; name the model that it was made of",
}
"""What a file that is something else than its name says is, by its kind, and what to do."""

NO_TRACER = "torch.export and Dynamo take no TorchScript, and {} is that; give an exported program (.pt2), or the function that builds it"

FROZEN = "its weights are constants of its code (torch.jit.freeze), and no float64 golden can be made of those; save it before it is frozen"

NARROW = "does not run in float64, in which it is judged ({}); trace it without conversions to a type, or give the function that builds it"

ONE_SIZE = "of_one_size"
"""The attribute of a module that takes the sizes of its examples and no others."""


def is_file(build: str) -> bool:
    """Whether a model's `build` names a file of this kind and no function."""
    return build.rpartition(":")[0].endswith(import_strings.ARCHIVES)


def is_script(model: Model) -> bool:
    """Whether the model is a TorchScript archive, which can be run and traced but not exported."""
    return model.build.rpartition(":")[0].endswith(SCRIPT)


def refuses(model: Model) -> str:
    """Why what exports by torch.export, or compiles by Dynamo, cannot take the model, in words; or
    an empty string.
    """
    return NO_TRACER.format(model.name) if is_script(model) else ""


def read(build: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The module in the file that `build` names, and its example inputs, where the file has some.

    Raises UsageError where the file is not there, is damaged or something else than its name says.
    """
    file = Path(build.rpartition(":")[0])
    if not file.is_file():
        raise UsageError(f"{file}: no such file; give the path of a {SCRIPT} or {PROGRAM} file")
    return _program(file) if file.suffix == PROGRAM else (_script(file), ())


def _refused(file: Path, kind: str, error: Exception) -> UsageError:
    """Why `file` could not be read, by what its bytes say it is. Raises UsageError where they say
    that it is damaged.
    """
    found = file_formats.kind_of(file)
    said = next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
    unreadable = f"cannot be read by this torch ({said[:300]}); export it again"
    return UsageError(f"{file} {OTHERWISE[found] if found != kind else unreadable}")


# -- exported programs -----------------------------------------------------------------------------


def _program(file: Path) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The program's graph as a plain module, whose constants are buffers: they are cast like
    weights.
    """
    import torch

    try:
        program = torch.export.load(str(file))
    except Exception as error:  # a reader of archives raises whatever it stumbles over
        raise _refused(file, "program", error) from error
    guarded = program.module(check_guards=False)
    module = torch.fx.GraphModule(
        guarded, guarded.graph
    )  # without the hooks that look at sizes again in every call
    _free_of_types(module)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    described = [values.get(name) for name in program.graph_signature.user_inputs]
    arguments, keywords = program.example_inputs or (
        tuple(_zeros(value) for value in described),
        {},
    )
    if keywords or not all(isinstance(value, torch.Tensor) for value in (*arguments, *described)):
        raise UsageError(
            f"{file} takes more than tensors, one after another; export it with positional tensors alone"
        )
    if all(value.ndim and not isinstance(value.shape[0], int) for value in described):
        return module, tuple(value[:1] for value in arguments)
    setattr(module, ONE_SIZE, True)
    return module, tuple(arguments)


def _free_of_types(module: torch.fx.GraphModule) -> None:
    """Take out what holds tensors to the type in which they were exported: the golden is in
    float64, and precisions are casts.
    """
    import torch

    aten = torch.ops.aten
    conversions = (aten.to.dtype, aten.to.dtype_layout, aten._to_copy.default)
    for node in list(module.graph.nodes):
        tensor: Any = node.args[0] if node.args else None
        if node.target is aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
        elif node.target in conversions and _converts_nothing(node):
            node.replace_all_uses_with(tensor)
            module.graph.erase_node(node)
    module.recompile()


def _converts_nothing(node: torch.fx.Node) -> bool:
    """Whether a conversion is to the type and the device that its tensor has anyway, and to nothing
    else.
    """
    tensor: Any = node.args[0]
    before, after = tensor.meta.get("val"), node.meta.get("val")
    if (
        len(node.args) > 2
        or set(node.kwargs) - {"dtype", "layout", "device", "pin_memory"}
        or before is None
        or after is None
    ):
        return False
    return bool((before.dtype, before.device) == (after.dtype, after.device))


def _zeros(value: Any) -> Any:
    """Zeros of a described input, one where its size is open; what is no tensor as it is."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return torch.zeros(
        [size if isinstance(size, int) else 1 for size in value.shape], dtype=value.dtype
    )


# -- TorchScript -----------------------------------------------------------------------------------


def _script(file: Path) -> torch.nn.Module:
    """The archive's module inside one of Python, so that it is traced like any other."""
    import warnings

    import torch

    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    try:
        loaded = torch.jit.load(str(file), map_location="cpu")
    except Exception as error:  # a reader of archives raises whatever it stumbles over
        raise _refused(file, "torchscript", error) from error
    if not hasattr(loaded, "training"):  # what freezing leaves out, and how torch itself tells
        raise UsageError(f"{file}: {FROZEN}")

    class Scripted(torch.nn.Module):
        """The archive's module."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = loaded

        def forward(self, *arguments: torch.Tensor) -> Any:
            try:
                return self.inner(*arguments)
            except RuntimeError as error:
                if all(value.dtype != torch.float64 for value in arguments):
                    raise
                raise UsageError(
                    f"{file} {NARROW.format(str(error).strip().splitlines()[-1][:200])}"
                ) from error

    return Scripted()
