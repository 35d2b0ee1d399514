"""Which upgrades lie between two recorded states, and the comparisons that measure them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Case
from evenbench.harness.collection import matrix, selection
from evenbench.harness.collection.selection_flags import Selection
from evenbench.harness.commands import upgrade as bridge
from evenbench.harness.comparison import sides
from evenbench.harness.comparison import upgrade as comparison_upgrade
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS

CELLS = {
    cell.id: cell
    for cell in matrix.expand(
        Case(models=(TINY_CNN,), backends=("ort", "ort@1.24.1", "openvino"), threads=(1, 2))
    )
}


def asv(folder: Path, name: str, **requirements: str) -> Path:
    """One of asv's result files, as far as it matters."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"env_name": f"virtualenv-{name}", "requirements": requirements}))
    return file


def lines(folder: Path, name: str, *states: dict[str, str], backend: str = "ort") -> Path:
    """Recorded outcomes of one cell, with these packages."""
    file = folder / f"{name}.jsonl"
    with file.open("w") as out:
        for index, packages in enumerate(states):
            cell = {"key": str(index), "id": "c", "model": "m", "backend": backend}
            line: dict[str, Any] = {
                "schema": 1,
                "time": "t",
                "cell": cell,
                "outcome": "ok",
                "environment": {"packages": packages},
            }
            out.write(json.dumps(line) + "\n")
    return file


def test_packages_are_read_of_either_kind_of_record(tmp_path: Path) -> None:
    found = comparison_upgrade.packages_of(
        asv(tmp_path, "a", **{"onnxruntime": "1.31.1", "pip+Torch": "2.15.0"})
    )
    assert found == {"onnxruntime": "1.31.1", "torch": "2.15.0"}
    recorded = lines(tmp_path, "b", {"onnxruntime": "1.31.1"}, {"Pillow": "13"})
    assert comparison_upgrade.packages_of(recorded) == {"onnxruntime": "1.31.1", "pillow": "13"}
    assert (
        comparison_upgrade.packages_of(lines(tmp_path, "d", {"onnxruntime": "1"}, backend="ort@1"))
        == {}
    )


def test_a_record_of_two_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds onnxruntime 1 and 2; name the file of one run"):
        comparison_upgrade.packages_of(
            lines(tmp_path, "c", {"onnxruntime": "1"}, {"onnxruntime": "2"})
        )


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"requirements": {}}'])
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match="asv"):
        comparison_upgrade.packages_of(tmp_path / "x.json")
    with pytest.raises(UsageError, match="no such results file"):
        comparison_upgrade.packages_of(tmp_path / "nowhere.jsonl")


def test_only_a_runtime_whose_version_changed_is_moved() -> None:
    changed = comparison_upgrade.changes(
        {"onnxruntime": "1.24.1", "openvino": "1", "numpy": "2.4", "gone": "1", "evenbench": "1"},
        {"onnxruntime": "1.31.1", "openvino": "1", "numpy": "2.5", "new": "1", "evenbench": "2"},
    )
    assert changed == {"numpy": ("2.4", "2.5"), "onnxruntime": ("1.24.1", "1.31.1")}
    (upgrade,) = comparison_upgrade.upgrades(changed, CELLS)
    assert upgrade.sides == ("ort@1.24.1", "ort@1.31.1")
    assert upgrade.cells == tuple(name for name, cell in CELLS.items() if cell.backend == "ort")
    assert len(upgrade.cells) == 2
    assert upgrade.record == {"from": {"onnxruntime": "1.24.1"}, "to": {"onnxruntime": "1.31.1"}}


def test_two_releases_are_compared_in_each_cell_of_their_backend_as_it_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A history knows its cells by their ids: a comparison under the group's name would never be
    found again.
    """
    case = Case(
        models=(TINY_CNN,),
        backends=("openvino", "ort"),
        threads=(1,),
        options={"ort": ({}, {"spinning": "off"})},
    )
    cells = {cell.id: cell for cell in matrix.expand(case)}
    monkeypatch.setattr("evenbench.harness.comparison.side_worker.chosen", lambda words: cells)
    monkeypatch.setattr("evenbench.harness.comparison.side_worker.places", lambda words: {})
    own = [name for name, cell in cells.items() if cell.backend == "ort"]
    with sides.sides("ort@1.24.1", "ort@1.31.1", [], PLANS["quick"]) as pair:
        assert list(pair.cells.items()) == [(name, name) for name in own]
        made = [pair.head.change.of(cells[name]) for name in own]
    assert [(cell.backend, cell.option) for cell in made] == [
        ("ort@1.31.1", {}),
        ("ort@1.31.1", {"spinning": "off"}),
    ]
    with sides.sides("ort", "ort:spinning=off", [], PLANS["quick"]) as pair:
        assert len(pair.cells) == 1, "two sets of options: one of each group"
        assert pair.base.change.of(cells[own[1]]).option == {}
    with sides.sides("torch-eager@2.1", "torch-eager", [], PLANS["quick"]) as pair:
        assert list(pair.cells) == [cells[own[0]].group], (
            "declared of others only: one of each group"
        )


def test_the_worst_of_several_runtimes_is_what_is_confirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter((7, 1))
    monkeypatch.setattr(
        "evenbench.harness.commands.upgrade._compared", lambda words, move: next(codes)
    )
    monkeypatch.setattr("evenbench.harness.comparison.side_worker.chosen", lambda words: CELLS)
    old, new = (asv(tmp_path, name, onnxruntime=name, openvino=name) for name in ("1", "2"))
    assert bridge.run(bridge.UpgradeOptions(str(old), str(new))) == 1


def test_no_chosen_cell_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(words: list[str]) -> dict[str, Any]:
        raise selection.NoCells("-k 'nowhere' leaves none of 3 cells")

    old, new = (asv(tmp_path, name, onnxruntime=name) for name in ("1", "2"))
    monkeypatch.setattr("evenbench.harness.comparison.side_worker.chosen", none)
    nowhere = Selection(expression="nowhere")
    assert bridge.run(bridge.UpgradeOptions(str(old), str(new), nowhere)) == exit_codes.NOTHING
    assert "leaves none of 3 cells" in capsys.readouterr().err


def run(
    old: Path, new: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str]:
    monkeypatch.setattr("evenbench.harness.comparison.side_worker.chosen", lambda words: CELLS)
    code = bridge.run(bridge.UpgradeOptions(str(old), str(new), dry_run=True))
    told = capsys.readouterr()
    return code, told.err + told.out


def test_the_command_is_one_that_compare_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = asv(tmp_path, "old", onnxruntime="1.24.1", numpy="2.4")
    code, text = run(
        old, asv(tmp_path, "new", onnxruntime="1.31.1", numpy="2.5"), capsys, monkeypatch
    )
    assert code == 0
    assert "also changed, and equal on both sides of the bridge: numpy 2.4 to 2.5" in text
    assert (
        "onnxruntime 1.24.1 to 1.31.1: evenbench compare ort@1.24.1 ort@1.31.1 benchmarks --cell "
        in text
    )


def test_where_no_runtime_changed_it_says_what_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = asv(tmp_path, "old", onnxruntime="1", numpy="2.4")
    assert run(old, old, capsys, monkeypatch)[0] == exit_codes.NOTHING
    code, text = run(old, asv(tmp_path, "new", onnxruntime="1", numpy="2.5"), capsys, monkeypatch)
    assert code == exit_codes.NOTHING
    assert "no chosen cell's runtime changed; changed are numpy 2.4 to 2.5" in text
