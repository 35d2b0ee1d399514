"""Users' models from PyTorch files: exported programs (.pt2) and TorchScript archives (.pt).

Both hold a graph without Python code. Exporters accept an exported program again. TorchScript can
only be traced, so backends with torch.export or Dynamo refuse TorchScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import file_formats
from evenbench.backends.torch.files import archive_safety
from evenbench.harness import Model, UsageError
from evenbench.harness.core import import_strings, paths

if TYPE_CHECKING:
    import torch

SCRIPT, PROGRAM = import_strings.ARCHIVES
"""The file suffixes."""

OTHER_KINDS: Mapping[str, str] = {
    "torchscript": f"is TorchScript; rename the file to {SCRIPT}",
    "program": f"is an exported program; rename the file to {PROGRAM}",
    "package": "holds compiled code for torch alone; use the original exported program",
    "onnx": "is an ONNX file; rename the file to .onnx",
    "plan": "is a TensorRT plan for TensorRT alone; use the original model",
}
"""Errors for files with a wrong suffix, by the actual kind of the file."""

NO_TRACER = (
    "torch.export and Dynamo do not accept TorchScript such as {}; "
    "give an exported program (.pt2), or the function that builds the model"
)

FROZEN = (
    "the weights are constants of the code (torch.jit.freeze), so a float64 golden is impossible; "
    "save the module before freezing"
)

NARROW = (
    "does not run in float64, the precision of the golden ({}); "
    "trace the model without dtype conversions, or give the function that builds the model"
)

ONE_SIZE = "of_one_size"
"""The attribute marking a module limited to the sizes of the examples."""


def is_file(build: str) -> bool:
    """Whether a model's `build` names a PyTorch file instead of a function."""
    return build.rpartition(":")[0].endswith(import_strings.ARCHIVES)


def is_script(model: Model) -> bool:
    """Whether the model is a TorchScript archive: runnable and traceable, but not exportable."""
    return model.build.rpartition(":")[0].endswith(SCRIPT)


def refuses(model: Model) -> str:
    """The reason why torch.export and Dynamo cannot take the model, or an empty string."""
    return NO_TRACER.format(model.name) if is_script(model) else ""


def read(build: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The module in the file named by `build`, and the example inputs in the file, if any.

    Raises UsageError if the file is missing, damaged or of a kind other than the suffix.
    """
    file = Path(build.rpartition(":")[0])
    if not file.is_file():
        raise UsageError(f"{file}: no such file; give the path of a {SCRIPT} or {PROGRAM} file")
    paths.check_content(file)
    return _program(file) if file.suffix == PROGRAM else (_script(file), ())


def _unreadable(file: Path, kind: str, error: Exception) -> UsageError:
    """The error for an unreadable file, by the kind of the bytes. Raises UsageError if damaged."""
    actual = file_formats.kind_of(file)
    message = next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
    unreadable = f"cannot be read by this torch ({message[:300]}); export it again"
    return UsageError(f"{file} {OTHER_KINDS[actual] if actual != kind else unreadable}")


# -- exported programs -----------------------------------------------------------------------------


def _program(file: Path) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The graph of a program as a plain module, with constants as castable buffers."""
    import torch

    archive_safety.check(file)
    try:
        program = torch.export.load(str(file))
    except Exception as error:  # the archive reader raises errors of many types
        raise _unreadable(file, "program", error) from error
    guarded = program.module(check_guards=False)
    module = torch.fx.GraphModule(guarded, guarded.graph)  # without hooks checking sizes per call
    _remove_dtype_checks(module)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    described = [values.get(name) for name in program.graph_signature.user_inputs]
    arguments, keywords = program.example_inputs or (
        tuple(_zeros(value) for value in described),
        {},
    )
    if keywords or not all(isinstance(value, torch.Tensor) for value in (*arguments, *described)):
        raise UsageError(
            f"{file} has keyword or non-tensor inputs; export it with positional tensors alone"
        )
    if all(value.ndim and not isinstance(value.shape[0], int) for value in described):
        return module, tuple(value[:1] for value in arguments)
    setattr(module, ONE_SIZE, True)
    return module, tuple(arguments)


def _remove_dtype_checks(module: torch.fx.GraphModule) -> None:
    """Remove assertions and conversions to the exported dtypes, to permit casts and float64."""
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
    """Whether a conversion keeps the tensor's dtype and device, and changes nothing else."""
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
    """Zeros for a described input, with size 1 on open axes; other values unchanged."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return torch.zeros(
        [size if isinstance(size, int) else 1 for size in value.shape], dtype=value.dtype
    )


# -- TorchScript -----------------------------------------------------------------------------------


def _script(file: Path) -> torch.nn.Module:
    """The module of an archive inside a Python module, to be traced like other modules."""
    import warnings

    import torch

    archive_safety.check(file)
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    try:
        loaded = torch.jit.load(str(file), map_location="cpu")
    except Exception as error:  # the archive reader raises errors of many types
        raise _unreadable(file, "torchscript", error) from error
    if not hasattr(loaded, "training"):  # freezing removes the attribute; torch uses the same check
        raise UsageError(f"{file}: {FROZEN}")

    class Scripted(torch.nn.Module):
        """The module of a TorchScript archive."""

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
