"""OpenVINO's executed graph: the precision of every layer, read after compilation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from evenbench.backends.onnx import file_precision
from evenbench.harness import Cell

PRECISION_OF = {
    "f32": "fp32",
    "bf16": "bf16",
    "f16": "fp16",
    "f64": "fp64",
    "i8": "int8",
    "u8": "int8",
}


COMPUTE_LAYERS = (
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "MatMul",
    "RNNCell",
    "RNNSeq",
    "ScaledDotProductAttention",
)
"""Types of compute-heavy layers in the executed graph."""


def executed_precision(
    requested: str,
    hint: str,
    counts: Mapping[str, int],
    stored: str,
    dynamic: bool,
    in_file: Collection[str] = (),
) -> tuple[str, str]:
    """Return the executed precision, and a note if only the weights are stored in that precision.

    `requested` is the cell's precision, `hint` the compiled model's, `counts` compute nodes by
    executed precision, `stored` the type of most weights, and `dynamic` whether linear layers
    quantise activations at run time. A narrow node among fp32 nodes is never fp32. A narrow network
    may keep wide layers; `precision_labels` counts the narrow layers. `in_file` are the precisions
    of an unconverted file.
    """
    if in_file:
        kinds = {PRECISION_OF.get(kind, kind) for kind in counts}
        return file_precision.executed(requested, kinds, in_file)
    if hint not in ("f32", "dynamic") and requested == "fp32":
        return PRECISION_OF.get(hint, hint), ""
    ran = {PRECISION_OF.get(kind, kind) for kind in counts}
    if requested.startswith("int8") and "int8" in ran:
        if requested == "int8-static" or dynamic:
            return requested, ""
        return requested, "weights are stored as int8; the arithmetic runs in fp32"
    if requested in ran and requested != "fp32":
        return requested, ""
    if requested == PRECISION_OF.get(stored) and ran == {"fp32"} and requested != "fp32":
        return (
            requested,
            (
                f"weights are stored as {requested}; the arithmetic runs in fp32, as this CPU "
                f"has no instructions for {requested}"
            ),
        )
    return ",".join(sorted(ran)) or PRECISION_OF.get(hint, hint), ""


def precision_labels(cell: Cell, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return labels: `nncf`, and the number of narrow compute nodes if some nodes are wide."""
    quantiser = ("nncf",) if cell.option.get("quantizer") == "nncf" else ()
    narrow = cell.precision.partition("-")[0]
    converted, total = (
        sum(count for kind, count in counts.items() if PRECISION_OF.get(kind) == narrow),
        sum(counts.values()),
    )
    return quantiser + (
        (f"{narrow} in {converted} of {total} layers",) if 0 < converted < total else ()
    )


def count_layers(nodes: Sequence[Any]) -> Counter[tuple[str, str]]:
    """Count the nodes of the executed graph by layer type and executed precision."""
    infos = (node.rt_info for node in nodes)
    return Counter(
        (_entry_text(info["layerType"]), _entry_text(info["runtimePrecision"]))
        for info in infos
        if "runtimePrecision" in info
    )


def _entry_text(entry: Any) -> str:
    return str(getattr(entry, "value", entry))


def nodes_by_precision(executed: Mapping[tuple[str, str], int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (_, precision), count in executed.items():
        counts[precision] += count
    return dict(counts)


def compute_nodes(executed: Mapping[tuple[str, str], int]) -> Counter[str]:
    """Count compute nodes by precision; without any, all on floats but inputs and outputs.

    Only compute nodes on bytes are quantised arithmetic, not nodes on pixels or booleans.
    """
    others: Counter[str] = Counter()
    work: Counter[str] = Counter()
    for (layer, precision), count in executed.items():
        if layer in COMPUTE_LAYERS:
            work[precision] += count
        elif (
            layer not in ("Const", "Input", "Output", "Reorder", "Convert")
            and PRECISION_OF.get(precision, "int8") != "int8"
        ):
            others[precision] += count
    return work or others


def stored_type(model: Any) -> str:
    """Return the element type of most bytes in the model's constants, such as `f16`."""
    sizes: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            sizes[node.get_element_type().get_type_name()] += node.get_byte_size()
    return sizes.most_common(1)[0][0] if sizes else ""
