"""From a PyTorch module to TVM's Relax, and from there, with whatever schedules are known, to a
shared library.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from backends.onnx import export
from backends.torch import model, outputs
from harness import Cell, Source, Unsupported
from harness.environment import gpu


def lighten() -> None:
    """Register the CPU's tensor intrinsics without those of every other target, whose import takes
    a minute in each process.

    `tvm.s_tir.tensor_intrin` inspects all loaded modules when it is imported. An empty package with
    its path stands in for it, and the one child that a CPU needs is imported from there. It is also
    the initializer of MetaSchedule's processes.
    """
    from tvm import s_tir

    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(Path(s_tir.__file__).parent / "tensor_intrin")]
        sys.modules[name] = package
    importlib.import_module(f"{name}.x86")


def target_of(cell: Cell) -> Any:
    """The machine's own processor with the cell's number of threads, or its GPU."""
    import tvm
    from tvm.target import codegen

    if gpu.is_cuda(cell.device):
        return tvm.target.Target.from_device(tvm.cuda(gpu.index(cell.device)))
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": cell.threads}
    )


def imported(source: Source, cell: Cell, target: Any) -> Any:
    """The model at the cell's precision as an IRModule that is ready to be scheduled: decomposed,
    legalised and fused for `target`.

    Raises Unsupported where TVM cannot narrow it.
    """
    import tvm
    from tvm import relax

    ir = _from_onnx(source, cell) if cell.precision == "int8-static" else _from_module(source, cell)
    with target:
        ir = tvm.transform.Sequential(
            [relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings()]
        )(ir)
        ir = _narrowed(ir) if cell.precision == "fp16" else ir
        return tvm.transform.Sequential(
            [relax.get_pipeline("zero"), relax.transform.AttachAttrLayoutFreeBuffers()]
        )(ir)


def _narrowed(ir: Any) -> Any:
    """The program with products in half precision; sums are kept in fp32, and the declared tensors
    stay as they are.
    """
    from tvm import relax
    from tvm.error import InternalError

    try:
        return relax.transform.ToMixedPrecision(out_dtype="float32")(ir)
    except InternalError as error:
        said = str(error).strip().splitlines()[-1]
        raise Unsupported(
            f"TVM's mixed-precision pass does not take this graph ({said}), as it does not where an operator has a bare number for "
            "an argument (the clip within hardswish or relu6)"
        ) from error


def _from_module(source: Source, cell: Cell) -> Any:
    """By torch.export, batch norms folded into convolutions before. Raises Unsupported, with the
    operators that it lacks.
    """
    import numpy as np
    import torch
    from torch.fx.experimental.optimization import fuse
    from tvm.relax.frontend.torch import from_exported_program

    module = outputs.in_declared_order(model.load(source.weights_folder, cell), cell.model)
    examples = tuple(
        torch.from_numpy(np.load(source.batches[spec.name])[0]) for spec in cell.model.inputs
    )
    with torch.no_grad():
        with contextlib.suppress(
            Exception
        ):  # what fx cannot trace is exported as it is, and its batch norm decomposed later
            module = fuse(module)
        program = torch.export.export(module, examples)
    try:
        return from_exported_program(program, unwrap_unit_return_tuple=True)
    except (
        AssertionError,
        NotImplementedError,
    ) as error:  # how its frontend says which operators it has no translation for
        raise Unsupported(
            f"TVM's PyTorch frontend cannot take it ({' '.join(str(error).split())[:400]})"
        ) from error


def _from_onnx(source: Source, cell: Cell) -> Any:
    """From the quantised ONNX file that every ONNX backend reads."""
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    with tempfile.TemporaryDirectory() as folder:
        export.export(source, cell, Path(folder))
        return from_onnx(onnx.load(str(Path(folder) / export.FILE)))


def tasks_of(ir: Any, target: Any) -> list[Any]:
    """What there is to tune, with how often each is called."""
    from tvm.s_tir.meta_schedule.relax_integration import extract_tasks

    return list(extract_tasks(ir, target, {}))


def compiled(ir: Any, target: Any, database: Path | None, file: Path) -> list[str]:
    """Compile with the schedules of `database`, where there is one, into a shared library; returns
    the dtypes that its kernels touch.
    """
    import tvm
    from tvm import relax

    with target:
        if database:
            steps = [
                relax.transform.MetaScheduleApplyDatabase(str(database)),
                relax.transform.SplitLayoutRewritePreproc(),
                relax.transform.LiftTransformParams(),
                relax.transform.FoldConstant(),
            ]
            ir = tvm.transform.Sequential(steps)(ir)
        executable = tvm.compile(ir, target)
    executable.export_library(str(file))
    return _dtypes_of(ir)


def _dtypes_of(ir: Any) -> list[str]:
    """The dtypes of all that the kernels of a program read, such as `float32`."""
    import tvm_ffi
    from tvm import tirx
    from tvm.ir.expr import TensorLoad

    found: set[str] = set()
    for function in ir.functions.values():
        if isinstance(function, tirx.PrimFunc):
            tvm_ffi.structural_walk(
                function.body, (TensorLoad, lambda load: found.add(str(load.ty)))
            )
    return sorted(found)


def probe(threads: int, target: Any, file: Path) -> None:
    """Compile an element-wise product, one element for each thread: what tells whether compiled
    code keeps denormals.
    """
    import tvm
    from tvm import te
    from tvm.s_tir import Schedule

    factors = [te.placeholder((threads,), "float32", name=name) for name in ("a", "b")]
    product = te.compute((threads,), lambda i: factors[0][i] * factors[1][i], name="product")
    schedule = Schedule(te.create_prim_func([*factors, product]))
    (loop,) = schedule.get_loops(schedule.get_sblock("product"))
    schedule.parallel(loop)
    tvm.compile(schedule.mod, target).export_library(str(file))
