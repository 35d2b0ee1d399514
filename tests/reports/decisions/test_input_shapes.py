"""Two sizes of one model are never compared, ranked together or taken for one another."""

import pytest
import synthetic

from evenbench.harness.core.errors import UsageError
from evenbench.reports import model_scope, newest_records, result_groups

SMALL, LARGE = {"image": ["batch", 3, 64, 64]}, {"image": ["batch", 3, 128, 128]}


def cell(backend, millis, shape, run, key="", inputs=True):
    """A correct cell of one size; each size has its own key, as after `--shape`."""
    made = synthetic.record("unet", backend, process_ns=(millis * 1e6,) * 3)
    made["run"] = dict(made["run"], id=run, started=f"2026-11-{run}T00:00:00Z")
    made["time"] = f"2026-11-{run}T00:00:01Z"
    size = "x".join(map(str, shape["image"][1:]))
    made["cell"]["key"] = synthetic.sha(backend, size, key)[:16]
    if inputs:
        made["cell"]["input_shapes"] = shape
    return made


def scope(*lines, shape=""):
    return model_scope.scope(lines, ["results"], "unet", shape=shape)


def test_two_sizes_in_one_run_are_two_groups():
    lines = [
        cell(backend, millis * factor, shape, "21")
        for backend, millis in (("torch-eager", 8), ("ort", 4))
        for factor, shape in ((1, SMALL), (4, LARGE))
    ]
    groups = result_groups.groups(result_groups.results(lines))
    assert [len(group.results) for group in groups] == [2, 2]
    assert {len(group.ranked) for group in groups} == {2}


def test_a_lone_newer_cell_does_not_leave_the_comparison_of_its_size():
    """The fullest run of the larger size is no home for cells of the smaller size."""
    fast, slow = cell("ort", 4, SMALL, "22"), cell("openvino", 6, SMALL, "22")
    alone = cell("ort", 5, SMALL, "24")
    large = [cell(name, 90, LARGE, "23") for name in ("ort", "openvino", "torch-eager")]
    kept, notes = newest_records.newest([fast, slow, *large, alone])
    assert fast in kept
    assert slow in kept
    assert alone not in kept
    assert notes == [f"{fast['cell']['id']}: of 2 records the one from run 22 is shown"]


def test_lines_without_recorded_shapes_belong_to_the_group_of_their_key():
    old = [cell(name, 4, SMALL, "22", inputs=False) for name in ("ort", "openvino")]
    kept, _ = newest_records.newest([*old, cell("ort", 5, SMALL, "24")])
    assert kept == old


def test_a_recommendation_has_one_shape_and_names_the_others():
    lines = [cell("ort", 4, SMALL, "23"), cell("openvino", 90, LARGE, "22")]
    known = scope(*lines)
    assert [result.name for result in known.members] == ["ort"]
    assert (known.shape, known.notes) == (
        "3x64x64",
        ("shape 3x64x64; shape 3x128x128 is recorded as well, see --shape",),
    )
    for wanted in ("3x128x128", "1x3x128x128"):
        assert [result.name for result in scope(*lines, shape=wanted).members] == ["openvino"]
    with pytest.raises(UsageError, match="at shape 1x9; recorded are 3x128x128, 3x64x64"):
        scope(*lines, shape="1x9")


def test_of_two_declarations_with_one_id_the_newest_counts_with_a_note():
    before, after = cell("ort", 4, SMALL, "22", "before"), cell("ort", 2, SMALL, "23", "after")
    known = scope(after, before)
    assert [result.record for result in known.members] == [after]
    assert "2 different declarations have this id" in known.notes[0]
    assert "run 23 has the newest" in known.notes[0]
