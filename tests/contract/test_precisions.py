"""ONNX runtimes at every precision: one file for all of them, what is attested, and the outcomes
that are no success, with reasons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models import DIGITS_CNN
from evenbench.backends.onnx import conversion, export
from evenbench.backends.onnx import precision as onnx_precision
from evenbench.harness import Cell
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.runner.schedule import Run
from evenbench.harness.testing import BackendContract

LOW = conversion.PRECISIONS[1:]
NNCF = (("quantizer", "nncf"),)
THROUGHPUT = (("hint", "throughput"), ("requests", 2))
SYMMETRIC = (("activations", "s8"),)

CELLS: dict[str, Cell] = {
    cell.id: cell
    for cell in (
        *(
            Cell(DIGITS_CNN, backend, precision, threads=cpu.cores())
            for backend in ("ort", "openvino")
            for precision in LOW
        ),
        *(
            Cell(DIGITS_CNN, backend, "int8-static", threads=cpu.cores(), options=SYMMETRIC)
            for backend in ("ort", "openvino")
        ),
        *(
            Cell(DIGITS_CNN, "openvino", precision, threads=cpu.cores(), options=NNCF)
            for precision in ("int8-static", "int8-dynamic")
        ),
        *(
            Cell(DIGITS_CNN, "openvino", precision, threads=cpu.cores(), options=THROUGHPUT)
            for precision in ("fp32", "int8-static")
        ),
    )
}

NO_KERNEL = (
    "ONNX Runtime's CPU provider has no bf16 kernel for a convolution, and says so when it loads "
    "the graph"
)
NO_INTEGER_PRODUCT = (
    "OpenVINO's CPU plugin runs ONNX's MatMulInteger in fp32; its own quantiser makes what it can "
    "run"
)

EXPECTED: dict[str, tuple[str, str, str]] = {
    "digits_cnn-ort-bf16-cpu-b1": ("unsupported", "no kernel for Conv", NO_KERNEL),
    "digits_cnn-openvino-int8-dynamic-cpu-b1": (
        "fallback",
        "asked for precision int8-dynamic, ran fp32",
        NO_INTEGER_PRODUCT,
    ),
}
"""Cells that cannot be ok: the outcome, what its reason must contain, and why that is right."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The outcome of every cell by its id, from one quick run."""
    entries = [Entry(cell) for cell in CELLS.values()]
    run = Run(entries, PLANS["quick"], tmp_path_factory.mktemp("results"), fresh=True)
    found = run.measure(entries)
    run.finish()
    return {line["cell"]["id"]: line for line in found}


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_every_precision_is_right_or_says_why_not(cell: str, lines: Mapping[str, Any]) -> None:
    line = lines[cell]
    outcome, reason, why = EXPECTED.get(cell, ("ok", "", ""))
    assert line["outcome"] == outcome, (
        f"{line['phase']}: {line['reason']}\n{line['traceback']}\nexpected: {why}"
    )
    assert reason in line["reason"], why
    if outcome == "ok":
        assert line["attested"]["precision"] == CELLS[cell].precision
        assert line["parity"]["needed"] <= 1


@pytest.mark.slow
def test_precisions_that_the_cpu_lacks_are_emulated_in_words(lines: Mapping[str, Any]) -> None:
    native = {
        "ort": False,
        "openvino": not {"avx512_fp16", "amx_fp16"}.isdisjoint(system_info.describe()["cpu_flags"]),
    }
    for backend, has_arithmetic in native.items():
        attested = lines[f"digits_cnn-{backend}-fp16-cpu-b1"]["attested"]
        assert attested["precision"] == "fp16"
        assert ("arithmetic runs in fp32" in attested["emulated"]) is not has_arithmetic, backend
    assert not lines["digits_cnn-openvino-int8-static-cpu-b1"]["attested"]["emulated"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8-static", "int8-dynamic"])
def test_two_runtimes_read_the_very_same_file(precision: str, lines: Mapping[str, Any]) -> None:
    one, other = (
        lines[f"digits_cnn-{backend}-{precision}-cpu-b1"] for backend in ("ort", "openvino")
    )
    assert one["artifact_sha256"] == other["artifact_sha256"] != ""
    assert one["input_sha256"] == other["input_sha256"]


@pytest.mark.slow
def test_each_way_to_quantise_is_an_artifact_of_its_own_and_labelled(
    lines: Mapping[str, Any],
) -> None:
    plain, own, symmetric = (
        lines[f"digits_cnn-openvino-int8-static-cpu-b1{suffix}"]
        for suffix in ("", "-quantizer=nncf", "-activations=s8")
    )
    assert len({line["artifact_sha256"] for line in (plain, own, symmetric)}) == 3
    assert "nncf" in own["attested"]["labels"]
    assert "nncf" not in plain["attested"]["labels"]
    calibrated = {
        line["artifact"]["facts"]["calibration_sha256"] for line in (plain, own, symmetric)
    }
    assert len(calibrated) == 1
    assert calibrated != {""}


@pytest.mark.slow
def test_int8_keeps_the_task_and_is_off_by_more_than_fp32(lines: Mapping[str, Any]) -> None:
    int8, fp32 = (
        lines[f"digits_cnn-openvino-{rest}"]
        for rest in ("int8-static-cpu-b1", "fp32-cpu-b1-hint=throughput-requests=2")
    )
    assert int8["accuracy"]["value"] >= 0.99 * fp32["accuracy"]["value"]
    assert int8["parity"]["outputs"][0]["rmse"] > 100 * fp32["parity"]["outputs"][0]["rmse"]


@pytest.mark.slow
def test_throughput_stands_apart_and_says_what_it_was_measured_with(
    lines: Mapping[str, Any],
) -> None:
    suffix = "-hint=throughput-requests=2"
    for precision in ("fp32", "int8-static"):
        line = lines[f"digits_cnn-openvino-{precision}-cpu-b1{suffix}"]
        assert line["cell"]["group"].endswith("-throughput")
        assert "throughput" in line["attested"]["labels"]
        details = line["attested"]["details"]
        assert (details["performance_hint"], details["requests"]) == ("THROUGHPUT", 2)
        assert line["binding_ns"] == []


@pytest.mark.slow
def test_the_plugins_own_defaults_are_said_aloud_and_read_back(lines: Mapping[str, Any]) -> None:
    details = lines["digits_cnn-openvino-fp16-cpu-b1"]["attested"]["details"]
    assert (
        details["dynamic_quantization_group_size"],
        details["enable_cpu_pinning"],
        details["num_streams"],
    ) == (0, False, 1)
    own = lines["digits_cnn-openvino-int8-dynamic-cpu-b1-quantizer=nncf"]["attested"]
    assert own["details"]["dynamic_quantization_group_size"] == 32
    assert "int8 in 2 of 4 layers" in own["labels"]


@pytest.mark.slow
def test_a_file_says_what_it_was_made_from(lines: Mapping[str, Any], tmp_path: Path) -> None:
    import onnx

    from evenbench.harness.runner.preparation import Preparer

    prepared = Preparer(PLANS["quick"].timeout_seconds).prepare(
        CELLS["digits_cnn-ort-int8-static-cpu-b1"]
    )
    model = onnx.load(str(Path(prepared.artifact.path) / export.FILE))
    found = {entry.key.removeprefix(export.METADATA): entry.value for entry in model.metadata_props}
    assert (found["model"], found["precision"], found["opset"]) == (
        "digits_cnn",
        "int8-static",
        "20",
    )
    assert found["weights_sha256"] == prepared.weights["sha256"]
    assert (
        found["calibration_sha256"]
        == lines["digits_cnn-ort-int8-static-cpu-b1"]["artifact"]["facts"]["calibration_sha256"]
    )
    assert json.loads(found["labels"]) == list("0123456789")
    assert json.loads(found["conversion"])["format"] == "QDQ"
    assert found["exporter"].startswith("torch.onnx dynamo ")
    assert onnx_precision.precision_of_graph(model) == "int8-static"


@pytest.mark.nightly
class TestOpenVinoInt8(BackendContract):
    name = "openvino"
    precision = "int8-static"


@pytest.mark.nightly
class TestOpenVinoBf16(BackendContract):
    name = "openvino"
    precision = "bf16"


class TestOnnxRuntimeInt8(BackendContract):
    name = "ort"
    precision = "int8-static"
