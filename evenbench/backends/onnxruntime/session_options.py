"""Options of ONNX Runtime sessions: set explicitly for each cell, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenbench.harness import Cell, Unavailable, Unsupported

CONFIG_ENTRIES = {
    "session.set_denormal_as_zero": "0",
    "session.record_ep_graph_assignment_info": "1",
    "optimization.enable_gelu_approximation": "0",
    "mlas.enable_gemm_fastmath_arm64_bfloat16": "0",
}
"""Entries for every cell: denormals preserved, node placement recorded, no reduced precision."""


LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
"""Values of the option `optimization` and ONNX Runtime's names; each level includes the earlier."""


MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}


def session_options(ort: Any, cell: Cell) -> Any:
    """Return the session options of a cell.

    Raises Unsupported for an option missing in this release, Unavailable for a missing library.
    """
    choices, options = cell.option, ort.SessionOptions()
    level, mode = (
        LEVELS[choices.get("optimization", "all")],
        MODES[choices.get("execution", "sequential")],
    )
    if not hasattr(ort.GraphOptimizationLevel, level):
        raise Unsupported(
            f"ONNX Runtime {ort.__version__} has no optimization={choices['optimization']}; "
            "install a later release"
        )
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.execution_mode = getattr(ort.ExecutionMode, mode)
    options.intra_op_num_threads = cell.threads
    options.inter_op_num_threads = inter_op_threads(cell)
    options.enable_cpu_mem_arena = choices.get("arena", "on") == "on"
    options.log_severity_level = 3
    for name, value in config_entries(cell).items():
        options.add_session_config_entry(name, value)
    if "custom_ops" in choices:
        # ONNX Runtime raises exceptions of several own types.
        try:
            options.register_custom_ops_library(str(Path(choices["custom_ops"]).resolve()))
        except Exception as error:
            raise Unavailable(
                f"the custom-operator library {choices['custom_ops']} cannot be registered: {error}"
            ) from error
    return options


def config_entries(cell: Cell) -> dict[str, str]:
    """Return the configuration entries of a cell's session."""
    # 1 is also ONNX Runtime's default, set explicitly so that it can be read back.
    spinning = "0" if cell.option.get("spinning") == "off" else "1"
    return {
        **CONFIG_ENTRIES,
        "session.intra_op.allow_spinning": spinning,
        "session.inter_op.allow_spinning": spinning,
    }


def inter_op_threads(cell: Cell) -> int:
    """Return the number of threads for branches: 1, or at least 2 with execution=parallel."""
    return (
        int(cell.option.get("inter_op", max(2, cell.threads)))
        if cell.option.get("execution") == "parallel"
        else 1
    )


def disabled_optimizers(cell: Cell) -> list[str]:
    """Return the disabled optimisers of a cell, by ONNX Runtime's names."""
    return [
        name.strip()
        for name in str(cell.option.get("disabled_optimizers", "")).split(",")
        if name.strip()
    ]


def check_accepted(requested: Any, used: Any) -> None:
    """Raise Unsupported if the session changed an option, as it does to parallel on one thread."""
    for name in (
        "execution_mode",
        "graph_optimization_level",
        "intra_op_num_threads",
        "inter_op_num_threads",
        "enable_cpu_mem_arena",
    ):
        if getattr(requested, name) != getattr(used, name):
            raise Unsupported(
                f"requested {name} {enum_name(getattr(requested, name))}, but ONNX Runtime "
                f"uses {enum_name(getattr(used, name))}"
            )


def enum_name(value: Any) -> str:
    """Return the name of an enumeration's value, without the class."""
    return str(value).rpartition(".")[2]
