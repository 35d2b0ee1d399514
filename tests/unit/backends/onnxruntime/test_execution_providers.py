"""Choice, refusal and options of execution providers, without ONNX Runtime."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.onnxruntime import execution_providers
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.onnxruntime.openvino_provider import OrtOpenVino
from evenbench.harness import Cell


def cell(precision: str = "fp32", device: str = "cpu", **options: Any) -> Cell:
    return Cell(TINY_CNN, "ort", precision, device, threads=3, options=tuple(options.items()))


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Fakes an installed wheel by name and libraries."""

    def install(name: str, *libraries: str, platform: str = "linux") -> None:
        (tmp_path / "capi").mkdir(exist_ok=True)
        for library in libraries:
            (tmp_path / "capi" / library).touch()

        def version(asked: str) -> str:
            if asked != name:
                raise metadata.PackageNotFoundError(asked)
            return "1.0"

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(execution_providers, "_library_folder", lambda: tmp_path / "capi")

    return install


@pytest.mark.parametrize(
    ("device", "options", "provider"),
    [
        ("cpu", {}, "cpu"),
        ("cuda", {}, "cuda"),
        ("cuda:1", {"provider": "tensorrt"}, "tensorrt"),
        ("dml", {}, "dml"),
        ("coreml", {}, "coreml"),
    ],
)
def test_a_device_has_a_provider_and_an_option_names_another(
    device: str, options: dict[str, Any], provider: str
) -> None:
    asked = cell(device=device, **options)
    assert OnnxRuntime().provider_of(asked) == provider
    assert OnnxRuntime().supports(asked) == ""


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (cell(provider="cuda"), "provider cuda runs on device cuda, not cpu"),
        (cell(provider="rocket"), "provider is one of cpu, openvino"),
        (cell("tf32"), "tf32 is arithmetic of NVIDIA GPUs"),
        (cell("fp16", provider="openvino"), "fp16 cannot be attested"),
        (cell(conv_search="default"), "an option of provider cuda, not of cpu"),
        (
            cell(device="cuda", conv_search="fast"),
            "conv_search is 'exhaustive', 'heuristic', 'default', not 'fast'",
        ),
        (cell(device="tpu"), "not tpu"),
        (
            cell(optimization="most"),
            "optimization is 'disable' or 'basic' or 'extended' or 'layout' or 'all', not 'most'",
        ),
        (cell(execution="both"), "execution is"),
        (cell(arena=True), "arena is 'on' or 'off', not True"),
        (cell(iobinding="maybe"), "iobinding is"),
        (cell(spinning="on"), "spinning is"),
        (cell(inter_op=2), "inter_op needs execution=parallel"),
        (cell(execution="parallel", inter_op=1), "inter_op must be an integer of 2 or more, not 1"),
        (cell(disabled_optimizers=" , "), "disabled_optimizers is empty"),
    ],
)
def test_invalid_cells_are_refused_with_a_reason(asked: Cell, reason: str) -> None:
    assert reason in OnnxRuntime().supports(asked)


def test_the_plain_wheel_lacks_providers_of_other_wheels(wheel: Any) -> None:
    wheel("onnxruntime", "libonnxruntime_providers_shared.so")
    lacks = OnnxRuntime().lacks
    assert lacks(cell()) == ""
    openvino = lacks(cell(provider="openvino"))
    assert "onnxruntime has no OpenVINOExecutionProvider; install onnxruntime-openvino" in openvino
    assert "ort@openvino" in openvino
    assert "ort@gpu" in lacks(cell(device="cuda", provider="tensorrt"))
    assert "install onnxruntime-qnn" in lacks(cell(device="qnn"))
    assert "exists on darwin only, and this is linux" in lacks(cell(device="coreml"))
    assert "exists on win32 only" in lacks(cell(device="dml"))
    assert lacks(cell(provider="xnnpack")) == "", "a linked-in provider shows only when loading"


@pytest.mark.parametrize(
    "library", ["libonnxruntime_providers_openvino.so", "onnxruntime_providers_openvino.dll"]
)
def test_a_library_in_the_folder_is_the_provider(library: str, wheel: Any) -> None:
    wheel("onnxruntime-openvino", library)
    assert OnnxRuntime().lacks(cell(provider="openvino")) == OrtOpenVino().lacks(cell()) == ""


def test_a_provider_that_is_linked_in_is_known_by_its_wheel(wheel: Any) -> None:
    wheel("onnxruntime", platform="darwin")
    assert OnnxRuntime().lacks(cell(device="coreml")) == ""
    wheel("onnxruntime", platform="win32")
    assert "install onnxruntime-directml" in OnnxRuntime().lacks(cell(device="dml"))
    wheel("onnxruntime-directml", platform="win32")
    assert OnnxRuntime().lacks(cell(device="dml")) == ""


def test_a_library_of_custom_operators_must_be_there(tmp_path: Path) -> None:
    assert "is not a file" in OnnxRuntime().lacks(cell(custom_ops=str(tmp_path / "absent.so")))


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", "0"), ("tf32", "1"), ("fp16", "0")])
def test_options_of_cuda_override_defaults(precision: str, allowed: str) -> None:
    options = execution_providers.provider_options(
        cell(precision, "cuda:2", conv_search="heuristic"), "cuda"
    )
    assert (options["use_tf32"], options["device_id"], options["cudnn_conv_algo_search"]) == (
        allowed,
        "2",
        "HEURISTIC",
    )
    assert (
        execution_providers.provider_options(cell(device="cuda"), "cuda")["cudnn_conv_algo_search"]
        == "EXHAUSTIVE"
    )


def test_options_of_openvino_set_precision_threads_and_denormals() -> None:
    options = execution_providers.provider_options(cell(), "openvino")
    properties = json.loads(options["load_config"])["CPU"]
    assert (
        options["device_type"],
        properties["INFERENCE_PRECISION_HINT"],
        properties["INFERENCE_NUM_THREADS"],
    ) == ("CPU", "f32", "3")
    assert properties["CPU_DENORMALS_OPTIMIZATION"] == "NO"


@pytest.mark.parametrize(("precision", "override"), [("fp32", "0"), ("fp16", "0"), ("tf32", None)])
def test_tensorrt_has_no_other_switch_for_tf32(precision: str, override: str | None) -> None:
    tensorrt = cell(precision, "cuda", provider="tensorrt")
    assert OnnxRuntime().variables(tensorrt).get("NVIDIA_TF32_OVERRIDE") == override
    options = execution_providers.provider_options(tensorrt, "tensorrt")
    assert options.get("trt_fp16_enable") == ("1" if precision == "fp16" else None)


def test_tf32_reads_the_fp32_file() -> None:
    assert OnnxRuntime().artifact_key(cell("tf32", "cuda")) == OnnxRuntime().artifact_key(
        cell("fp32", "cuda")
    )


@pytest.mark.parametrize(
    ("device", "number", "used"),
    [("cuda", "0", "cuda"), ("cuda:1", "1", "cuda:1"), ("cuda:1", "0", "cuda:0")],
)
def test_the_device_is_read_from_the_provider(device: str, number: str, used: str) -> None:
    options = {"CUDAExecutionProvider": {"device_id": number}}
    assert execution_providers.device_used(cell(device=device), "cuda", options) == used
