"""Options of ONNX Runtime sessions: set explicitly for each cell, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import Cell, Unavailable, Unsupported

CONFIG_ENTRIES = {
    "session.set_denormal_as_zero": "0",
    "session.record_ep_graph_assignment_info": "1",
    "optimization.enable_gelu_approximation": "0",
    "mlas.enable_gemm_fastmath_arm64_bfloat16": "0",
}
"""Session entries for every cell: denormals are kept, node placement can be read back, and nothing
is computed in less than was asked.
"""


LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
"""The option `optimization` and ONNX Runtime's names; each level holds those before it."""


MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}


def session_options(ort: Any, cell: Cell) -> Any:
    """The session options of a cell. Raises Unsupported where this release lacks one, Unavailable
    where a library is not there.
    """
    asked, options = cell.option, ort.SessionOptions()
    level, mode = (
        LEVELS[asked.get("optimization", "all")],
        MODES[asked.get("execution", "sequential")],
    )
    if not hasattr(ort.GraphOptimizationLevel, level):
        raise Unsupported(
            f"ONNX Runtime {ort.__version__} has no optimization={asked['optimization']}; it came with a later release"
        )
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.execution_mode = getattr(ort.ExecutionMode, mode)
    options.intra_op_num_threads = cell.threads
    options.inter_op_num_threads = inter_op_threads(cell)
    options.enable_cpu_mem_arena = asked.get("arena", "on") == "on"
    options.log_severity_level = 3
    for name, value in config_entries(cell).items():
        options.add_session_config_entry(name, value)
    if "custom_ops" in asked:
        try:
            options.register_custom_ops_library(str(Path(asked["custom_ops"]).resolve()))
        except Exception as error:  # ONNX Runtime's own types, which are not ours to import
            raise Unavailable(
                f"the custom-operator library {asked['custom_ops']} cannot be registered: {error}"
            ) from error
    return options


def config_entries(cell: Cell) -> dict[str, str]:
    """The session's configuration entries of a cell."""
    spinning = (
        "0" if cell.option.get("spinning") == "off" else "1"
    )  # 1 is also the runtime's default, said here to be read back
    return {
        **CONFIG_ENTRIES,
        "session.intra_op.allow_spinning": spinning,
        "session.inter_op.allow_spinning": spinning,
    }


def inter_op_threads(cell: Cell) -> int:
    """How many threads run branches side by side: one, unless execution is parallel, which needs
    two.
    """
    return (
        int(cell.option.get("inter_op", max(2, cell.threads)))
        if cell.option.get("execution") == "parallel"
        else 1
    )


def disabled_optimizers(cell: Cell) -> list[str]:
    """The optimisers that a cell switches off, by ONNX Runtime's names."""
    return [
        name.strip()
        for name in str(cell.option.get("disabled_optimizers", "")).split(",")
        if name.strip()
    ]


def check_accepted(asked: Any, used: Any) -> None:
    """Raise Unsupported where the session changed an option by itself, as it makes parallel
    execution with one thread sequential.
    """
    for name in (
        "execution_mode",
        "graph_optimization_level",
        "intra_op_num_threads",
        "inter_op_num_threads",
        "enable_cpu_mem_arena",
    ):
        if getattr(asked, name) != getattr(used, name):
            raise Unsupported(
                f"asked for {name} {enum_name(getattr(asked, name))}, ONNX Runtime made it {enum_name(getattr(used, name))}"
            )


def enum_name(value: Any) -> str:
    """An enumeration's value by its name, without the class."""
    return str(value).rpartition(".")[2]
