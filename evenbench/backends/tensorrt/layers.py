"""Layers of a built TensorRT engine, with the precisions of inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NARROWEST_LAST = ("fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4")


SPELLINGS = (
    ("fp32", r"float$|float32|fp32"),
    ("fp16", r"half|float16$|fp16"),
    ("bf16", r"bf16|bfloat16"),
    ("fp8", r"fp8"),
    ("int8", r"\bint8"),
    ("fp4", r"fp4"),
    ("int4", r"\bint4"),
)
"""Spellings of precisions in TensorRT's inspector, alone or in descriptions of formats."""


@dataclass(frozen=True)
class Layer:
    """A layer of a built engine; `reads` and `writes` are precisions such as fp32 or int8."""

    name: str
    kind: str
    tactic: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def precision(self) -> str:
        """The narrowest precision read by the layer; empty if none of NARROWEST_LAST."""
        return next(
            (precision for precision in reversed(NARROWEST_LAST) if precision in self.reads), ""
        )

    @property
    def reformats(self) -> bool:
        """True for a layer that only moves or casts, inserted to change a tensor's layout."""
        verbs = re.match(r"__myl_((?:Cast|Conc|Move|Tran|Resh|Repl|Slic)+)_", self.name)
        return (
            self.kind == "Reformat"
            or self.name.startswith("Reformatting CopyNode")
            or verbs is not None
        )


def precision_of(text: str) -> str:
    """Return `fp16` for `Half` or `Row major linear FP16 format`; empty for int64 and bool."""
    lowered = text.strip().lower()
    matches = [name for name, spelling in SPELLINGS if re.search(spelling, lowered)]
    return "bf16" if "bf16" in matches else (matches[0] if matches else "")


def parse_listing(message: str) -> list[Layer]:
    """Parse the layers of the builder's listing in a verbose log: the only source without a GPU."""
    body = message.partition("\n\nI/O Tensors")[0]
    return [_parse_line(line) for line in body.splitlines()[1:] if line.startswith("Name: ")]


def _parse_line(line: str) -> Layer:
    name, _, rest = line.removeprefix("Name: ").partition(", LayerType: ")
    kind, *parts = re.split(r", (Inputs|Constants|Outputs|TacticName|StreamId|Metadata): ?", rest)
    fields = dict(zip(parts[::2], parts[1::2], strict=True))

    def types(*keys: str) -> tuple[str, ...]:
        words = [
            word for key in keys for word in re.findall(r"Datatype: (\w+)", fields.get(key, ""))
        ]
        return tuple(filter(None, map(precision_of, words)))

    return Layer(
        name, kind, fields.get("TacticName", ""), types("Inputs", "Constants"), types("Outputs")
    )


def parse_inspection(text: str) -> list[Layer]:
    """Parse the engine inspector's JSON. Raises ValueError without detailed profiling."""
    listed = json.loads(text).get("Layers", [])
    if not all(isinstance(entry, dict) for entry in listed):
        raise ValueError(
            "the plan lists only names of layers; rebuild it with detailed profiling verbosity"
        )
    return [_parse_entry(entry) for entry in listed]


def _parse_entry(entry: Mapping[str, Any]) -> Layer:
    def types(*keys: str) -> tuple[str, ...]:
        tensors = [tensor for key in keys for tensor in entry.get(key) or ()]
        words = [
            str(tensor.get("Datatype") or tensor.get("Format/Datatype") or "") for tensor in tensors
        ]
        return tuple(filter(None, map(precision_of, words)))

    weights = precision_of(str((entry.get("Weights") or {}).get("Type", "")))
    reads = types("Inputs", "Constants") + ((weights,) if weights else ())
    return Layer(
        entry.get("Name", ""),
        entry.get("LayerType", ""),
        entry.get("TacticName") or "",
        reads,
        types("Outputs"),
    )


def summary(layers: Iterable[Layer]) -> dict[str, Any]:
    """Count layers, by the precision read, and reformatting layers; digest kinds and tactics."""
    listed = list(layers)
    working = [layer for layer in listed if not layer.reformats]
    essence = [[layer.kind, layer.tactic, layer.reads, layer.writes] for layer in listed]
    return {
        "layers": len(listed),
        "precisions": dict(Counter(layer.precision for layer in working if layer.precision)),
        "reformats": len(listed) - len(working),
        "tf32_tactics": sum("tf32" in layer.tactic.lower() for layer in listed),
        "layers_sha256": hashlib.sha256(json.dumps(essence).encode()).hexdigest(),
    }


def engine_precision(layer_facts: Mapping[str, Any], tf32: bool) -> str:
    """Return the narrowest precision read by a working layer of an engine.

    `tf32` is True for a plan built with TF32 allowed: TensorRT for RTX decides at run time, without
    listing the decision.
    """
    narrowest = next(
        (name for name in reversed(NARROWEST_LAST) if name in layer_facts["precisions"]), "unknown"
    )
    if narrowest == "fp32":
        return "tf32" if tf32 or layer_facts["tf32_tactics"] else "fp32"
    return {"int8": "int8-static"}.get(narrowest, narrowest)
