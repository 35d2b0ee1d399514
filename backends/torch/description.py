"""What torch's own files say of themselves: TorchScript, exported programs and AOTInductor
packages.

TorchScript and exported programs are read by torch; nothing of a package is loaded, which would run
its native code.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import flops
from harness import UsageError

if TYPE_CHECKING:
    import torch

SCRIPT, PROGRAM, PACKAGE = "TorchScript", "exported program", "AOTInductor package"

CASTS = (
    "aten::to",
    "aten::quantize_per_tensor",
    "aten::quantize_per_channel",
    "aten::dequantize",
    "aten::_to_copy",
)


def _torch(file: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{file}: reading it needs torch; pip install 'evenbench[torch]'"
        ) from error
    return torch


def _facts(form: str, file: Path, **found: Any) -> dict[str, Any]:
    """The facts of every format, those that this one has not left empty."""
    empty: dict[str, Any] = {
        "external_data": [],
        "opset": {},
        "metadata": {},
        "computes_in": "",
        "precision_changes": [],
        "notes": [],
    }
    return {"format": form, "bytes": file.stat().st_size, **empty, **found}


def _parameters(tensors: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Count and bytes of weights, each storage once; tensors of whole numbers beside int8 are
    counters and shapes.
    """
    import torch

    found: dict[str, dict[str, int]] = {}
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        if tensor.dtype not in (torch.int64, torch.int32, torch.bool):
            entry = found.setdefault(
                str(tensor.dtype).removeprefix("torch."), {"count": 0, "bytes": 0}
            )
            entry["count"] += tensor.numel()
            entry["bytes"] += tensor.numel() * tensor.element_size()
    return _summed(found)


def _summed(found: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    total = {key: sum(entry[key] for entry in found.values()) for key in ("count", "bytes")}
    return {**total, "by_dtype": {dtype: dict(entry) for dtype, entry in sorted(found.items())}}


def _float_names(parameters: Mapping[str, Any]) -> str:
    """What the weights are stored in, in the words of precisions."""
    names = {
        "float32": "fp32",
        "float16": "fp16",
        "bfloat16": "bf16",
        "float64": "fp64",
        "int8": "int8",
        "uint8": "int8",
    }
    return ",".join(sorted({names[dtype] for dtype in parameters["by_dtype"] if dtype in names}))


def _histogram(operators: Iterable[str]) -> dict[str, int]:
    return dict(Counter(operators).most_common())


# -- TorchScript -----------------------------------------------------------------------------------


def describe_script(file: Path, shapes: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """Facts about a traced or scripted module. It does not say the shapes of its inputs: work is
    counted where `shapes` tells them.
    """
    torch = _torch(file)
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    try:
        module = torch.jit.load(str(file), map_location="cpu").eval()
        graph = module.inlined_graph
    except Exception as error:  # torch's reader raises its own C++ errors as RuntimeError, and others in the code that it holds
        raise UsageError(
            f"{file} is no TorchScript that torch {torch.__version__} reads ({_first_line(error)}); save it again"
        ) from error
    inputs = [
        _script_value(value) for value in list(graph.inputs())[1:]
    ]  # the first is the module itself
    nodes = list(_script_nodes(graph))
    parameters = _parameters([*module.parameters(), *module.buffers(), *_script_constants(nodes)])
    for value, shape in zip(inputs, shapes, strict=False):
        value["shape"] = list(shape)
    return _facts(
        SCRIPT,
        file,
        made_by=f"TorchScript, read by torch {torch.__version__}",
        inputs=inputs,
        outputs=[_script_value(value) for value in graph.outputs()],
        parameters=parameters,
        flops=_script_flops(module, inputs, shapes),
        operators=_histogram(node.kind() for node in nodes if not node.kind().startswith("prim::")),
        computes_in=_float_names(parameters),
        precision_changes=[change for node in nodes if (change := _script_change(node))],
        details={"class": module.original_name, "frozen": not list(module.parameters())},
    )


def _script_nodes(block: Any) -> Iterator[Any]:
    """Every node, those of branches and loops included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _script_nodes(inner)


def _script_value(value: Any) -> dict[str, Any]:
    kind = value.type()
    sizes = kind.sizes() if kind.kind() == "TensorType" else None
    dtype = kind.dtype() if kind.kind() == "TensorType" else None
    return {
        "name": value.debugName(),
        "dtype": str(dtype or kind).removeprefix("torch."),
        "shape": list(sizes) if sizes else None,
    }


def _script_constants(nodes: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The weights of a frozen module, which stand in its graph."""
    import torch

    for node in nodes:
        if node.kind() == "prim::Constant" and node.outputsSize() == 1:
            value = node.output().toIValue()
            if (
                isinstance(value, torch.Tensor) and value.ndim
            ):  # numbers without a dimension are arguments
                yield value


def _script_change(node: Any) -> dict[str, Any] | None:
    if node.kind() not in CASTS:
        return None
    before, after = (
        _script_value(value)["dtype"] for value in (next(node.inputs()), next(node.outputs()))
    )
    unknown = "Tensor"  # a saved graph does not always keep the types of what flows through it
    if before == after != unknown:
        return None
    names = [name if name != unknown else "?" for name in (before, after)]
    return {
        "node": node.output().debugName(),
        "operator": node.kind(),
        "from": names[0],
        "to": names[1],
        "of": "activations",
    }


def _script_flops(
    module: Any, inputs: Sequence[Mapping[str, Any]], shapes: Sequence[Sequence[int]]
) -> dict[str, Any]:
    import torch

    if len(shapes) != len(inputs):
        return flops.not_counted(
            f"the file does not say the shapes of its {len(inputs)} inputs; give them with --shape"
        )
    zeros = [torch.zeros(list(shape)) for shape in shapes]
    try:
        return flops.of_call(lambda: module(*zeros))
    except Exception as error:
        return flops.not_counted(
            f"it does not take float32 inputs of these shapes: {_first_line(error)}"
        )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'without a reason'}"[:300]


# -- exported programs -----------------------------------------------------------------------------


def describe_program(file: Path) -> dict[str, Any]:
    """Facts about an ExportedProgram. Its graph says every shape; open sizes are taken as in its
    example inputs.
    """
    torch = _torch(file)
    try:
        program = torch.export.load(str(file))
    except Exception as error:
        wrong = f"{file} is no exported program that torch {torch.__version__} reads"
        raise UsageError(f"{wrong} ({_first_line(error)}); export it again") from error
    signature, nodes = program.graph_signature, list(program.graph.nodes)
    values = {node.name: node.meta.get("val") for node in nodes}
    parameters = _parameters(
        [
            *program.state_dict.values(),
            *(value for value in program.constants.values() if hasattr(value, "dtype")),
        ]
    )
    return _facts(
        PROGRAM,
        file,
        made_by=f"torch.export, read by torch {torch.__version__}",
        inputs=[_program_value(name, values.get(name)) for name in signature.user_inputs],
        outputs=[_program_value(name, values.get(name)) for name in signature.user_outputs],
        parameters=parameters,
        flops=_program_flops(program),
        operators=_histogram(str(node.target) for node in nodes if node.op == "call_function"),
        computes_in=_float_names(parameters),
        precision_changes=[change for node in nodes if (change := _program_change(node))],
        details={
            "open_sizes": {
                str(name): str(constraint) for name, constraint in program.range_constraints.items()
            }
        },
    )


def _program_value(name: Any, value: Any) -> dict[str, Any]:
    if not hasattr(value, "dtype"):
        return {"name": str(name), "dtype": type(value).__name__, "shape": None}
    shape = [size if isinstance(size, int) else str(size) for size in value.shape]
    return {"name": str(name), "dtype": str(value.dtype).removeprefix("torch."), "shape": shape}


def _program_flops(program: Any) -> dict[str, Any]:
    """Counted while the program runs once on its example inputs, or on zeros where it has none and
    all its shapes are fixed.
    """
    import torch

    arguments, keywords = program.example_inputs or ((), {})
    if not program.example_inputs:
        values = [
            node.meta["val"]
            for node in program.graph.nodes
            if node.name in program.graph_signature.user_inputs
        ]
        if not all(isinstance(size, int) for value in values for size in value.shape):
            return flops.not_counted("the program has open sizes and no example inputs")
        arguments = tuple(torch.zeros(tuple(value.shape), dtype=value.dtype) for value in values)
    try:
        return flops.of_call(lambda: program.module()(*arguments, **keywords))
    except Exception as error:
        return flops.not_counted(f"the program does not run here: {_first_line(error)}")


def _program_change(node: Any) -> dict[str, Any] | None:
    if node.op != "call_function" or not node.args or not hasattr(node.args[0], "meta"):
        return None
    before, after = node.args[0].meta.get("val"), node.meta.get("val")
    operator = str(node.target)
    converts = "_to_copy" in operator or "to.dtype" in operator or "quantize" in operator
    if (
        not converts
        or not hasattr(before, "dtype")
        or not hasattr(after, "dtype")
        or before.dtype == after.dtype
    ):
        return None
    names = [str(value.dtype).removeprefix("torch.") for value in (before, after)]
    return {
        "node": node.name,
        "operator": operator,
        "from": names[0],
        "to": names[1],
        "of": _source_of(node.args[0]),
    }


def _source_of(node: Any) -> str:
    held = node.op in ("get_attr", "placeholder") and str(node.target).startswith(
        ("p_", "b_", "c_", "_frozen")
    )
    return "weights" if held else "activations"


# -- AOTInductor packages --------------------------------------------------------------------------

INFO = re.compile(
    r"(inputs|outputs|constants)_info_\[(\d+)\]\.(name|dtype|shape|data_size|original_fqn) = (.*);"
)
KERNEL = re.compile(r'extern "C"\s+void\s+(cpp_[a-z_0-9]+)')
EXTERN = re.compile(r"\b(aoti_torch_(?:cpu|cuda)_[a-z_0-9]+)\(")


def describe_package(file: Path) -> dict[str, Any]:
    """Facts about compiled code: from the sources and descriptions that lie in the package beside
    it.
    """
    with zipfile.ZipFile(file) as opened:
        names = opened.namelist()
        text = "\n".join(
            opened.read(name).decode(errors="replace") for name in names if name.endswith(".cpp")
        )
        described = [
            json.loads(opened.read(name)) for name in names if name.endswith("_metadata.json")
        ]
        sizes = {
            entry.filename.rpartition("/")[2]: entry.file_size
            for entry in opened.infolist()
            if entry.filename.endswith(".so")
        }
    found: dict[str, dict[int, dict[str, str]]] = {"inputs": {}, "outputs": {}, "constants": {}}
    for kind, index, key, value in INFO.findall(text):
        found[kind].setdefault(int(index), {})[key] = value.strip('"')
    parameters = _package_parameters(found["constants"].values())
    return _facts(
        PACKAGE,
        file,
        made_by="AOTInductor",
        metadata={key: value for each in reversed(described) for key, value in each.items()},
        inputs=[
            {"name": entry.get("name", ""), "dtype": "", "shape": None}
            for entry in found["inputs"].values()
        ],
        outputs=[
            {"name": entry.get("name", ""), "dtype": "", "shape": None}
            for entry in found["outputs"].values()
        ],
        parameters=parameters,
        flops=flops.not_counted(
            "the package holds compiled code; count in the exported program that it was made from"
        ),
        operators=_histogram(
            [*set(KERNEL.findall(text)), *EXTERN.findall(text)]
        ),  # a kernel is declared where it is called, too
        computes_in=_float_names(parameters),
        details={
            "models": sorted({name.split("/")[3] for name in names if "/aotinductor/" in name}),
            "libraries_bytes": sizes,
        },
        notes=[]
        if text
        else ["the package holds no sources, so that constants and kernels are not known"],
    )


def _package_parameters(constants: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    found: dict[str, dict[str, int]] = {}
    for entry in constants:
        dtype = entry.get("dtype", "").removeprefix("cached_torch_dtype_")
        if dtype in ("int64", "int32", "bool") or "original_fqn" not in entry:
            continue
        count = 1
        for size in re.findall(r"\d+", entry.get("shape", "")):
            count *= int(size)
        width = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}.get(dtype, 1)
        added = found.setdefault(dtype, {"count": 0, "bytes": 0})
        added["count"] += count
        added["bytes"] += count * width
    return _summed(found)
