"""Two tensors beside each other: by what they hold, in what order, and of what size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness.accuracy import tensor_comparison, tolerances

TOLERANCE = tolerances.tolerance_for("fp32", {})

BOXES = np.float32([[0, 0, 9, 9], [0, 0, 9.000001, 8], [4, 4, 6, 6]])


def compared(folder: Path, *values: Any) -> tensor_comparison.Row:
    for number, value in enumerate(values):
        np.save(folder / f"{number}.npy", np.asarray(value))
    return tensor_comparison.compare(
        "t",
        {"operator": "Times", "inputs": []},
        (folder / "0.npy", folder / "1.npy"),
        0.0,
        TOLERANCE,
    )


@pytest.mark.parametrize(
    ("one", "other", "parts", "note"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), False, ""),
        (np.float32([1, 2]), np.float32([1, 2.1]), True, ""),
        (np.float32([1, -np.inf]), np.float32([1, -np.inf]), False, ""),
        (np.float32([1, np.nan]), np.float32([1, 2]), True, "not finite"),
        (np.float32([1, 2]), np.float32([1, np.nan]), True, "not finite"),
        (np.float32([1, 2]), np.float32([1, 2, 3]), True, "[2] against [3]"),
        (np.int64([1, 2]), np.int64([1, 3]), True, "1 of 2 differ"),
        (np.array([True]), np.array([True]), False, ""),
        (np.array([True, False]), np.array([False, True]), True, "2 of 2 differ"),
        (np.float32([]), np.float32([]), False, ""),
    ],
)
def test_tensors_are_compared_by_what_they_are(
    one: Any, other: Any, parts: bool, note: str, tmp_path: Path
) -> None:
    row = compared(tmp_path, one, other)
    assert (row.parts, row.note) == (parts, note)
    assert row.resized == ("against" in note)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.int64([[3, 1, 2]]), np.int64([[3, 2, 1]])),
        (BOXES, BOXES[[1, 0, 2]] + np.float32(1e-7)),
        (BOXES[None], BOXES[None, ::-1]),
    ],
)
def test_the_same_rows_in_another_order_are_told(one: Any, other: Any, tmp_path: Path) -> None:
    row = compared(tmp_path, one, other)
    assert (row.parts, row.reordered) == (True, True)
    assert tensor_comparison.REORDERED in row.note


def test_other_rows_are_no_reordered_ones(tmp_path: Path) -> None:
    assert not compared(tmp_path, BOXES, BOXES[::-1] * np.float32(1.1)).reordered
    assert not compared(tmp_path, np.int64([1, 2, 3]), np.int64([3, 2, 2])).reordered
