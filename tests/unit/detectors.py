"""A detector in numpy: every bright pixel of an image is an object, listed as the weights order
them; and ways to get it wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evenbench.harness import ANY, Cell, Model, Session, TensorSpec
from tests.unit.builders import Exact, Product, ProductSession, attestation, product

HERE = "tests.unit.detectors"

THRESHOLD = 0.5

OUTPUTS = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)


def images(model: Model) -> dict[str, Any]:
    """Four images of [6] brightnesses: with two, three, one and no object above the threshold."""
    return {
        "x": np.array(
            [[0.9, 0.7, 0, 0, 0, 0.1], [0, 0.8, 0.95, 0.6, 0, 0], [0, 0, 0, 0, 0.75, 0], [0.2] * 6],
            np.float32,
        )
    }


def detector() -> Model:
    """The model: one image in, as many objects out as have a score above 0.05."""
    return product(
        name="detector",
        inputs=(TensorSpec("x", (6,)),),
        outputs=OUTPUTS,
        inputs_from=f"{HERE}:images",
        task="detection",
        recipe=None,
    )


class FinderSession(ProductSession):
    """Boxes of 20 x 10 pixels beside one another; the score is the brightness, the class is the
    pixel's number modulo 2.
    """

    def step(self) -> None:
        self.y = self.x

    def fetch(self) -> Mapping[str, Any]:
        found = np.flatnonzero(self.y > 0.05)
        left = 30.0 * found + 1.0
        boxes = np.stack(
            [left, np.full(len(found), 5.0), left + 20.0, np.full(len(found), 15.0)], axis=-1
        )
        kind = self.weights.dtype
        return {
            "boxes": boxes.astype(kind),
            "labels": found % 2,
            "scores": self.y[found].astype(kind),
        }


class Finder(Product):
    """Right."""

    name = "finder"
    open_outputs = True
    kind: type[FinderSession] = FinderSession

    def session(self, weights: Any, cell: Cell) -> Session:
        return self.kind(weights, attestation(precision=cell.precision, threads=cell.threads))


class ReversedSession(FinderSession):
    def fetch(self) -> Mapping[str, Any]:
        return {name: values[::-1].copy() for name, values in super().fetch().items()}


class Reversed(Finder):
    """Right, in another order."""

    name = "reversed"
    kind = ReversedSession


class ShiftedSession(FinderSession):
    def fetch(self) -> Mapping[str, Any]:
        found = dict(super().fetch())
        return found | {"boxes": found["boxes"] + np.float32(1.0)}


class Shifted(Finder):
    """Every box is one pixel too far right and down."""

    name = "shifted"
    kind = ShiftedSession


class LateSession(FinderSession):
    def step(self) -> None:
        self.y, self.before = getattr(self, "before", self.x), self.x


class LateFinder(Finder):
    """The right answers, one input late."""

    name = "late"
    kind = LateSession


class EmptySession(FinderSession):
    def fetch(self) -> Mapping[str, Any]:
        return {name: values[:0] for name, values in super().fetch().items()}


class Blind(Finder):
    """Finds nothing, ever."""

    name = "blind"
    kind = EmptySession


class ExactFinder(Exact):
    """The golden of the detector."""

    name = "exact-finder"
    open_outputs = True

    def load(self, folder: Any, cell: Cell) -> Session:
        return FinderSession(np.load(folder / "weights.npy"), attestation())


ROWS = ",".join(
    f"{kind.name}={HERE}:{kind.__name__}" for kind in (Finder, Reversed, Shifted, LateFinder, Blind)
)
