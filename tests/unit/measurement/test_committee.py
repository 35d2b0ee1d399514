"""A golden with several judges: the majority judges, and the verdict names who disagreed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, Model, Session, TensorSpec, Unsupported
from evenbench.harness.core.golden import Judge
from evenbench.harness.core.intermediate_tensors import Exposed, Within
from evenbench.harness.inputs import expected_outputs
from evenbench.harness.measurement import golden as maker
from evenbench.harness.measurement import judging
from tests.unit.builders import Exact

BATCHES = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 2, 4)
MODEL = Model(
    "m", build="a:b", inputs=(TensorSpec("x", (2, 4)),), outputs=(TensorSpec("y", (2, 4)),)
)


class Computed(Session):
    """A session on a function, with a tensor `inner` before the output."""

    def __init__(self, function: Callable[[Any], Any], precision: str) -> None:
        self.function, self.precision = function, precision

    def bind(self, inputs: Any) -> None:
        self.x = inputs["x"].astype(np.float64)

    def step(self) -> None:
        self.y = self.function(self.x)

    def fetch(self) -> Any:
        return {"inner": self.x, "y": self.y}

    def attest(self) -> Any:
        return type("Attested", (), {"precision": self.precision})


def judge(name: str, function: Callable[[Any], Any], **more: Any) -> Judge:
    return Judge(name, name, lambda folder: Computed(function, "fp64"), **more)


def raises(x: Any) -> Any:
    raise IndexError("axis 7 is out of\nbounds")


def doubled(x: Any) -> Any:
    return 2 * x


def wrong(x: Any) -> Any:
    return 2.1 * x


def endless(x: Any) -> Any:
    while True:
        x = x + 0


class Several(Exact):
    """A golden with the judges of a test."""

    members: Sequence[Judge] = ()
    doubt = ""

    def judges(self, cell: Cell) -> Sequence[Judge]:
        return self.members

    def kind_of(self, session: Session) -> str:
        return "the golden's name"

    def doubts(self, folder: Path, cell: Cell) -> str:
        return self.doubt

    def expose(self, folder: Path, cell: Cell, into: Path, only: Any, inputs: Any) -> Exposed:
        return Exposed("names", (Within("inner", "Identity"), Within("y", "Scale", ("inner",))))

    def work(self, session: Session) -> dict[str, Any]:
        return {}


def made(
    folder: Path, *members: Judge, expected: Any = None, doubt: str = ""
) -> tuple[dict[str, Any], Any]:
    """The facts and outputs of a golden by these judges."""
    inputs, golden = folder / "inputs", Several()
    inputs.mkdir()
    np.save(inputs / "x.npy", BATCHES)
    if expected is not None:
        expected_outputs.save(inputs, [{"y": values} for values in expected])
    golden.members, golden.doubt = members, doubt
    facts = maker.make_golden(Cell(MODEL, "exact"), golden, folder, inputs, {}, folder)
    return facts, np.load(folder / "outputs.npz")["y"]


def test_the_majority_judges_and_the_dissent_is_named_with_its_node(tmp_path: Path) -> None:
    facts, outputs = made(tmp_path, judge("A", wrong), judge("B", doubled), judge("C", doubled))
    assert facts["kind"] == (
        "the golden's name, in agreement with C; not by A, in disagreement at Scale (y)"
    )
    assert np.array_equal(outputs, BATCHES.astype(np.float64) * 2)


def test_an_exception_takes_a_judge_off_the_committee_only(tmp_path: Path) -> None:
    facts, outputs = made(tmp_path, judge("A", raises), judge("B", doubled))
    assert facts["kind"] == (
        "the golden's name, alone; A raised IndexError: axis 7 is out of bounds"
    )
    assert np.array_equal(outputs, BATCHES.astype(np.float64) * 2)


def test_a_slow_judge_is_given_up_beside_another(tmp_path: Path) -> None:
    facts, _ = made(tmp_path, judge("A", endless, seconds=0.1), judge("B", doubled))
    assert facts["kind"] == "the golden's name, alone; A did not finish in 0.1 s"


def test_two_judges_in_disagreement_make_the_reference_suspect_and_no_mismatch(
    tmp_path: Path,
) -> None:
    facts, _ = made(tmp_path, judge("A", wrong), judge("B", doubled))
    assert facts["suspect"] == (
        "reference suspect: A and B disagree at Scale (y), and no further judge decides; "
        "give expected outputs beside the inputs"
    )
    kept = {"compute": {index: {"y": x * np.float32(2)} for index, x in enumerate(BATCHES)}}
    verdict = judging.judge(Cell(MODEL, "exact"), kept, tmp_path)
    assert (verdict["verdict"], verdict["reason"]) == ("degenerate", facts["suspect"])
    assert json.loads((tmp_path / "facts.json").read_text())["suspect"] == facts["suspect"]


@pytest.mark.parametrize("right", [doubled, wrong])
def test_expected_outputs_decide_between_two_judges(
    right: Callable[[Any], Any], tmp_path: Path
) -> None:
    _, outputs = made(
        tmp_path,
        *(judge("A", wrong), judge("B", doubled)),
        expected=right(BATCHES),
    )
    assert np.array_equal(outputs, right(BATCHES.astype(np.float64)))


def test_expected_outputs_judge_alone_where_no_judge_can_run(tmp_path: Path) -> None:
    facts, outputs = made(tmp_path, judge("A", raises), expected=BATCHES * 3)
    assert facts["kind"].startswith("the expected outputs beside the inputs; A raised IndexError")
    assert np.array_equal(outputs, (BATCHES * 3).astype(np.float64))


def test_a_witness_stands_by_a_lone_judge_or_makes_the_reference_suspect(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    lone = judge("A", raises), judge("B", doubled)
    facts, _ = made(tmp_path / "one", *lone, judge("W", doubled, is_witness=True))
    assert facts["kind"].startswith("the golden's name, in agreement with W; A raised")
    facts, _ = made(tmp_path / "two", *lone, judge("W", wrong, is_witness=True))
    assert facts["suspect"].startswith("reference suspect: B and W disagree at Scale (y)")


def test_a_witness_is_not_heard_where_two_judges_agree(tmp_path: Path) -> None:
    heard: list[str] = []

    def witness(x: Any) -> Any:
        heard.append("W")
        return 2 * x

    members = judge("B", doubled), judge("W", witness, is_witness=True)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    made(tmp_path / "one", judge("A", doubled), *members)
    assert not heard
    facts, outputs = made(tmp_path / "two", judge("A", wrong), *members)
    assert "in agreement with W; not by A" in facts["kind"]
    assert heard
    assert np.array_equal(outputs, BATCHES.astype(np.float64) * 2)


def test_a_judge_that_contradicts_the_declared_shape_is_off(tmp_path: Path) -> None:
    facts, _ = made(tmp_path, judge("A", lambda x: 2 * x[:1]), judge("B", doubled))
    assert "A gives y of shape [1, 4], the file says [2, 4]" in facts["kind"]


def test_a_cause_in_the_model_explains_a_disagreement(tmp_path: Path) -> None:
    judges = judge("A", wrong), judge("B", doubled), judge("C", doubled)
    facts, _ = made(tmp_path, *judges, doubt="the graph draws random numbers (Dropout)")
    assert facts["suspect"].startswith("reference suspect: the graph draws random numbers")


def test_without_any_opinion_each_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no judge can run m: A raised IndexError.*; B raised"):
        made(tmp_path, judge("A", raises), judge("B", raises))


def test_widening_that_changes_the_answer_is_not_used(tmp_path: Path) -> None:
    member = judge("B", wrong, yardstick=lambda folder: Computed(doubled, "fp32"))
    _, outputs = made(tmp_path, member)
    assert np.array_equal(outputs, BATCHES.astype(np.float64) * 2)
