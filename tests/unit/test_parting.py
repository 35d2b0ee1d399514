"""The search for the tensor at which two cells part, on runtimes that go wrong at a known place, also where looking hides it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Cell, Session, UsageError, parting, tensors
from harness.backend import Exposed, Within
from tests.unit import builders
from tests.unit.builders import Product, attestation, cell, product, register, work_here

HERE = "tests.unit.test_parting"
NAMES = tuple(f"t{number}" for number in range(8))


class ChainSession(Session):
    """t0 = x, t1 = 2 x, t2 = 3 x, and so on, and last y = x W; wrong from one tensor on, as the backend says."""

    def __init__(self, backend: Chain, weights: Any, names: tuple[str, ...]) -> None:
        self.backend, self.weights, self.names = backend, weights, names

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.x = inputs["x"]

    def step(self) -> None:
        wrong = self.backend.goes_wrong(len(self.names))
        off = [1.5 if wrong and number >= self.backend.at else 1.0 for number in range(len(NAMES))]
        made = {name: self.x * np.float32((number + 1) * off[number]) for number, name in enumerate(NAMES)}
        answer = self.x @ self.weights
        self.made = {**{name: made[name] for name in self.names}, "y": answer * np.float32(1.5 if wrong else 1)}

    def fetch(self) -> Mapping[str, Any]:
        return dict(self.made)

    def attest(self) -> Any:
        return attestation()


class Chain(Product):
    """Right, and willing to be looked into."""

    name = "chain"
    at = len(NAMES)
    meaning = "names of links"

    def goes_wrong(self, looked_at: int) -> bool:
        return False

    def expose(self, folder: Path, cell: Cell, into: Path, only: Any, inputs: Any) -> Exposed:
        (into / "weights.npy").write_bytes((folder / "weights.npy").read_bytes())
        chosen = [name for name in NAMES if only is None or name in only]
        return Exposed(self.meaning, tuple(Within(name, "Times", NAMES[max(0, int(name[1]) - 1) : int(name[1])]) for name in chosen))

    def watch(self, folder: Path, cell: Cell, names: Any) -> Session:
        return ChainSession(self, np.load(folder / "weights.npy"), tuple(names))

    def session(self, weights: Any, cell: Cell) -> Session:
        return ChainSession(self, weights, ())


class Wrong(Chain):
    """Wrong from t3 on, always."""

    name = "wrong"
    at = 3

    def goes_wrong(self, looked_at: int) -> bool:
        return True


class Fused(Wrong):
    """Wrong from t3 on, but right as soon as several tensors are looked at: an operator that is then no longer fused."""

    name = "fused"
    at = 5

    def goes_wrong(self, looked_at: int) -> bool:
        return looked_at <= 1


class Watched(Wrong):
    """Wrong only while several tensors are looked at."""

    name = "watched"

    def goes_wrong(self, looked_at: int) -> bool:
        return looked_at > 1


class Late(Wrong):
    """Every tensor within is right, and the answer is wrong."""

    name = "late"
    at = len(NAMES)


class Stranger(Chain):
    name = "stranger"
    meaning = "other names"


KINDS = (Chain, Wrong, Fused, Watched, Late, Stranger)
ROWS = ",".join([builders.ROWS, *(f"{kind.name}={HERE}:{kind.__name__}" for kind in KINDS)])


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    register(monkeypatch, ROWS)
    work_here(monkeypatch)


@pytest.mark.parametrize(
    ("backend", "first", "seen"),
    [
        ("wrong", "t3", "alone"),
        ("fused", "t5", "bisected"),
        ("watched", "t3", "together"),
        ("late", "y", "outputs"),
    ],
)
def test_the_first_tensor_that_parts_is_found(backend: str, first: str, seen: str) -> None:
    found = tensors.find(cell(backend), cell("chain"))
    assert found.first is not None
    assert (found.first.name, found.seen) == (first, seen)
    assert found.rule["against"] == cell("chain").id


def test_what_agrees_agrees() -> None:
    found = tensors.find(cell("chain"), cell("chain", options=(("flag", "on"),)))
    assert (found.first, found.seen, [row.parts for row in found.rows]) == (None, "", [False] * 9)
    assert parting.in_words(found)[-1] == "nothing parts: 9 tensors and 1 outputs agree"


def test_a_row_knows_its_operator_its_inputs_and_how_wrong_they_are() -> None:
    found = tensors.find(cell("wrong"), cell("chain"))
    rows = {row.name: row for row in found.rows}
    assert (rows["t3"].operator, rows["t3"].inputs, rows["t3"].inputs_needed) == ("Times", ("t2",), 0.0)
    assert rows["t4"].inputs_needed == rows["t3"].needed > 1
    assert json.loads(json.dumps(parting.as_json(found)))["first"]["name"] == "t3"
    assert "the first tensor that parts is t3, made by Times of t2" in " ".join(parting.in_words(found))


def test_an_index_that_parts_after_equal_inputs_is_told_for_what_it_is() -> None:
    index = tensors.Row("indices", "TopK", ("scores",), (4,), 1e9, 1.0, 0.0, 0.1, "2 of 4 differ", decided=True)
    answer = tensors.Row("y", "output", (), (1, 3), 0.2, 0.0, 1.0, 0.0)
    found = replace(tensors.find(cell("wrong"), cell("chain")), first=index, outputs=(answer,))
    assert parting.in_words(found)[-2:] == [
        "its inputs agree: values that are nearly equal were ordered, cut or rounded in another way",
        "the answers agree all the same",
    ]
    assert "nearly equal" not in " ".join(parting.in_words(replace(found, first=replace(index, inputs_needed=2.0))))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (cell("chain"), cell("stranger"), "names of links, .* other names: one name does not stand for one tensor in both"),
        (cell("product"), cell("chain"), "product does not tell what it computes on the way"),
        (cell("absent"), cell("chain"), "cannot run here: absent: no_such_runtime is not installed"),
        (cell("chain"), cell("chain", batch=2), "different batch"),
        (cell("chain"), cell("chain", replace(product(), name="other")), "are different models"),
    ],
)
def test_cells_that_cannot_be_compared_are_refused_in_words(first: Cell, second: Cell, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tensors.find(first, second)


def arrays(folder: Path, *values: Any) -> tuple[Path, Path]:
    for number, value in enumerate(values):
        np.save(folder / f"{number}.npy", np.asarray(value))
    return folder / "0.npy", folder / "1.npy"


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
        (np.float32([]), np.float32([]), False, ""),
    ],
)
def test_tensors_are_compared_by_what_they_are(one: Any, other: Any, parts: bool, note: str, tmp_path: Path) -> None:
    from harness.preparation import Preparer

    search = tensors.Search(tensors.Pair(cell("chain"), cell("wrong"), Preparer(60.0), tmp_path), lambda text: None)
    row = search._row("t", {"operator": "Times", "inputs": []}, arrays(tmp_path, one, other), 0.0)
    assert (row.parts, row.note) == (parts, note)
