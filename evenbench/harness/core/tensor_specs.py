"""The declared name, shape and dtype of an input or output."""

from __future__ import annotations

from dataclasses import dataclass

from evenbench.harness.core.data_dependent_shapes import ANY
from evenbench.harness.core.errors import UsageError, naming_fields

BATCH = "batch"
"""The symbolic dimension of a `TensorSpec`, replaced by the cell's batch size."""


@naming_fields
@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of a tensor.

    `shape` holds ints, and at most one `BATCH`, as its first entry in most models. Entries
    of an output may be `ANY`, such as the first of a detector's, or the last of NonZero's.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.shape.count(BATCH) > 1:
            raise UsageError(
                f"tensor {self.name} has shape {list(self.shape)}, with {BATCH!r} in two places; "
                "samples are stacked along a single axis: give a number for the other"
            )
        if BATCH in self.shape and ANY in self.shape:
            raise UsageError(
                f"tensor {self.name} has shape {list(self.shape)}; {ANY!r} is not the first size, "
                f"and beside {BATCH!r} no sample has a size of its own: give a number, or the "
                "shape of one batch"
            )

    @property
    def is_open(self) -> bool:
        """Whether a size depends on the data."""
        return ANY in self.shape

    @property
    def is_batched(self) -> bool:
        """Whether the first dimension is the batch."""
        return self.shape[:1] == (BATCH,)

    @property
    def batch_axis(self) -> int | None:
        """The axis of the batch, such as 1 in [2, batch, 128] of a recurrent state; None without
        batch.
        """
        return self.shape.index(BATCH) if BATCH in self.shape else None

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample: without the batch axis, or the whole shape without batch."""
        return tuple(0 if size == ANY else int(size) for size in self.shape if size != BATCH)

    def concrete(self, batch: int) -> tuple[int, ...]:
        """The shape with the batch filled in. Data-dependent sizes count as 0, their minimum."""
        return tuple(
            batch if size == BATCH else 0 if size == ANY else int(size) for size in self.shape
        )
