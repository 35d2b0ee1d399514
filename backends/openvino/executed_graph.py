"""OpenVINO's executed graph: the precision of every layer, read after compilation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness import Cell

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
"""Layer types of the executed graph in which nearly all the work of a network is done."""


def executed_precision(
    asked: str, hint: str, counts: Mapping[str, int], stored: str, dynamic: bool
) -> tuple[str, str]:
    """The precision that was executed, and in words where only the weights are stored in it.

    `counts` are compute nodes by the precision that each ran in, `stored` is the type of most
    weights in the file, `dynamic` whether activations are quantised as linear layers run. A narrow
    node among fp32 ones is never fp32; a network that was asked to be narrow may keep some layers
    wide, which its labels say.
    """
    if hint not in ("f32", "dynamic") and asked == "fp32":
        return PRECISION_OF.get(hint, hint), ""
    ran = {PRECISION_OF.get(kind, kind) for kind in counts}
    if asked.startswith("int8") and "int8" in ran:
        if asked == "int8-static" or dynamic:
            return asked, ""
        return asked, "weights are stored as int8; the arithmetic runs in fp32"
    if asked in ran and asked != "fp32":
        return asked, ""
    if asked == PRECISION_OF.get(stored) and ran == {"fp32"} and asked != "fp32":
        return (
            asked,
            f"weights are stored as {asked}; the arithmetic runs in fp32, as this CPU has no instructions for {asked}",
        )
    return ",".join(sorted(ran)) or PRECISION_OF.get(hint, hint), ""


def precision_labels(cell: Cell, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Whose quantiser it was, and how many compute nodes ran in the narrow type where not all of
    them did.
    """
    quantiser = ("nncf",) if cell.option.get("quantizer") == "nncf" else ()
    asked = cell.precision.partition("-")[0]
    done, whole = (
        sum(many for kind, many in counts.items() if PRECISION_OF.get(kind) == asked),
        sum(counts.values()),
    )
    return quantiser + ((f"{asked} in {done} of {whole} layers",) if 0 < done < whole else ())


def count_layers(nodes: Sequence[Any]) -> Counter[tuple[str, str]]:
    """How many nodes of the executed graph have which layer type and ran in which precision."""
    found = (node.rt_info for node in nodes)
    return Counter(
        (_entry_text(info["layerType"]), _entry_text(info["runtimePrecision"]))
        for info in found
        if "runtimePrecision" in info
    )


def _entry_text(entry: Any) -> str:
    return str(getattr(entry, "value", entry))


def nodes_by_precision(executed: Mapping[tuple[str, str], int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, precision), many in executed.items():
        found[precision] += many
    return dict(found)


def compute_nodes(executed: Mapping[tuple[str, str], int]) -> Counter[str]:
    """Compute nodes by precision; in a network without any, everything that is no input, output or
    constant.
    """
    whole: Counter[str] = Counter()
    work: Counter[str] = Counter()
    for (layer, precision), many in executed.items():
        if layer in COMPUTE_LAYERS:
            work[precision] += many
        elif (
            layer not in ("Const", "Input", "Output", "Reorder", "Convert")
            and precision in PRECISION_OF
        ):
            whole[precision] += many
    return work or whole


def stored_type(model: Any) -> str:
    """The element type that most bytes of the model's constants have, such as `f16`."""
    found: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            found[node.get_element_type().get_type_name()] += node.get_byte_size()
    return found.most_common(1)[0][0] if found else ""
