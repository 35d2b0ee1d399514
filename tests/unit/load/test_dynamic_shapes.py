"""Shapes that change from call to call, on a session whose time passes only when it spends it:
batches, sizes, and both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Model, Session, TensorSpec, Unsupported
from evenbench.harness.core.tensor_specs import BATCH
from evenbench.harness.load import dynamic_shapes
from evenbench.harness.load import points as load_points
from evenbench.harness.load.context import DeclaredSize, LoadContext
from evenbench.harness.load.scenarios import SHAPES, Scenario
from tests.unit.builders import Clock, attestation, cell, product

MS = 1_000_000


class RecompilingSession(Session):
    """Twice its input. A shape that it has not seen costs 10 ms and is compiled, any other takes as
    many ms as it has rows.

    `only` takes that many rows and columns and no other; with `spreads` it answers as if it had
    been fed them.
    """

    def __init__(
        self,
        clock: Clock,
        only: tuple[int, int] | None = None,
        spreads: bool = False,
        counts: bool = True,
    ) -> None:
        self.clock_of_test, self.only, self.spreads, self.counts = clock, only, spreads, counts
        self.seen = {(4, 4)}

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.x = inputs["x"]
        if self.only and self.x.shape != self.only:
            if not self.spreads:
                raise ValueError(f"expected {self.only}\nvalues, got {self.x.shape}")
            self.x = np.broadcast_to(self.x[:1, :1], self.only)

    def step(self) -> None:
        shape = self.x.shape
        self.clock_of_test.spend(len(self.x) * MS if shape in self.seen else 10 * MS)
        self.seen.add(shape)

    def fetch(self) -> Mapping[str, Any]:
        return {"y": 2 * self.x}

    def builds(self) -> int | None:
        return len(self.seen) if self.counts else None

    def attest(self) -> Any:
        return attestation()


def wide(columns: int, **changed: Any) -> Model:
    """A model of so many columns, which are declared as its size."""
    shape = (BATCH, columns)
    return product(
        name=f"wide_{columns}",
        inputs=(TensorSpec("x", shape),),
        outputs=(TensorSpec("y", shape),),
        **changed,
    )


def fed(columns: int, batch: int = 4, count: int = 3) -> list[dict[str, Any]]:
    """Batches in which no two numbers are equal."""
    return [
        {"x": np.arange(float(batch * columns)).reshape(batch, columns) + 100 * index}
        for index in range(count)
    ]


def context_of(
    session: RecompilingSession, *vary: str, batch: int = 4, batches: tuple[int, ...] = (1, 2, 4)
) -> LoadContext:
    """Four columns are the cell's; two and eight are the other sizes, of which one has more
    batches.
    """
    others = (wide(2), wide(8))
    cells = cell(model=wide(4, sizes=others), batch=batch)
    scenario = Scenario(SHAPES, seconds=0.001, batches=batches, vary=vary or (BATCH,))
    sizes = (
        [
            DeclaredSize(others[0], "2", fed(2, batch)),
            DeclaredSize(others[1], "8", fed(8, batch, 5)),
        ]
        if scenario.has_sizes
        else []
    )
    return LoadContext(session, fed(4, batch), cells, scenario, session.clock_of_test, sizes=sizes)


def points(context: LoadContext) -> dict[tuple[int, str], dict[str, Any]]:
    return {
        (point["batch"], point.get("size", "")): point
        for point in dynamic_shapes.changing_shapes(context)
    }


# -- batches ---------------------------------------------------------------------------------------


def test_the_first_call_of_a_batch_is_told_from_the_later_ones() -> None:
    made = points(context_of(RecompilingSession(Clock())))
    assert {size: made[size, ""]["first_ns"] for size, _ in made} == {
        1: 10 * MS,
        2: 10 * MS,
        4: None,
    }
    assert {size: set(made[size, ""]["laps_ns"]) for size, _ in made} == {
        1: {MS},
        2: {2 * MS},
        4: {4 * MS},
    }


def test_every_batch_answers_every_sample_to_be_judged() -> None:
    context = context_of(RecompilingSession(Clock()))
    dynamic_shapes.changing_shapes(context)
    assert set(context.judged) == {"batches of 1", "batches of 2", "batches of 4"}
    for kept in context.judged.values():
        for index in range(3):
            assert np.array_equal(kept[index]["y"], 2 * context.batches[index]["x"])


@pytest.mark.parametrize(
    ("spreads", "why"),
    [(False, "expected .4, 4. values, got"), (True, "the session returned 4 rows for batches of")],
)
def test_a_session_of_one_batch_is_refused_in_words(spreads: bool, why: str) -> None:
    with pytest.raises(Unsupported, match=f"takes batches of 4 only.*{why}"):
        dynamic_shapes.changing_shapes(
            context_of(RecompilingSession(Clock(), only=(4, 4), spreads=spreads))
        )


def test_an_error_at_the_shape_it_was_made_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected"):
        dynamic_shapes.changing_shapes(
            context_of(RecompilingSession(Clock(), only=(5, 4)), batches=(4,))
        )


# -- sizes -----------------------------------------------------------------------------------------


def test_every_size_is_fed_and_its_first_call_is_told_apart() -> None:
    made = points(context_of(RecompilingSession(Clock()), "size"))
    assert list(made) == [(4, "4"), (4, "2"), (4, "8")]
    assert [point["first_ns"] for point in made.values()] == [None, 10 * MS, 10 * MS]
    assert all(set(point["laps_ns"]) == {4 * MS} for point in made.values())


def test_both_change_at_once() -> None:
    made = points(context_of(RecompilingSession(Clock()), "batch", "size"))
    assert len(made) == 9
    assert [shape for shape, point in made.items() if point["first_ns"] is None] == [(4, "4")], (
        "the one that loading has seen"
    )


def test_what_was_compiled_for_a_shape_is_counted() -> None:
    made = points(context_of(RecompilingSession(Clock()), "size"))
    assert {size: point["builds"] for (_, size), point in made.items()} == {"4": 0, "2": 1, "8": 1}
    silent = points(context_of(RecompilingSession(Clock(), counts=False), "size"))
    assert {point["builds"] for point in silent.values()} == {None}


def test_every_size_answers_all_of_its_own_batches() -> None:
    context = context_of(RecompilingSession(Clock()), "batch", "size")
    dynamic_shapes.changing_shapes(context)
    for size, batches in ((context.sizes[0], 3), (context.sizes[1], 5)):
        assert set(size.judged) == {
            f"batches of {batch} at size {size.label}" for batch in (1, 2, 4)
        }
        for kept in size.judged.values():
            assert len(kept) == batches
            assert all(
                np.array_equal(kept[index]["y"], 2 * size.batches[index]["x"])
                for index in range(batches)
            )
    assert set(context.judged) == {f"batches of {batch} at size 4" for batch in (1, 2, 4)}, (
        "each size has a golden of its own"
    )


def test_a_session_of_one_size_is_refused_in_words() -> None:
    with pytest.raises(
        Unsupported,
        match=r"takes batches of 4 at size 4 only: batches of 4 at size [28] ended with "
        r"ValueError: expected",
    ):
        dynamic_shapes.changing_shapes(context_of(RecompilingSession(Clock(), only=(4, 4)), "size"))
    with pytest.raises(
        Unsupported,
        match=r"the session returned y of \[4, 4\] for batches of 4 at size [28], "
        r"expected \[4, [28]\]",
    ):
        dynamic_shapes.changing_shapes(
            context_of(RecompilingSession(Clock(), only=(4, 4), spreads=True), "size")
        )


def test_a_size_is_named_in_the_points_of_a_line() -> None:
    scenario = Scenario(SHAPES, vary=("size",))
    made = [
        dynamic_shapes.changing_shapes(context_of(RecompilingSession(Clock()), "size"))
        for _ in range(2)
    ]
    own, two, _ = load_points.merge_points(scenario, 4, made)
    assert (own["size"], own["builds"], own["first"]) == ("4", [0, 0], None)
    assert (two["size"], two["builds"], two["first_seen"]["value"]) == (
        "2",
        [1, 1],
        pytest.approx(2.5),
    )
    assert two["per_second"]["value"] == pytest.approx(1000), "four samples in 4 ms"
