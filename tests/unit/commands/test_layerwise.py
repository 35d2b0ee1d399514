"""The search for the tensor at which two cells part, on runtimes that go wrong at a known place,
also where looking hides it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, Session, UsageError
from evenbench.harness.accuracy import tensor_comparison
from evenbench.harness.commands import layerwise as parting
from evenbench.harness.comparison import layerwise as tensors
from evenbench.harness.comparison.layerwise_summary import sentences
from evenbench.harness.core.intermediate_tensors import Exposed, Within
from evenbench.harness.results import records
from tests.unit import builders
from tests.unit.builders import Product, attestation, cell, product, register, work_here

HERE = "tests.unit.commands.test_layerwise"
NAMES = tuple(f"t{number}" for number in range(8))


class ChainSession(Session):
    """t0 = x, t1 = 2 x, t2 = 3 x, and so on, and last y = x W; wrong from one tensor on, as the
    backend says.
    """

    def __init__(self, backend: Chain, weights: Any, names: tuple[str, ...]) -> None:
        self.backend, self.weights, self.names = backend, weights, names

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.x = inputs["x"]

    def step(self) -> None:
        wrong = self.backend.goes_wrong(len(self.names))
        off = [1.5 if wrong and number >= self.backend.at else 1.0 for number in range(len(NAMES))]
        made = {
            name: self.x * np.float32((number + 1) * off[number])
            for number, name in enumerate(NAMES)
        }
        answer = self.x @ self.weights
        self.made = {
            **{name: made[name] for name in self.names},
            "y": answer * np.float32(1.5 if wrong else 1),
        }

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
        return Exposed(
            self.meaning,
            tuple(
                Within(name, "Times", NAMES[max(0, int(name[1]) - 1) : int(name[1])])
                for name in chosen
            ),
        )

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
    """Wrong from t3 on, but right as soon as several tensors are looked at: an operator that is
    then no longer fused.
    """

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


class File(Chain):
    """Names of its own for what the module `block` makes; one of its tensors has no place there."""

    name = "file"
    meaning = "names in a file"

    def expose(self, folder: Path, cell: Cell, into: Path, only: Any, inputs: Any) -> Exposed:
        made = super().expose(folder, cell, into, only, inputs).tensors
        placed = [
            replace(each, places=(f"block.{each.name[1]}",)) if each.name != "t6" else each
            for each in made
        ]
        return Exposed(self.meaning, tuple(placed))


class WrongFile(File):
    """Wrong from t3 on."""

    name, at = "wrongfile", 3

    def goes_wrong(self, looked_at: int) -> bool:
        return True


class LateFile(WrongFile):
    """Every tensor within is right, and the answer is wrong."""

    name, at = "latefile", len(NAMES)


class ModuleSession(ChainSession):
    def fetch(self) -> Mapping[str, Any]:
        return {name.replace("t", "block."): value for name, value in self.made.items()}


class Module(Chain):
    """The same tensors, as `block.0` and so on, and a second call of the last, in no file."""

    name = "module"
    meaning = "names of modules"

    def expose(self, folder: Path, cell: Cell, into: Path, only: Any, inputs: Any) -> Exposed:
        chosen = None if only is None else [name.replace("block.", "t") for name in only]
        made = super().expose(folder, cell, into, chosen, inputs).tensors
        names = [each.name.replace("t", "block.") for each in made]
        return Exposed(
            self.meaning, tuple(Within(name, "Block", places=(f"/{name}", name)) for name in names)
        )

    def watch(self, folder: Path, cell: Cell, names: Any) -> Session:
        return ModuleSession(
            self,
            np.load(folder / "weights.npy"),
            tuple(name.replace("block.", "t") for name in names),
        )


KINDS = (Chain, Wrong, Fused, Watched, Late, Stranger, File, WrongFile, LateFile, Module)
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


def test_a_module_and_a_file_of_it_are_compared_where_both_know_the_place() -> None:
    found = tensors.find(cell("module"), cell("wrongfile"))
    assert found.first is not None
    assert (found.first.name, found.first.other, found.first.inputs, found.seen) == (
        "block.3",
        "t3",
        ("block.2",),
        "alone",
    )
    assert (found.by, len(found.rows), found.unmatched) == ("places", 8, (("block.6",), ()))
    told = " ".join(sentences(found))
    assert "matched by their places in the module, their order and their shapes: 7 tensors" in told
    assert f"1 of {cell('module').id} have a place too and could not be matched: block.6" in told
    assert (
        f"the first diverging tensor is block.3 (t3 in {cell('wrongfile').id}), "
        "made by Block of block.2"
    ) in told
    assert json.loads(json.dumps(parting.as_json(found)))["unmatched"] == {
        found.cells[0]: ["block.6"],
        found.cells[1]: [],
    }


def test_what_parts_behind_all_matched_tensors_is_said_to() -> None:
    found = tensors.find(cell("module"), cell("latefile"))
    assert found.first is not None
    assert (found.first.name, found.first.operator, found.seen) == ("y", "output", "behind")
    assert tensors.find(cell("file"), cell("module")).first is None


def test_sizes_that_differ_are_told_and_no_reason_to_stop() -> None:
    boxes = tensor_comparison.Row(
        "boxes",
        "Nms",
        ("scores",),
        (9, 4),
        1e9,
        1e9,
        0.0,
        0.1,
        "[9, 4] against [7, 4]",
        resized=True,
    )
    found = tensors.find(cell("wrong"), cell("chain"))
    told = sentences(
        replace(found, first=boxes, rows=(*found.rows, boxes, replace(boxes, name="labels")))
    )
    assert "made by Nms of scores: [9, 4] against [7, 4]" in " ".join(told)
    assert (
        "sizes differ from boxes on ([9, 4] against [7, 4]), in 2 tensors: "
        "how many rows are kept depends on the data"
    ) in told


def test_behind_rows_in_another_order_the_first_that_differs_in_value_is_named_as_well() -> None:
    found = tensors.find(cell("wrong"), cell("chain"))
    assert found.first is not None
    assert found.beyond_order == found.first
    order = replace(
        found.first,
        name="indices",
        operator="TopK",
        reordered=True,
        decided=True,
        note="2 of 4 differ",
    )
    told = " ".join(sentences(replace(found, first=order, rows=(order, *found.rows))))
    assert "the first diverging tensor is indices, made by TopK of t2: 2 of 4 differ" in told
    assert (
        "the first tensor that diverges in more than its order is t3, made by Times of t2:" in told
    )
    assert "in more than its order" not in " ".join(sentences(found))


def test_what_is_found_is_kept_where_a_report_reads_it(tmp_path: Path) -> None:
    first, second = cell("wrong"), cell("chain")
    kept = tmp_path / parting.FOLDER / "one.jsonl"
    records.append(
        records.folder(kept.parent).joinpath(kept.name),
        parting.record(first, second, tensors.find(first, second)),
    )
    (line,) = records.read([tmp_path], records.DIFF).lines
    assert (line["cell"]["key"], line["second"]["id"], line["outcome"]) == (
        first.key,
        second.id,
        "parts",
    )
    assert line["found"]["first"]["name"] == "t3"
    assert any(
        sentence.startswith("the first diverging tensor is t3") for sentence in line["words"]
    )


def test_what_agrees_agrees() -> None:
    found = tensors.find(cell("chain"), cell("chain", options=(("flag", "on"),)))
    assert (found.first, found.seen, [row.parts for row in found.rows]) == (None, "", [False] * 9)
    assert sentences(found)[-1] == "nothing diverges: 9 tensors and 1 output agree"


def test_a_row_knows_its_operator_its_inputs_and_how_wrong_they_are() -> None:
    found = tensors.find(cell("wrong"), cell("chain"))
    rows = {row.name: row for row in found.rows}
    assert (rows["t3"].operator, rows["t3"].inputs, rows["t3"].inputs_needed) == (
        "Times",
        ("t2",),
        0.0,
    )
    assert rows["t4"].inputs_needed == rows["t3"].needed > 1
    assert json.loads(json.dumps(parting.as_json(found)))["first"]["name"] == "t3"
    assert "the first diverging tensor is t3, made by Times of t2" in " ".join(sentences(found))


def test_an_index_that_parts_after_equal_inputs_is_told_for_what_it_is() -> None:
    index = tensor_comparison.Row(
        "indices", "TopK", ("scores",), (4,), 1e9, 1.0, 0.0, 0.1, "2 of 4 differ", decided=True
    )
    answer = tensor_comparison.Row("y", "output", (), (1, 3), 0.2, 0.0, 1.0, 0.0)
    found = replace(tensors.find(cell("wrong"), cell("chain")), first=index, outputs=(answer,))
    assert sentences(found)[-2:] == [
        "its inputs agree: nearly equal values were ordered, cut or rounded in another way",
        "the outputs agree all the same",
    ]
    assert "nearly equal" not in " ".join(
        sentences(replace(found, first=replace(index, inputs_needed=2.0)))
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            cell("chain"),
            cell("stranger"),
            r"\(names of links\) .* \(other names\): their names have different meanings",
        ),
        (cell("product"), cell("chain"), "product does not expose intermediate tensors"),
        (
            cell("absent"),
            cell("chain"),
            "cannot run here: absent: no_such_runtime is not installed",
        ),
        (cell("chain"), cell("chain", batch=2), "different batch"),
        (cell("chain"), cell("chain", replace(product(), name="other")), "are different models"),
    ],
)
def test_cells_that_cannot_be_compared_are_refused_in_words(
    first: Cell, second: Cell, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tensors.find(first, second)
