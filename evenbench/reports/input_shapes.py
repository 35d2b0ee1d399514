"""The input shapes of a recorded cell, as text, and groups of equal shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 40
"""Longer texts end with an ellipsis, for networks with many inputs."""


def of(cell: Mapping[str, Any]) -> str:
    """Return the shape of a sample: `3x64x64`, or `16+4` for two inputs of different shapes.

    Equal shapes appear once. Empty for lines from before input shapes were recorded.
    """
    shapes = (cell.get("input_shapes") or {}).values()
    samples = ["x".join(str(size) for size in shape if size != "batch") for shape in shapes]
    return "+".join(dict.fromkeys(sample for sample in samples if sample))


def shown(cell: Mapping[str, Any]) -> str:
    """Return the shape of a sample, shortened for a line of text."""
    text = of(cell)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def group_of(cell: Mapping[str, Any]) -> str:
    """Return the name of the group of comparable cells: `cell.group` with the input shapes.

    Two sizes of a model are never compared, although old lines name one group for both.
    """
    return " ".join(filter(None, (str(cell.get("group", "")), of(cell))))
