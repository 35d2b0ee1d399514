"""The steps of benchmarks/steps.py: every library's answer is right by the rule that judges
networks, and a broken one is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import steps
from evenbench.backends.preprocessing import opencv_preprocessor
from evenbench.backends.steps import operations, reference
from evenbench.harness import PLANS, Cell, Model
from evenbench.harness.accuracy import parity, tolerances
from evenbench.harness.collection import matrix
from evenbench.harness.core import import_strings, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.measurements import ParityVerdict
from evenbench.harness.measurement import attestation, judging
from evenbench.harness.preprocess import Resize
from evenbench.harness.runner.schedule import Run

CASES = (*steps.preprocessing.models, *steps.postprocessing.models)

CANNOT = {
    ("steps-opencv", "resize"): "has no antialias=True",
    ("steps-opencv", "photo"): "has no antialias=True",
    ("steps-pillow", "nms"): "Pillow has no nms",
    ("steps-pillow", "argmax"): "Pillow has no argmax",
    **{
        ("steps-cpp", name): f"C++ has no {name}; it supports photo"
        for name in ("nms", "paste_masks", "argmax")
    },
}
"""What a library cannot do, and the words."""


@cache
def batches(model: Model) -> list[Mapping[str, Any]]:
    samples = import_strings.resolve(model.inputs_from)(model)
    for array in samples.values():
        array.setflags(write=False)
    return [
        {name: array[index] for name, array in samples.items()}
        for index in range(len(next(iter(samples.values()))))
    ]


@cache
def golden(model: Model) -> dict[str, Any]:
    """As `measure.make_golden` keeps it: float64 [batches, ...]."""
    session = reference.StepReference().load(Path(), Cell(model, "steps-reference"))
    return {
        name: values.astype(np.float64)
        for name, values in judging.once(session, batches(model)).items()
    }


def judged(model: Model, backend: Any) -> ParityVerdict:
    """The verdict on every batch by a library, in this process."""
    session = backend.load(Path(), Cell(model, backend.name))
    try:
        made = judging.once(session, batches(model))
        attested = session.attest()
    finally:
        session.close()
    assert attestation.difference(Cell(model, backend.name), attested) == ""
    tolerance = tolerances.tolerance_for("fp32", model.tolerance)
    return parity.compare(made, golden(model), model.outputs, tolerance, "float64")


def installed(name: str) -> Any:
    found = registry.find(name)
    for package in found.missing():
        pytest.skip(f"{name} needs {package}")
    return found


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.name)
@pytest.mark.parametrize("name", steps.LIBRARIES)
def test_each_library_gives_the_golden_answer_or_says_why_not(name: str, model: Model) -> None:
    backend = installed(name)
    why = backend.supports(Cell(model, name))
    assert (CANNOT.get((name, model.name), "") in why) if why else (name, model.name) not in CANNOT
    if not why:
        verdict = judged(model, backend)
        assert (verdict.verdict, verdict.reason) == ("pass", "")


class Bgr(opencv_preprocessor.OpenCv):
    def decode(self, encoded: bytes, step: Any) -> Any:
        return super().decode(encoded, step)[:, :, ::-1]


class Area(opencv_preprocessor.OpenCvArea):
    def refuses(self, step: Any) -> str:
        return ""


class Shifted(opencv_preprocessor.OpenCv):
    """One pixel off, as a resize without half-pixel centres is at the far edge."""

    def resize(self, image: Any, step: Resize, width: int, height: int) -> Any:
        return super().resize(np.roll(image, 1, axis=1), step, width, height)


@pytest.mark.parametrize(
    ("pixels", "model"),
    [
        (Bgr, steps.PHOTO_SAMPLED),
        (Bgr, steps.DECODE),
        (Area, steps.RESIZE),
        (Shifted, steps.RESIZE_SAMPLED),
    ],
)
def test_a_library_that_is_wrong_is_caught(pixels: Any, model: Model) -> None:
    right = installed("steps-opencv")
    wrong = type("Wrong", (type(right),), {"pixels": pixels})()
    assert judged(model, wrong).verdict == "fail"


def crooked_nms(model: Model, inputs: Any) -> Any:
    """Counts the borders as pixels, which float boxes do not have."""
    return operations.numpy_nms(
        model, {**inputs, "boxes": inputs["boxes"] + np.float32([0, 0, 1, 1])}
    )


def crooked_paste(model: Model, inputs: Any) -> Any:
    """Forgets the padding."""
    return operations.numpy_paste(model, {**inputs, "masks": np.roll(inputs["masks"], 1, axis=2)})


def last_argmax(model: Model, inputs: Any) -> Any:
    """Looks at all classes but the first, the background."""
    return inputs["logits"][1:].argmax(0) + 1


@pytest.mark.parametrize(
    ("model", "wrong"),
    [(steps.NMS, crooked_nms), (steps.PASTE_MASKS, crooked_paste), (steps.ARGMAX, last_argmax)],
)
def test_wrong_postprocessing_is_caught(model: Model, wrong: Any) -> None:
    right = installed("steps-numpy")
    made = type("Wrong", (type(right),), {"after": {model.build.rpartition(":")[2]: wrong}})()
    assert judged(model, made).verdict == "fail"


def test_networks_and_steps_are_kept_apart_in_words() -> None:
    from evenbench.backends.contract_model import TINY_CNN

    for name in steps.LIBRARIES:
        assert (
            registry.find(name).supports(Cell(TINY_CNN, name))
            == f"{name} runs steps around networks, but tiny_cnn is a network"
        )
    for name in (*registry.runtimes(), "reference", "null"):
        assert (
            registry.find(name).supports(Cell(steps.NMS, name))
            == f"{name} runs networks, but nms is a step around one"
        )
    assert registry.golden_for(Cell(steps.NMS, "steps-numpy")).name == "steps-reference"
    assert registry.golden_for(Cell(TINY_CNN, "ort")).name == "reference"
    assert not set(steps.LIBRARIES) & set(registry.runtimes()), "ALL are those that run networks"


def test_a_step_that_nobody_knows_is_refused_in_words() -> None:
    unknown = Model(
        "blur",
        "mine:blur",
        steps.NMS.inputs,
        steps.NMS.outputs,
        inputs_from=steps.objects,
        task="step",
    )
    assert "Pillow has no mine:blur" in registry.find("steps-pillow").supports(
        Cell(unknown, "steps-pillow")
    )
    assert "build= of a step is one of" in registry.find("steps-reference").supports(
        Cell(unknown, "steps-reference")
    )


@pytest.mark.parametrize("name", ["steps-pillow", "steps-cpp"])
def test_what_has_one_thread_says_so(name: str) -> None:
    assert "one thread, not 2" in registry.find(name).supports(Cell(steps.RESIZE, name, threads=2))


def test_without_a_compiler_steps_in_c_plus_plus_are_unavailable_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = Cell(steps.RESIZE, "steps-cpp")
    assert registry.find("steps-cpp").lacks(cell) == ""
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++20 compiler was found" in registry.find("steps-cpp").lacks(cell)


@pytest.mark.slow
def test_steps_are_measured_like_networks(tmp_path: Path) -> None:
    """From the declaration to the recorded line, in processes of their own: same bytes, parity, and
    a library that says its version.
    """
    for name in steps.LIBRARIES:
        installed(name)
    chosen = {"photo_sampled", "nms"}
    cells = [
        cell
        for case in (steps.preprocessing, steps.postprocessing)
        for cell in matrix.expand(case)
        if cell.model.name in chosen
    ]
    entries = [Entry(cell, "tests") for cell in cells]
    lines = Run(entries, PLANS["quick"], tmp_path, fresh=True).measure(entries)
    outcomes = {
        (line["cell"]["model"], line["cell"]["backend"]): (line["outcome"], line["reason"])
        for line in lines
    }
    refused = outcomes.pop(("nms", "steps-pillow"))
    assert refused == ("unsupported", "Pillow has no nms; it supports photo, paste_masks")
    assert outcomes.pop(("nms", "steps-cpp")) == (
        "unsupported",
        "C++ has no nms; it supports photo",
    )
    assert set(outcomes.values()) == {("ok", "")}, outcomes
    ran = [line for line in lines if line["outcome"] == "ok"]
    for model in chosen:
        assert len({line["input_sha256"] for line in ran if line["cell"]["model"] == model}) == 1
    for line in ran:
        assert line["parity"]["golden"] == "float64 NumPy, decoded by Pillow"
        assert line["attested"]["version"]
        assert line["attested"]["details"]["how"]
        assert all(lap > 0 for laps in line["samples_ns"]["compute"] for lap in laps)
