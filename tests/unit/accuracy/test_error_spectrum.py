"""Errors of precisions told apart: a small perceptron in numpy, narrowed in several ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evenbench.harness.accuracy import error_spectrum
from evenbench.harness.accuracy.error_spectrum import ROUND

GENERATOR = np.random.default_rng(7)
WEIGHTS = [GENERATOR.standard_normal((48, 48)) / 7 for _ in range(3)]
X = GENERATOR.standard_normal((8, 4, 48))


def plain(values: Any) -> Any:
    return values


def network(weight: Callable[[Any], Any] = plain, activation: Callable[[Any], Any] = plain) -> Any:
    y = activation(X)
    for w in WEIGHTS:
        y = activation(2 * np.tanh(y @ weight(w).astype(np.float64)))
    return np.asarray(y)


GOLDEN = network()
bf16, fp16 = ROUND["bf16"], ROUND["fp16"]


def int8(w: Any) -> Any:
    step = np.abs(w).max(0) / 127
    return np.round(w / step) * step


SPECTRUM = {
    "y": {
        "fp32": error_spectrum.errors(network(np.float32, np.float32), GOLDEN),
        "bf16": error_spectrum.errors(network(bf16, bf16), GOLDEN),
        "fp16": error_spectrum.errors(network(fp16, fp16), GOLDEN),
    }
}


def said(outputs: Any, asked: str) -> str:
    outputs = {"y": outputs.astype(np.float32)}
    return error_spectrum.other_precision(outputs, {"y": GOLDEN}, SPECTRUM, asked)


@pytest.mark.parametrize(
    ("outputs", "asked"),
    [
        (network(bf16, bf16), "bf16"),
        (network(bf16), "bf16"),  # weights alone, in wider arithmetic
        (bf16(network(bf16)), "bf16"),
        (network(fp16, fp16), "fp16"),
        (network(fp16), "fp16"),
        (network(int8), "int8-dynamic"),
        (network(int8, bf16), "int8-static"),
    ],
)
def test_the_requested_precision_is_not_accused(outputs: Any, asked: str) -> None:
    assert said(outputs, asked) == ""


@pytest.mark.parametrize(
    ("outputs", "asked", "words"),
    [
        (network(fp16, fp16), "bf16", "the error of fp16"),
        (network(fp16), "bf16", "the error of fp16"),
        (network(bf16), "int8-dynamic", "the error of bf16"),
        (network(fp16, fp16), "int8-static", "the error of fp16"),
        (bf16(GOLDEN), "bf16", "rounded to bf16 at the end"),
        (bf16(GOLDEN), "int8-dynamic", "rounded to bf16 at the end"),
        (fp16(GOLDEN), "fp16", "rounded to fp16 at the end"),
    ],
)
def test_another_precision_is_named(outputs: Any, asked: str, words: str) -> None:
    assert words in said(outputs, asked)


def test_few_elements_are_no_evidence() -> None:
    few = {"y": {name: error[:20] for name, error in SPECTRUM["y"].items()}}
    outputs = network(fp16, fp16).reshape(-1)[:20].astype(np.float32)
    golden = GOLDEN.reshape(-1)[:20]
    assert error_spectrum.other_precision({"y": outputs}, {"y": golden}, few, "bf16") == ""


def test_an_output_as_requested_acquits_the_others() -> None:
    spectrum = {**SPECTRUM, "z": SPECTRUM["y"]}
    narrow, other = (network(kind, kind).astype(np.float32) for kind in (bf16, fp16))
    outputs, golden = {"y": other, "z": narrow}, {"y": GOLDEN, "z": GOLDEN}
    assert error_spectrum.other_precision(outputs, golden, spectrum, "bf16") == ""


def test_large_outputs_are_compared_at_the_same_drawn_positions() -> None:
    places = error_spectrum.positions(100_000)
    assert len(places) == len(set(places)) == error_spectrum.MOST_POSITIONS
    assert np.array_equal(places, error_spectrum.positions(100_000))
