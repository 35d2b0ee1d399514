"""Detections are matched before they are compared: exactly at the limits, at the threshold, without
any, and through a whole run.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import ANY, BATCH, Model, TensorSpec, UsageError
from evenbench.harness.accuracy import detection_matching, output_values, parity, tolerances
from evenbench.harness.accuracy.detection_matching import LIMITS, Difference, Limits
from evenbench.harness.core import artifact_store, data_dependent_shapes, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import PRECISIONS
from evenbench.harness.measurement import golden as measurement_golden
from evenbench.harness.measurement import judging
from evenbench.harness.runner.schedule import Run
from tests.unit import detectors
from tests.unit.builders import cell, plan, product, work_here

LIMIT = Limits(iou=0.9, score=0.01, unmatched=0.0, mask_iou=0.9, margin=0.02)


def found(*objects: tuple[list[float], int, float], masks: Any = None) -> dict[str, Any]:
    boxes, labels, scores = zip(*objects, strict=True) if objects else ([], [], [])
    made = {
        "boxes": np.array(boxes, np.float64).reshape(-1, 4),
        "labels": np.array(labels, np.int64),
        "scores": np.array(scores, np.float64),
    }
    return made if masks is None else {**made, "masks": np.asarray(masks)}


CAT, DOG, TREE = (
    ([10.0, 10.0, 30.0, 30.0], 1, 0.9),
    ([50.0, 10.0, 90.0, 30.0], 2, 0.8),
    ([10.0, 50.0, 20.0, 90.0], 3, 0.7),
)


def compare(made: Any, wanted: Any, threshold: float = 0.5) -> Difference:
    return detection_matching.compare(made, wanted, threshold, LIMIT.margin)


def test_the_same_in_another_order_is_the_same() -> None:
    same = compare(found(TREE, CAT, DOG), found(CAT, DOG, TREE))
    assert same == Difference(wanted=3, matched=3, unmatched=0, on_threshold=0)
    assert detection_matching.needed(same, LIMIT)[0] == 0.0


def test_nothing_found_on_both_sides_is_agreement() -> None:
    assert compare(found(), found()) == Difference(0, 0, 0, 0)
    assert detection_matching.needed(compare(found(), found()), LIMIT)[0] == 0.0


@pytest.mark.parametrize(
    ("made", "wanted"),
    [(found(), found(CAT)), (found(CAT), found()), (found(CAT, DOG), found(CAT))],
)
def test_one_more_or_less_is_never_allowed_where_none_is(made: Any, wanted: Any) -> None:
    most, why = detection_matching.needed(compare(made, wanted), LIMIT)
    assert most == np.inf
    assert "1 detections have no partner" in why


def test_iou_is_what_geometry_says() -> None:
    square = np.array([[0.0, 0.0, 2.0, 2.0]])
    others = np.array(
        [
            [1.0, 0.0, 3.0, 2.0],
            [0.0, 0.0, 2.0, 2.0],
            [5.0, 5.0, 6.0, 6.0],
            [2.0, 0.0, 4.0, 2.0],
            [0.5, 0.5, 1.5, 1.5],
        ]
    )
    assert detection_matching.box_iou(square, others) == pytest.approx(
        np.array([[1 / 3, 1, 0, 0, 1 / 4]])
    )


def test_a_box_without_an_area_is_the_same_as_itself_only() -> None:
    line = np.array([[1.0, 1.0, 1.0, 5.0]])
    assert detection_matching.box_iou(
        line, np.array([[1.0, 1.0, 1.0, 5.0], [1.0, 1.0, 1.0, 4.0]])
    ).tolist() == [[1.0, 0.0]]


def test_the_error_of_a_box_is_told_in_pixels_and_judged_by_overlap() -> None:
    wider = ([10.0, 10.0, 32.0, 30.0], 1, 0.9)  # 20 x 20 becomes 22 x 20
    seen = compare(found(wider, DOG), found(CAT, DOG))
    assert (seen.box_pixels, seen.box_iou) == (2.0, pytest.approx(400 / 440))
    most, why = detection_matching.needed(seen, LIMIT)
    assert most == pytest.approx((40 / 440) / 0.1)
    assert "2 pixels off" in why


def test_another_class_is_another_object() -> None:
    assert compare(found((CAT[0], 2, 0.9)), found(CAT)).unmatched == 2


def test_a_score_that_is_off_is_judged() -> None:
    seen = compare(found((CAT[0], 1, 0.88)), found(CAT))
    assert detection_matching.needed(seen, LIMIT)[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("score", "unmatched", "on_threshold"),
    [(0.5, 0, 1), (0.519, 0, 1), (0.52, 1, 0), (0.9, 1, 0), (0.499, 0, 0), (0.1, 0, 0)],
)
def test_one_that_lies_on_the_threshold_may_be_missing(
    score: float, unmatched: int, on_threshold: int
) -> None:
    for made, wanted in (
        (found(CAT), found(CAT, (DOG[0], 2, score))),
        (found(CAT, (DOG[0], 2, score)), found(CAT)),
    ):
        seen = compare(made, wanted)
        assert (seen.matched, seen.unmatched, seen.on_threshold) == (1, unmatched, on_threshold)


def test_the_partner_of_one_above_the_threshold_may_lie_just_below() -> None:
    seen = compare(found((CAT[0], 1, 0.499)), found((CAT[0], 1, 0.501)))
    assert (seen.matched, seen.unmatched, seen.on_threshold) == (1, 0, 0)
    assert seen.score == pytest.approx(0.002)


def test_what_both_sides_score_below_the_threshold_is_left_out() -> None:
    assert (
        compare(
            found(CAT, (DOG[0], 2, 0.49)), found(CAT, ([500.0, 0.0, 600.0, 90.0], 7, 0.495))
        ).matched
        == 1
    )


def test_the_greedy_choice_is_not_taken() -> None:
    """The first box overlaps the second golden box best, but is the only partner of the first."""
    first, second = ([0.0, 0.0, 10.0, 10.0], 1, 0.9), ([0.0, 0.0, 14.0, 10.0], 1, 0.9)
    made = found(([0.0, 0.0, 12.5, 10.0], 1, 0.9), ([0.0, 0.0, 18.0, 10.0], 1, 0.9))
    seen = compare(made, found(first, second))
    assert (seen.matched, seen.unmatched) == (2, 0)


def test_of_equal_boxes_each_finds_the_one_of_its_own_score() -> None:
    wanted = found((CAT[0], 1, 0.9), (CAT[0], 1, 0.6))
    assert compare(found((CAT[0], 1, 0.6), (CAT[0], 1, 0.9)), wanted).score == 0.0


def test_masks_are_compared_in_pairs() -> None:
    disc = np.zeros((2, 1, 4, 4))
    disc[0, 0, :2], disc[1, 0, 2:] = 0.9, 0.8
    wanted = found(CAT, DOG, masks=disc)
    assert compare(found(DOG, CAT, masks=disc[::-1]), wanted).mask_iou == 1.0
    less = disc.copy()
    less[0, 0, 0, 0] = 0.4
    assert compare(found(CAT, DOG, masks=less), wanted).mask_iou == pytest.approx(7 / 8)
    assert compare(found(CAT, DOG, masks=np.zeros((2, 1, 4, 5))), wanted).mask_iou == 0.0
    assert (
        compare(
            found(CAT, masks=np.zeros((1, 4, 4))), found(CAT, masks=np.zeros((1, 4, 4)))
        ).mask_iou
        == 1.0
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": np.array([0.9, 0.8])}, "1 boxes, 1 labels, 2 scores"),
        ({"boxes": np.zeros((1, 5))}, r"expected \[n, 4\]"),
        ({"boxes": np.full((1, 4), np.nan)}, "boxes have non-finite values"),
        ({"scores": np.array([np.inf])}, "scores have non-finite values"),
    ],
)
def test_what_is_no_list_of_detections_fails_and_says_why(
    change: dict[str, Any], said: str
) -> None:
    most, why, _ = detection_matching.judge(
        [found(DOG), {**found(CAT), **change}], [found(DOG), found(CAT)], 0.5, LIMIT
    )
    assert most == np.inf
    with pytest.raises(AssertionError, match=f"input 1: .*{said}"):
        raise AssertionError(why)


def test_goldens_that_find_nothing_or_always_the_same_cannot_judge() -> None:
    assert "an empty output would pass" in detection_matching.degenerate(
        [found(), found((CAT[0], 1, 0.3))], 0.5, LIMIT
    )
    assert "a cached answer would pass" in detection_matching.degenerate(
        [found(CAT), found(CAT)], 0.5, LIMIT
    )
    assert "non-finite" in detection_matching.degenerate(
        [found(CAT), found(([np.nan] * 4, 1, 0.9))], 0.5, LIMIT
    )
    assert detection_matching.degenerate([found(CAT), found(), found(DOG)], 0.5, LIMIT) == ""


def test_several_images_are_as_bad_as_the_worst() -> None:
    images = [found(CAT), found(DOG, TREE), found()]
    made = [found((CAT[0], 1, 0.895)), found(DOG, (TREE[0], 3, 0.696)), found()]
    most, _, seen = detection_matching.judge(made, images, 0.5, LIMIT)
    assert (seen.wanted, seen.matched, seen.score) == (3, 3, pytest.approx(0.005))
    assert most == pytest.approx(0.5)
    assert set(seen.facts()) == {
        *(
            "detections",
            "matched",
            "unmatched",
            "on_threshold",
            "worst_box_pixels",
            "worst_box_iou",
            "worst_score_difference",
        )
    }


def test_every_precision_has_limits_and_a_narrower_one_allows_no_less() -> None:
    assert set(LIMITS) == set(PRECISIONS)
    strict = LIMITS["fp32"]
    for limits in LIMITS.values():
        assert limits.iou <= strict.iou
        assert limits.score >= strict.score
        assert limits.margin >= limits.score, (
            "a score that may be off by more than the margin would lose its partner"
        )


# -- a fixed number of rows ------------------------------------------------------------------------

FAINT = ([0.0, 0.0, 5.0, 5.0], 4, 0.1)

ROWS = (
    TensorSpec("boxes", (3, 4)),
    TensorSpec("labels", (3,), "int64"),
    TensorSpec("scores", (3,)),
)


def stacked(*images: dict[str, Any], kind: type = np.float64) -> dict[str, Any]:
    """Images of as many rows each, as outputs of a known size are kept."""
    arrays = {name: np.stack([image[name] for image in images]) for name in images[0]}
    return {
        name: array.astype(np.int64 if name == "labels" else kind) for name, array in arrays.items()
    }


def verdict_of(made: dict[str, Any], task: str = "detection") -> Any:
    golden = stacked(found(CAT, DOG, FAINT), found(TREE, FAINT, FAINT))
    return parity.compare(
        made, golden, ROWS, tolerances.TOLERANCES["fp32"], "a golden", parity.Evidence(task=task)
    )


def test_so_many_rows_for_every_image_are_matched_as_well() -> None:
    """A network with queries answers with all of them: what it scores low is no object, and may be
    anything.
    """
    nothing = ([40.0, 40.0, 41.0, 41.0], 7, 0.3)
    made = stacked(found(nothing, DOG, CAT), found(nothing, FAINT, TREE), kind=np.float32)
    verdict = verdict_of(made)
    assert (verdict.verdict, verdict.agreement["matched"], verdict.outputs) == ("pass", 3, ())
    assert verdict_of(made, task="other").verdict == "fail", (
        "rows are a detector's, and of no other task"
    )
    assert (
        verdict_of(
            stacked(found(CAT, FAINT, FAINT), found(TREE, FAINT, FAINT), kind=np.float32)
        ).verdict
        == "fail"
    )
    assert (
        "has shape [2, 4]"
        in verdict_of(stacked(found(CAT, DOG), found(TREE, FAINT), kind=np.float32)).reason
    )


@pytest.mark.parametrize(
    ("shapes", "objects"),
    [
        (
            {"boxes": (9, 4), "labels": (9,), "scores": (9,), "logits": (9, 3)},
            ("boxes", "labels", "scores"),
        ),
        (
            {"boxes": (9, 4), "labels": (9,), "scores": (9,), "masks": (9, 1, 8, 8)},
            ("boxes", "labels", "scores", "masks"),
        ),
        (
            {"boxes": (ANY, 4), "labels": (ANY,), "scores": (ANY,), "logits": (9, 3)},
            ("boxes", "labels", "scores"),
        ),
        ({"boxes": (BATCH, 9, 4), "labels": (BATCH, 9), "scores": (BATCH, 9)}, ()),
        ({"boxes": (9, 4), "labels": (8,), "scores": (9,)}, ()),
        ({"boxes": (9, 4), "scores": (9,)}, ()),
        ({"boxes": (), "labels": (), "scores": ()}, ()),
    ],
)
def test_which_outputs_list_objects(shapes: dict[str, Any], objects: tuple[str, ...]) -> None:
    assert data_dependent_shapes.objects("detection", shapes) == objects


# -- declared --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outputs": detectors.OUTPUTS[:2]}, "expected outputs boxes, labels, scores"),
        (
            {"outputs": (*detectors.OUTPUTS, TensorSpec("keypoints", (ANY, 3)))},
            "expected outputs boxes, labels, scores",
        ),
        ({"inputs": (TensorSpec("x", (ANY, 4)),)}, "input x has an open size"),
        ({"score_threshold": 0.0}, "between 0 and 1"),
    ],
)
def test_open_sizes_are_for_the_outputs_of_detectors(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        product(**{"outputs": detectors.OUTPUTS, "task": "detection", **change})


def test_an_open_size_stands_first_and_counts_as_nothing() -> None:
    with pytest.raises(UsageError, match="is not the first size"):
        TensorSpec("boxes", (BATCH, ANY, 4))
    assert (TensorSpec("boxes", (ANY, 4)).concrete(1), TensorSpec("boxes", (ANY, 4)).is_open) == (
        (0, 4),
        True,
    )
    assert not TensorSpec("y", (BATCH, 4)).is_open


def test_the_threshold_is_part_of_a_model_that_sets_it() -> None:
    assert (
        product().fingerprint
        == product(score_threshold=0.5).fingerprint
        != product(score_threshold=0.6).fingerprint
    )


def test_a_backend_that_lays_outputs_out_ahead_refuses_in_words() -> None:
    refused = registry.find("null").supports(cell("null", detectors.detector()))
    assert (
        refused
        == "null needs fixed output sizes, but the number of boxes of detector depends on the data"
    )


@pytest.mark.parametrize("name", ["torch-compile", "torch-aot", "ort-openvino", "tvm", "tensorrt"])
def test_runtimes_that_were_not_seen_to_take_a_detector_refuse_it(name: str) -> None:
    device = "cuda" if name == "tensorrt" else "cpu"
    assert "the number of boxes of detector depends on the data" in registry.find(name).supports(
        cell(name, detectors.detector(), device=device)
    )


IN_CPP = ("cpp-ort", "cpp-openvino", "cpp-libtorch", "ctypes-ort", "ctypes-libtorch")


@pytest.mark.parametrize("name", ["torch-eager", "torch-script", "ort", "openvino", *IN_CPP])
def test_runtimes_that_take_a_detector_do(name: str) -> None:
    assert registry.find(name).supports(cell(name, detectors.detector())) == ""


def test_memory_cannot_be_bound_for_outputs_of_open_size() -> None:
    asked = cell("ort", detectors.detector(), options=(("iobinding", "on"),))
    assert "iobinding=on allocates outputs before a step" in registry.find("ort").supports(asked)


# -- through a whole run ---------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs cells of the numpy detector in this process, with a cache of their own; returns the
    lines by backend.
    """
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(
        registry.VARIABLE, f"exact-finder={detectors.HERE}:ExactFinder:golden,{detectors.ROWS}"
    )
    monkeypatch.setattr(registry, "rows", functools.cache(registry.rows.__wrapped__))
    monkeypatch.setattr(registry, "find", functools.cache(registry.find.__wrapped__))
    work_here(monkeypatch)

    def measured(model: Model, *backends: str) -> dict[str, Any]:
        entries = [Entry(cell(name, model)) for name in backends]
        lines = Run(entries, plan(timeout_seconds=300.0), tmp_path / "results").measure(entries)
        return {
            line["cell"]["backend"]: json.loads(json.dumps(line, allow_nan=False)) for line in lines
        }

    return measured


def test_every_wrong_detector_is_caught_and_another_order_is_none(runs: Any) -> None:
    lines = runs(detectors.detector(), "finder", "reversed", "shifted", "late", "blind")
    assert {name: line["outcome"] for name, line in lines.items()} == {
        "finder": "ok",
        "reversed": "ok",
        "shifted": "mismatch",
        "late": "mismatch",
        "blind": "mismatch",
    }, {name: line["reason"] for name, line in lines.items()}
    right, off = lines["reversed"]["agreement"], lines["shifted"]["agreement"]
    assert (right["detections"], right["matched"], right["worst_box_pixels"]) == (6, 6, 0.0)
    assert (off["matched"], off["worst_box_pixels"]) == (6, pytest.approx(1.0))
    assert "1 pixels off" in lines["shifted"]["reason"]
    assert lines["reversed"]["parity"]["outputs"] == []


def test_a_golden_that_finds_nothing_judges_nothing(runs: Any) -> None:
    blank = detectors.detector()
    line = runs(product(**{**vars_of(blank), "score_threshold": 0.97}), "finder")["finder"]
    assert (line["outcome"], line["phase"]) == ("failed", "parity")
    assert "nothing is found at a score of 0.97 or more" in line["reason"]


def vars_of(model: Model) -> dict[str, Any]:
    return {
        name: getattr(model, name) for name in ("name", "inputs", "outputs", "inputs_from", "task")
    }


def test_lists_of_different_lengths_are_stored_and_read_back(tmp_path: Path) -> None:
    model = detectors.detector()
    lists = {
        "boxes": [np.zeros((2, 4)), np.zeros((0, 4)), np.ones((5, 4))],
        "labels": [np.arange(2), np.arange(0), np.arange(5)],
    }
    lists["scores"] = [np.ones(len(each)) for each in lists["labels"]]
    measurement_golden._save(tmp_path / "outputs.npz", lists)
    again = judging.golden_outputs(tmp_path, model)
    assert {name: [each.tolist() for each in arrays] for name, arrays in again.items()} == {
        name: [each.tolist() for each in arrays] for name, arrays in lists.items()
    }


def test_a_golden_that_finds_another_number_the_second_time_is_refused() -> None:
    assert output_values.drift([np.zeros((2, 4))], [np.zeros((3, 4))]) == np.inf
    same = [np.ones((2, 4)), np.zeros((0, 4))]
    assert output_values.drift(same, [array.copy() for array in same]) == 0.0
