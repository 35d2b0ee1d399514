"""One tensor of two cells: how far they are apart, in units of what is allowed, and what else can
be told of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.accuracy.tensor_matching import Placed

if TYPE_CHECKING:
    from harness.accuracy.parity import Array, Tolerance

EXACT_BYTES = 4
"""Whole numbers of so many bytes are indices, sizes and labels, which are equal or not; narrower
ones are quantised values.
"""

REORDERED = "the same in another order"


@dataclass(frozen=True)
class Row:
    """One tensor of both cells: how far they are apart, in units of what is allowed (1 is the
    limit), and the worst of its inputs.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    needed: float
    max_abs: float
    scale: float
    inputs_needed: float
    note: str = ""
    decided: bool = False
    """Whether it holds indices, sizes, labels or truths, which are equal or not."""
    resized: bool = False
    """Whether the two differ in size, as where more is kept on one side."""
    reordered: bool = False
    """Whether the two part and have the same rows all the same, as where nearly equal scores were
    sorted.
    """
    other: str = ""
    """What the second cell calls it, where that is something else."""

    @property
    def parts(self) -> bool:
        """Whether it is off by more than is allowed."""
        return self.needed > 1


def placed(name: str, place: str, file: Path) -> Placed:
    """What matching asks of a tensor that was fetched into a .npy file."""
    import numpy as np

    array = np.load(file, mmap_mode="r")
    return Placed(name, place, {"u": "i"}.get(array.dtype.kind, array.dtype.kind), array.shape)


def compare(
    name: str,
    about: Mapping[str, Any],
    files: tuple[Path, Path],
    inputs_needed: float,
    tolerance: Tolerance,
) -> Row:
    """The tensors in two .npy files as a row: what is tried, and what it is measured against.

    `about` has its `operator` and `inputs`, and as `other` what the second cell calls it, where
    that is something else.
    """
    import numpy as np

    from harness.accuracy import parity

    tried, wanted = (np.load(file) for file in files)
    facts: dict[str, Any] = {
        "name": name,
        "operator": str(about["operator"]),
        "inputs": tuple(about["inputs"]),
        "shape": tried.shape,
    }
    facts |= {"inputs_needed": inputs_needed, "other": str(about.get("other", ""))}
    if tried.shape != wanted.shape:
        note = f"{list(tried.shape)} against {list(wanted.shape)}"
        return Row(
            **facts,
            needed=parity.INCOMPARABLE,
            max_abs=parity.INCOMPARABLE,
            scale=0.0,
            note=note,
            resized=True,
        )
    if not tried.size:
        return Row(**facts, needed=0.0, max_abs=0.0, scale=0.0)
    if tried.dtype.kind not in "fiu" or (
        tried.dtype.kind in "iu" and tried.dtype.itemsize >= EXACT_BYTES
    ):
        wrong = int(np.count_nonzero(tried != wanted))
        moved = (
            bool(wrong)
            and tried.dtype.kind != "b"
            and np.array_equal(_in_order(tried), _in_order(wanted))
        )
        note = (
            f"{wrong} of {tried.size} differ" + (f": {REORDERED}" if moved else "") if wrong else ""
        )
        needed = parity.INCOMPARABLE if wrong else 0.0
        return Row(
            **facts,
            needed=needed,
            max_abs=float(wrong > 0),
            scale=0.0,
            note=note,
            decided=True,
            reordered=moved,
        )
    tried, wanted = (value.astype(np.float64) for value in (tried, wanted))
    same = ~np.isfinite(tried) & (
        (tried == wanted) | (np.isnan(tried) & np.isnan(wanted))
    )  # masks of attention, such as -inf
    tried, wanted = np.where(same, 0.0, tried), np.where(same, 0.0, wanted)
    if not np.all(np.isfinite(wanted)):
        return Row(
            **facts,
            needed=parity.INCOMPARABLE,
            max_abs=parity.INCOMPARABLE,
            scale=0.0,
            note="not finite",
        )
    error = parity.measure(name, tried, wanted, None, tolerance, False)
    moved = (
        error.needed_elementwise > 1 and not error.nonfinite and _moved(tried, wanted, tolerance)
    )
    note = "not finite" if error.nonfinite else REORDERED if moved else ""
    needed = error.needed_elementwise
    return Row(
        **facts, needed=needed, max_abs=error.max_abs, scale=error.scale, note=note, reordered=moved
    )


def _moved(tried: Array, wanted: Array, tolerance: Tolerance) -> bool:
    """Whether the rows of both are the same within the tolerance once they are sorted."""
    from harness.accuracy import parity

    return (
        parity.measure(
            "", _in_order(tried), _in_order(wanted), None, tolerance, False
        ).needed_elementwise
        <= 1
    )


def _in_order(values: Array) -> Array:
    """The rows of a tensor, along its first axis of more than one, sorted by their projection on
    one random direction.

    Sorting by columns would tear rows apart that are equal but for the last bits of their first
    number.
    """
    import numpy as np

    sizes = [size for size in values.shape if size > 1]
    rows = values.reshape(sizes[0] if sizes else 1, -1)
    direction = np.random.default_rng(0).uniform(1, 2, rows.shape[1])
    ordered: Array = rows[np.argsort(rows @ direction, kind="stable")]
    return ordered
