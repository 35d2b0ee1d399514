"""OpenVINO's attestation depends only on the executed graph; options and artifacts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evenbench.backends.openvino import properties
from evenbench.backends.openvino.backend import OpenVino
from evenbench.backends.openvino.executed_graph import executed_precision
from evenbench.harness import Cell, Model
from tests.unit.builders import cell, product

EMULATED = (
    "weights are stored as fp16; the arithmetic runs in fp32, as this CPU has no instructions "
    "for fp16"
)


@pytest.mark.parametrize(
    ("asked", "hint", "counts", "stored", "precision", "emulated"),
    [
        ("fp32", "f32", {"f32": 54}, "f32", "fp32", ""),
        ("fp32", "bf16", {"bf16": 54}, "f32", "bf16", ""),
        ("fp32", "bf16", {"bf16": 53, "f32": 1}, "f32", "bf16", ""),
        ("fp32", "f32", {"bf16": 1, "f32": 53}, "f32", "bf16,fp32", ""),
        ("fp32", "f32", {"f32": 53, "i8": 1}, "f32", "fp32,int8", ""),
        ("fp16", "f32", {"f32": 54}, "f16", "fp16", EMULATED),
        ("fp16", "f16", {"f16": 54}, "f16", "fp16", ""),
        ("fp16", "bf16", {"bf16": 54}, "f16", "bf16", ""),
        ("fp16", "f32", {"f32": 54}, "f32", "fp32", ""),
        ("bf16", "bf16", {"bf16": 50, "f32": 4}, "bf16", "bf16", ""),
        ("bf16", "f32", {"f32": 54}, "f32", "fp32", ""),
        ("int8-static", "f32", {"u8": 50, "f32": 4}, "i8", "int8-static", ""),
        ("int8-static", "f32", {"i8": 2}, "i8", "int8-static", ""),
        ("int8-static", "f32", {"f32": 54}, "i8", "fp32", ""),
        ("int8-dynamic", "f32", {"f32": 54}, "f32", "fp32", ""),
    ],
)
def test_executed_nodes_decide_the_precision(
    asked: str, hint: str, counts: dict[str, int], stored: str, precision: str, emulated: str
) -> None:
    assert executed_precision(asked, hint, counts, stored, dynamic=False) == (precision, emulated)


def test_compressed_weights_are_dynamic_int8_only_where_activations_are_quantised() -> None:
    assert executed_precision("int8-dynamic", "f32", {"i8": 2}, "i8", dynamic=True) == (
        "int8-dynamic",
        "",
    )
    assert (
        executed_precision("int8-dynamic", "f32", {"i8": 2}, "i8", dynamic=False)[1]
        == "weights are stored as int8; the arithmetic runs in fp32"
    )


@pytest.mark.parametrize(
    ("precision", "capabilities", "hint"),
    [
        ("fp32", ["BF16", "FP32"], "f32"),
        ("bf16", ["BF16", "FP32"], "bf16"),
        ("bf16", ["FP32"], "f32"),
        ("fp16", ["BF16", "FP32"], "f32"),
        ("fp16", ["FP16"], "f16"),
    ],
)
def test_a_precision_that_the_device_lacks_is_never_swapped_for_another(
    precision: str, capabilities: list[str], hint: str
) -> None:
    assert properties.precision_hint(precision, capabilities) == hint


def asked(precision: str = "fp32", **options: Any) -> Cell:
    model = product(calibration_from="tests.unit.builders:samples")
    return cell("openvino", model, precision=precision, options=tuple(options.items()))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (asked(hint="throughput"), ""),
        (asked(hint="throughput", requests=4, streams=2), ""),
        (asked(hint="throughput", requests="auto"), ""),
        (asked(streams=2), ""),
        (asked("int8-static", quantizer="nncf"), ""),
        (asked(hint="fast"), "hint is 'latency' or 'throughput', not 'fast'"),
        (
            asked(requests=4),
            "requests needs hint='throughput'",
        ),
        (
            asked(hint="throughput", requests=1),
            "requests is 'auto' or a number of 2 or more, not 1",
        ),
        (asked(streams=0), "streams is 'auto' or a number of 1 or more, not 0"),
        (
            asked("bf16", quantizer="nncf"),
            "quantizer=nncf supports int8-static and int8-dynamic, not bf16",
        ),
        (asked(precision_hint="f16"), "precision_hint is 'asked' or 'runtime', not 'f16'"),
        (asked(frontend="pytorch"), ""),
        (asked(frontend="tensorflow"), "frontend is 'onnx' or 'pytorch', not 'tensorflow'"),
        (
            asked("bf16", frontend="pytorch"),
            "frontend=pytorch supports fp32, not bf16",
        ),
        (asked(dynamic="batch", hint="throughput"), ""),
        (
            asked(frontend="pytorch", dynamic="batch"),
            "dynamic is an option of the ONNX export, and frontend=pytorch uses no ONNX file",
        ),
        (
            asked(frontend="pytorch", opset=18),
            "opset is an option of the ONNX export, and frontend=pytorch uses no ONNX file",
        ),
    ],
)
def test_options_are_checked_before_anything_is_made(made: Cell, reason: str) -> None:
    assert OpenVino().supports(made) == reason


def test_a_file_has_no_module_to_convert() -> None:
    own = replace(asked(frontend="pytorch"), model=Model("own", file="own.onnx"))
    assert "needs a PyTorch module" in OpenVino().supports(own)


def test_its_own_converter_makes_another_artifact() -> None:
    keys = [OpenVino().artifact_key(made) for made in (asked(), asked(frontend="pytorch"))]
    assert [key["format"] for key in keys] == ["onnx", "OpenVINO IR"]


def test_throughput_is_never_in_the_group_of_a_latency() -> None:
    assert asked(hint="throughput").group == asked().group + "-throughput"
    assert asked(hint="latency").group == asked(streams=2).group == asked().group


def test_its_own_quantiser_makes_another_artifact_and_an_option_of_the_loop_does_not() -> None:
    backend = OpenVino()
    plain = backend.artifact_key(asked("int8-static"))
    assert backend.artifact_key(asked("int8-static", quantizer="nncf")) != plain
    assert backend.artifact_key(asked("int8-static", hint="throughput")) == plain
    assert backend.artifact_key(cell("ort", precision="int8-static")) == plain
