"""Comparison of a tensor between two cells: the error in units of the tolerance, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.accuracy.tensor_matching import Placed

if TYPE_CHECKING:
    import numpy as np

    from evenbench.harness.accuracy.tolerances import Tolerance

    Array = np.ndarray[Any, Any]

EXACT_BYTES = 4
"""Integers of at least so many bytes are indices, sizes and labels, compared for equality. Narrower
integers are quantised values.
"""

REORDERED = "the same in another order"


@dataclass(frozen=True)
class Row:
    """A tensor in both cells: the error in units of the tolerance (1 is the limit), and the worst
    error among the tensor's inputs.
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
    """Whether the tensor holds indices, sizes, labels or truth values, compared for equality."""
    resized: bool = False
    """Whether the two sizes differ, as after a filter with different results."""
    reordered: bool = False
    """Whether the tensors diverge but have the same rows, as after sorting nearly equal scores."""
    other: str = ""
    """The tensor's name in the second cell, if different."""

    @property
    def parts(self) -> bool:
        """Whether the tensors diverge beyond the tolerance."""
        return self.needed > 1


def placed(name: str, place: str, file: Path) -> Placed:
    """The properties used in matching, of a tensor in a .npy file."""
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
    """Compare the tensors in two .npy files: the examined tensor, and the reference.

    `about` has the `operator` and `inputs`, and as `other` the name in the second cell, if
    different.
    """
    import numpy as np

    from evenbench.harness.accuracy.output_errors import INCOMPARABLE

    tensor, reference = (np.load(file) for file in files)
    facts: dict[str, Any] = {
        "name": name,
        "operator": str(about["operator"]),
        "inputs": tuple(about["inputs"]),
        "shape": tensor.shape,
        "inputs_needed": inputs_needed,
        "other": str(about.get("other", "")),
    }
    if tensor.shape != reference.shape:
        facts |= {"needed": INCOMPARABLE, "max_abs": INCOMPARABLE, "scale": 0.0, "resized": True}
        return Row(**facts, note=f"{list(tensor.shape)} against {list(reference.shape)}")
    if not tensor.size:
        return Row(**facts, needed=0.0, max_abs=0.0, scale=0.0)
    if _is_exact(tensor):
        return Row(**facts, **_equality(tensor, reference))
    return Row(**facts, **_closeness(tensor, reference, tolerance))


def _is_exact(tensor: Array) -> bool:
    is_wide = tensor.dtype.kind in "iu" and tensor.dtype.itemsize >= EXACT_BYTES
    return tensor.dtype.kind not in "fiu" or is_wide


def _equality(tensor: Array, reference: Array) -> dict[str, Any]:
    """The fields of a row for indices, sizes, labels or truth values."""
    import numpy as np

    from evenbench.harness.accuracy.output_errors import INCOMPARABLE

    wrong = int(np.count_nonzero(tensor != reference))
    is_moved = (
        bool(wrong)
        and tensor.dtype.kind != "b"
        and np.array_equal(_in_order(tensor), _in_order(reference))
    )
    order = f": {REORDERED}" if is_moved else ""
    return {
        "needed": INCOMPARABLE if wrong else 0.0,
        "max_abs": float(wrong > 0),
        "scale": 0.0,
        "note": f"{wrong} of {tensor.size} differ{order}" if wrong else "",
        "decided": True,
        "reordered": is_moved,
    }


def _closeness(tensor: Array, reference: Array, tolerance: Tolerance) -> dict[str, Any]:
    """The fields of a row for numbers with a tolerance."""
    import numpy as np

    from evenbench.harness.accuracy.output_errors import INCOMPARABLE, measure

    tensor, reference = (values.astype(np.float64) for values in (tensor, reference))
    # Equal non-finite values are no error: attention masks contain -inf.
    both_nan = np.isnan(tensor) & np.isnan(reference)
    is_same = ~np.isfinite(tensor) & ((tensor == reference) | both_nan)
    tensor, reference = (np.where(is_same, 0.0, values) for values in (tensor, reference))
    if not np.all(np.isfinite(reference)):
        infinite = {"needed": INCOMPARABLE, "max_abs": INCOMPARABLE}
        return {**infinite, "scale": 0.0, "note": "not finite"}
    error = measure("", tensor, reference, None, tolerance, False)
    is_moved = (
        error.needed_elementwise > 1
        and not error.nonfinite
        and _is_moved(tensor, reference, tolerance)
    )
    return {
        "needed": error.needed_elementwise,
        "max_abs": error.max_abs,
        "scale": error.scale,
        "note": "not finite" if error.nonfinite else REORDERED if is_moved else "",
        "reordered": is_moved,
    }


def _is_moved(tensor: Array, reference: Array, tolerance: Tolerance) -> bool:
    """Whether the sorted rows of both agree within the tolerance."""
    from evenbench.harness.accuracy.output_errors import measure

    rows = _in_order(tensor), _in_order(reference)
    return measure("", *rows, None, tolerance, False).needed_elementwise <= 1


def _in_order(values: Array) -> Array:
    """The rows of a tensor along the first axis longer than 1, sorted by projection on a random
    direction.

    Sorting by columns would separate rows with different last bits in the first number only.
    """
    import numpy as np

    sizes = [size for size in values.shape if size > 1]
    rows = values.reshape(sizes[0] if sizes else 1, -1)
    direction = np.random.default_rng(0).uniform(1, 2, rows.shape[1])
    ordered: Array = rows[np.argsort(rows @ direction, kind="stable")]
    return ordered
