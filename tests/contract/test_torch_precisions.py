"""Torch backends at every precision and memory format: parity through the whole walk, what is
attested, and reasons for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models import DIGITS_CNN
from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.torch import eager, inductor, int8
from evenbench.backends.torch import precision as torch_precision
from evenbench.harness import Cell, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.runner.schedule import Run
from evenbench.harness.testing import BackendContract, fresh_registry

CHANNELS_LAST = (("memory_format", "channels_last"),)
WARM = (("loader", "python-warm"), *CHANNELS_LAST)


def cell(backend: str, precision: str, options: tuple[tuple[str, Any], ...] = ()) -> Cell:
    return Cell(DIGITS_CNN, backend, precision, threads=cpu.cores(), options=options)


CELLS: dict[str, Cell] = {
    each.id: each
    for each in (
        cell("torch-eager", "fp16"),
        cell("torch-eager", "fp32", CHANNELS_LAST),
        cell("torch-eager", "int8-static"),
        cell("torch-script", "fp16"),
        cell("torch-script", "bf16", CHANNELS_LAST),
        cell("torch-compile", "int8-static"),
        cell("torch-compile", "int8-dynamic"),
        cell("torch-aot", "int8-static"),
        cell("torch-aot", "bf16", WARM),
    )
}

EXPECTED = {"digits_cnn-torch-eager-int8-static-cpu-b1": ("unsupported", eager.UNCOMPILED)}
"""Cells that cannot be ok: the outcome, and its reason."""

LOW = [name for name in CELLS if name not in EXPECTED and "fp32" not in name]

COMPILED = ("torch-compile", "torch-aot")


def each(names: Iterable[str]) -> list[Any]:
    """These cells as parameters. Cells that inductor compiles below fp32 are nightly; those of all
    its backends also run alone, because the number of threads is compiled in.
    """
    wide = [cell(backend, "int8-static").id for backend in COMPILED]
    return [pytest.param(name, marks=_marks(name, wide)) for name in names]


def _marks(name: str, wide: list[str]) -> list[pytest.MarkDecorator]:
    if name in wide:
        return [pytest.mark.alone, pytest.mark.nightly]
    compiled = any(f"-{backend}-" in name for backend in COMPILED)
    return [pytest.mark.nightly] if compiled and "torch-compile-bf16" not in name else []


def measured(cells: list[Cell], results: Path) -> list[Mapping[str, Any]]:
    entries = [Entry(each) for each in cells]
    run = Run(
        entries,
        replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1),
        results,
        fresh=True,
    )
    found = run.measure(entries)
    run.finish()
    return found


class Lines(dict[str, Mapping[str, Any]]):
    """The outcome of a cell by its id, from a quick run when it is first asked for."""

    def __init__(self, results: Path) -> None:
        self.results = results

    def __missing__(self, name: str) -> Mapping[str, Any]:
        (self[name],) = measured([CELLS[name]], self.results)
        return self[name]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    return Lines(tmp_path_factory.mktemp("results"))


@pytest.mark.slow
@pytest.mark.parametrize("name", each(CELLS))
def test_every_precision_is_right_or_says_why_not(name: str, lines: Mapping[str, Any]) -> None:
    line = lines[name]
    outcome, reason = EXPECTED.get(name, ("ok", ""))
    assert (line["outcome"], line["reason"]) == (outcome, reason), (
        f"{line['phase']}: {line['traceback']}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", each(LOW))
def test_the_precision_is_read_back(name: str, lines: Mapping[str, Any]) -> None:
    assert lines[name]["attested"]["precision"] == CELLS[name].precision
    assert lines[name]["accuracy"]["value"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", each(name for name in CELLS if "fp16" in name))
def test_fp16_is_emulated_where_the_cpu_has_no_instructions_for_it(
    name: str, lines: Mapping[str, Any]
) -> None:
    wanted = torch_precision.emulated("fp16", "cpu")
    assert lines[name]["attested"]["emulated"] == wanted
    assert ("emulated" in json.dumps(lines[name]["labels"])) == bool(wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    each(name for name in CELLS if name.endswith("channels_last") and "torch-aot" not in name),
)
def test_the_memory_format_is_read_back(name: str, lines: Mapping[str, Any]) -> None:
    assert lines[name]["attested"]["details"]["memory_format"] == "channels_last"


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("backend", COMPILED)
def test_int8_static_runs_in_integer_layers(backend: str, lines: Mapping[str, Any]) -> None:
    details = lines[cell(backend, "int8-static").id]["attested"]["details"]
    assert details["integer_layers"] == details["layers"] == 4


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.alone
def test_a_package_loads_without_dynamo(lines: Mapping[str, Any]) -> None:
    native = lines[cell("torch-aot", "int8-static").id]
    assert native["attested"]["details"]["dynamo_imported"] is False


@pytest.mark.nightly
@pytest.mark.slow
def test_its_python_loader_imports_dynamo_and_compiles_less_when_warm(
    lines: Mapping[str, Any],
) -> None:
    python = lines[cell("torch-aot", "bf16", WARM).id]
    assert python["attested"]["details"]["dynamo_imported"] is True
    assert (
        0
        < python["artifact"]["facts"]["warm_compile_seconds"]
        < python["artifact"]["facts"]["compile_seconds"]
    )


class TestTorchEagerBf16(BackendContract):
    name = "torch-eager"
    precision = "bf16"


@pytest.mark.nightly
class TestTorchScriptBf16(BackendContract):
    name = "torch-script"
    precision = "bf16"


class Deaf(eager.TorchEager):
    """Runs fp32 whatever it is asked, and says so."""

    name = "deaf"

    def load(self, folder, cell):
        return super().load(folder, replace(cell, precision="fp32"))


class Lying(Deaf):
    """Runs fp32 as well, and attests what was asked."""

    name = "lying"

    def load(self, folder, cell):
        session = super().load(folder, cell)
        session.precision = lambda: cell.precision
        return session


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("deaf", "asked for precision bf16, ran fp32"),
        ("lying", "this was not computed at the requested precision"),
    ],
)
def test_a_backend_that_ignores_bf16_is_a_fallback(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.VARIABLE, f"{name}={__name__}:{name.title()}")
    with fresh_registry():
        line = measured([Cell(TINY_CNN, name, "bf16", threads=1)], tmp_path)[0]
    assert line["outcome"] == "fallback"
    assert reason in line["reason"]


# -- reasons ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "precision", "device", "options", "reason"),
    [
        ("torch-eager", "tf32", "cpu", (), "tf32 is arithmetic of NVIDIA GPUs"),
        ("torch-script", "int8-dynamic", "cpu", (), "use torch-compile or torch-aot"),
        ("torch-aot", "int8-static", "cuda", (), "for inductor's x86 layers, not for cuda"),
        ("torch-compile", "int8-static", "cpu", (("freezing", False),), "leave out freezing=False"),
        (
            "torch-aot",
            "fp32",
            "cpu",
            (("loader", "rust"),),
            "loader is one of native, python, python-warm, not 'rust'",
        ),
        (
            "torch-eager",
            "fp32",
            "cpu",
            (("memory_format", "nhwc"),),
            "memory_format is contiguous or channels_last, not 'nhwc'",
        ),
        (
            "torch-eager",
            "fp32",
            "cpu",
            (("pinned", True),),
            "copies to a CUDA device, not to the CPU",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_words(
    backend: str, precision: str, device: str, options: tuple[Any, ...], reason: str
) -> None:
    asked = Cell(TINY_CNN, backend, precision, device, options=options)
    assert reason in registry.find(backend).supports(asked)


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16"])
@pytest.mark.parametrize("backend", ["torch-eager", "torch-script", "torch-compile", "torch-aot"])
def test_a_gpu_is_supported_at_every_float_precision(backend: str, precision: str) -> None:
    assert (
        registry.find(backend).supports(
            Cell(TINY_CNN, backend, precision, "cuda:1", options=CHANNELS_LAST)
        )
        == ""
    )


def test_channels_last_without_images_is_refused() -> None:
    flat = replace(TINY_CNN, inputs=(replace(TINY_CNN.inputs[0], shape=("batch", 4)),))
    reason = registry.find("torch-eager").supports(Cell(flat, "torch-eager", options=CHANNELS_LAST))
    assert (
        reason == "channels_last is for images, and tiny_cnn declares no input of four dimensions"
    )


def test_int8_without_torchao_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "pip install 'evenbench[torch-int8]'" in int8.lacks(
        Cell(TINY_CNN, "torch-aot", "int8-static")
    )
    assert int8.lacks(Cell(TINY_CNN, "torch-aot", "bf16")) == ""


def test_int8_on_another_processor_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "x86 CPUs only, and this is aarch64" in int8.lacks(
        Cell(TINY_CNN, "torch-aot", "int8-dynamic")
    )


def test_int8_dynamic_needs_a_linear_layer() -> None:
    from torch import nn

    with pytest.raises(
        Unsupported, match="int8-dynamic quantises linear layers, and tiny_cnn has none"
    ):
        int8.quantised(
            nn.Sequential(nn.Conv2d(3, 8, 3)), Cell(TINY_CNN, "torch-aot", "int8-dynamic"), {}
        )


@pytest.mark.parametrize(
    ("precision", "flags", "native"),
    [
        ("bf16", ["avx2", "avx512_bf16"], True),
        ("bf16", ["avx2", "avx512f"], False),
        ("fp16", ["avx512_bf16"], False),
        ("fp16", ["amx_fp16"], True),
        ("fp16", ["asimd", "asimdhp"], True),
        ("fp32", [], True),
    ],
)
def test_what_a_cpu_computes_in_is_told_by_its_features(
    precision: str, flags: list[str], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_info, "describe", lambda: {"cpu_flags": flags})
    assert (torch_precision.emulated(precision, "cpu") == "") is native
    assert torch_precision.emulated(precision, "cuda") == ""


def test_mixed_types_are_named_all() -> None:
    import torch

    assert torch_precision.named([torch.float32, torch.bfloat16, torch.int64]) == "bf16,fp32"


GENERATED = """
        buf0 = extern_kernels.convolution(arg0, arg1)
        assert_size_stride(buf0, (1, 8), (8, 1), 'torch.ops.aten.convolution.default')
        buf1 = torch.ops.onednn.qlinear_pointwise.tensor(buf0)
        extern_kernels.addmm(arg2, buf1, out=buf2)
#pragma omp parallel num_threads(4)
    constants_info_[0].dtype = cached_torch_dtype_bfloat16;
    constants_info_[1].dtype = static_cast<int32_t>(cached_torch_dtype_int8);
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mkldnn__convolution_pointwise(buf1, &buf3_handle));
"""


def test_generated_code_tells_its_layers_constants_and_threads() -> None:
    code = inductor.read(GENERATED)
    assert code.calls == {
        "convolution": 1,
        "qlinear_pointwise": 1,
        "addmm": 1,
        "mkldnn__convolution_pointwise": 1,
    }
    assert code.constants == {"bfloat16", "int8"}
    assert code.threads == {4}
    assert code.layers == (1, 4)
    assert code.int8 == "int8-static"
    assert code.labels == ("1 of 4 layers in int8",)
    assert (
        inductor.read(f"{GENERATED} cpp_fused_view_choose_qparams_3(buf0)").int8 == "int8-dynamic"
    )
    assert inductor.read("extern_kernels.addmm(arg2) cpp_fused_choose_qparams_1(buf0)").int8 == ""
