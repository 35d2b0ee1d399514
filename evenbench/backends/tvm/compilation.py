"""Compilation by TVM: from a PyTorch module or ONNX file to Relax, and to a shared library."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import export
from evenbench.backends.torch import model, outputs
from evenbench.harness import Cell, Source, Unsupported
from evenbench.harness.environment import gpu


def import_cpu_intrinsics() -> None:
    """Register only the CPU's tensor intrinsics: importing all targets takes a minute.

    Importing `tvm.s_tir.tensor_intrin` inspects all loaded modules. An empty package with the same
    path replaces it, and only the CPU's submodule is imported. MetaSchedule's processes call this
    function as initializer.
    """
    from tvm import s_tir

    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(Path(s_tir.__file__).parent / "tensor_intrin")]
        sys.modules[name] = package
    importlib.import_module(f"{name}.x86")


def target_for(cell: Cell) -> Any:
    """Return the target: this machine's processor with the cell's threads, or its GPU."""
    import tvm
    from tvm.target import codegen

    if gpu.is_cuda(cell.device):
        return tvm.target.Target.from_device(tvm.cuda(gpu.index(cell.device)))
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": cell.threads}
    )


def import_model(source: Source, cell: Cell, target: Any) -> Any:
    """Import the model as an IRModule: decomposed, legalised and fused for `target`.

    Raises Unsupported if TVM cannot convert the model to the cell's precision.
    """
    import tvm
    from tvm import relax

    ir = _from_onnx(source, cell) if cell.precision == "int8-static" else _from_module(source, cell)
    with target:
        ir = tvm.transform.Sequential(
            [relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings()]
        )(ir)
        ir = _to_mixed_precision(ir) if cell.precision == "fp16" else ir
        return tvm.transform.Sequential(
            [relax.get_pipeline("zero"), relax.transform.AttachAttrLayoutFreeBuffers()]
        )(ir)


def _to_mixed_precision(ir: Any) -> Any:
    """Convert products to half precision; sums, inputs and outputs keep their dtypes."""
    from tvm import relax
    from tvm.error import InternalError

    try:
        return relax.transform.ToMixedPrecision(out_dtype="float32")(ir)
    except InternalError as error:
        message = str(error).strip().splitlines()[-1]
        raise Unsupported(
            f"TVM's mixed-precision pass rejects this graph ({message}); "
            "known for operators with a constant as "
            "argument (the clip within hardswish or relu6)"
        ) from error


def _from_module(source: Source, cell: Cell) -> Any:
    """Import by torch.export, with batch norms folded into convolutions.

    Raises Unsupported with the operators missing in TVM.
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
        # Modules that fx cannot trace are exported unfused; TVM decomposes the batch norms later.
        with contextlib.suppress(Exception):
            module = fuse(module)
        program = torch.export.export(module, examples)
    # TVM's frontend raises these for operators without translation.
    try:
        return from_exported_program(program, unwrap_unit_return_tuple=True)
    except (
        AssertionError,
        NotImplementedError,
    ) as error:
        raise Unsupported(
            f"TVM's PyTorch frontend cannot convert it ({' '.join(str(error).split())[:400]})"
        ) from error


def _from_onnx(source: Source, cell: Cell) -> Any:
    """Import the quantised ONNX file shared by all ONNX backends."""
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    with tempfile.TemporaryDirectory() as folder:
        export.export(source, cell, Path(folder))
        return from_onnx(onnx.load(str(Path(folder) / export.FILE)))


def tuning_tasks(ir: Any, target: Any) -> list[Any]:
    """Return the tuning tasks, each with its number of calls."""
    from tvm.s_tir.meta_schedule.relax_integration import extract_tasks

    return list(extract_tasks(ir, target, {}))


def compile_library(ir: Any, target: Any, database: Path | None, file: Path) -> list[str]:
    """Compile with the schedules of `database`, if any, to `file`; returns the kernels' dtypes."""
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
    """Return the dtypes read by a program's kernels, such as `float32`."""
    import tvm_ffi
    from tvm import tirx
    from tvm.ir.expr import TensorLoad

    dtypes: set[str] = set()
    for function in ir.functions.values():
        if isinstance(function, tirx.PrimFunc):
            tvm_ffi.structural_walk(
                function.body, (TensorLoad, lambda load: dtypes.add(str(load.ty)))
            )
    return sorted(dtypes)


def compile_denormal_probe(threads: int, target: Any, file: Path) -> None:
    """Compile an element-wise product per thread, used to probe compiled code for denormals."""
    import tvm
    from tvm import te
    from tvm.s_tir import Schedule

    factors = [te.placeholder((threads,), "float32", name=name) for name in ("a", "b")]
    product = te.compute((threads,), lambda i: factors[0][i] * factors[1][i], name="product")
    schedule = Schedule(te.create_prim_func([*factors, product]))
    (loop,) = schedule.get_loops(schedule.get_sblock("product"))
    schedule.parallel(loop)
    tvm.compile(schedule.mod, target).export_library(str(file))
