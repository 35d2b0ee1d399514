"""`evenbench inspect` on model files of every format, each made here by the library whose format it
is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from evenbench.backends import file_formats
from evenbench.harness.collection import model_files
from evenbench.harness.core import import_strings
from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network() -> Any:
    """Convolution, batch norm, depthwise convolution, matrix product: 3 x 16 x 16 to 4 numbers."""
    from torch import nn

    torch.manual_seed(0)
    body = [
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return nn.Sequential(*body, nn.Linear(8, 4)).eval()


IMAGE = (1, 3, 16, 16)
FLOPS = 2 * (8 * 14 * 14 * 27 + 8 * 12 * 12 * 9 + 8 * 4)


def counted_by_torch() -> int:
    """What torch's own counter says of the module itself."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network()(torch.zeros(IMAGE))
    return int(counter.get_total_flops())


def save_onnx(file: Path) -> Path:
    names = {"input_names": ["image"], "output_names": ["y"]}
    with torch.no_grad():
        torch.onnx.export(
            network(), (torch.zeros(IMAGE),), file, dynamo=True, verbose=False, **names
        )
    return file


def save_script(file: Path) -> Path:
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(network(), torch.zeros(IMAGE)), str(file))
    return file


def save_program(file: Path) -> Path:
    torch.export.save(torch.export.export(network(), (torch.zeros(IMAGE),)), file)
    return file


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as an ONNX file with metadata; exported once."""
    file = save_onnx(tmp_path_factory.mktemp("exported") / "net.onnx")
    model = onnx.load(str(file))
    onnx.helper.set_model_props(
        model, {"evenbench.recipe": '{"name": "mine"}', "evenbench.precision": "fp32"}
    )
    onnx.save(model, str(file))
    return file


def inspect(*arguments: str) -> tuple[int, str, str]:
    """Exit code and output of the command in a process of its own, as a person calls it."""
    done = subprocess.run(
        [sys.executable, "-m", "evenbench.harness.cli", "inspect", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def looked(file: Path, shape: str = "", load: bool = False) -> dict[str, Any]:
    """The facts about a file, valid by the published schema."""
    facts = model_files.describe(file, shape, load)
    jsonschema.validate(facts, model_files.schema())
    return facts


def test_an_onnx_file_tells_what_travels_with_it(exported: Path) -> None:
    facts = looked(exported)
    assert (facts["format"], facts["bytes"]) == ("ONNX", exported.stat().st_size)
    assert facts["metadata"]["evenbench.recipe"] == '{"name": "mine"}'
    assert facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": list(IMAGE)}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 4]}]
    assert facts["opset"]["ai.onnx"] >= 18
    assert facts["operators"]["Conv"] == 2
    weights = (
        8 * 27 + 8 + 8 * 9 + 8 + 8 * 4 + 4
    )  # the exporter folds the batch norm into the convolution
    total = {"count": weights, "bytes": 4 * weights}
    assert facts["parameters"] == {**total, "by_dtype": {"float32": total}}
    assert facts["precision_changes"] == []


@pytest.mark.parametrize("save", [save_onnx, save_program, save_script])
def test_every_format_counts_work_as_torch_does(
    save: Callable[[Path], Path], tmp_path: Path
) -> None:
    suffix = {"save_onnx": ".onnx", "save_program": ".pt2", "save_script": ".pt"}[save.__name__]
    facts = looked(save(tmp_path / f"net{suffix}"), "1x3x16x16" if suffix == ".pt" else "")
    assert facts["flops"]["total"] == counted_by_torch() == FLOPS
    assert facts["flops"]["uncounted"] == {}


def test_torchscript_says_that_shapes_are_missing(tmp_path: Path) -> None:
    facts = looked(save_script(tmp_path / "net.pt"))
    assert facts["format"] == "TorchScript"
    assert facts["flops"]["total"] is None
    assert "--shape" in facts["flops"]["why_not"]
    assert facts["operators"]["aten::_convolution"] == 2
    assert facts["parameters"]["by_dtype"].keys() == {"float32"}


def test_an_exported_program_tells_shapes_types_and_casts(tmp_path: Path) -> None:
    class Narrow(torch.nn.Module):  # type: ignore[misc, name-defined]
        """A product in fp16 between casts."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 4).half()

        def forward(self, x: Any) -> Any:
            return self.inner(x.half()).float()

    file = tmp_path / "narrow.pt2"
    torch.export.save(torch.export.export(Narrow(), (torch.zeros(2, 4),)), file)
    facts = looked(file)
    assert facts["format"] == "exported program"
    assert facts["inputs"][0]["shape"] == [2, 4]
    assert facts["computes_in"] == "fp16"
    ways = [(change["from"], change["to"], change["of"]) for change in facts["precision_changes"]]
    assert ways == [("float32", "float16", "activations"), ("float16", "float32", "activations")]


@pytest.mark.nightly
@pytest.mark.slow
def test_a_package_is_read_without_running_it(tmp_path: Path) -> None:
    import torch._inductor

    file = tmp_path / "net.pt2"
    with torch.no_grad():
        program = torch.export.export(network(), (torch.zeros(IMAGE),))
        torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    facts = looked(file)
    assert facts["format"] == "AOTInductor package"
    assert facts["metadata"]["AOTI_DEVICE_KEY"] == "cpu"
    assert len(facts["inputs"]) == len(facts["outputs"]) == 1
    assert facts["parameters"]["by_dtype"].keys() == {"float32"}
    assert facts["parameters"]["count"] >= 8 * 27 + 8 * 9 + 8 * 4
    assert facts["operators"]
    assert "compiled code" in facts["flops"]["why_not"]


def test_casts_and_quantised_edges_are_named_with_both_types(tmp_path: Path) -> None:
    scale, zero = (
        numpy_helper.from_array(np.float32(0.1), "s"),
        numpy_helper.from_array(np.uint8(3), "z"),
    )
    weight = numpy_helper.from_array(np.ones((4, 5), np.int8), "w")
    zero_of_weight = numpy_helper.from_array(np.int8(0), "wz")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "restore"),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["wd"], "weights"),
        helper.make_node("MatMul", ["d", "wd"], ["m"], "product"),
        helper.make_node("Cast", ["m"], ["h"], "narrow", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Shape", ["m"], ["shape"], "shape"),
        helper.make_node("Cast", ["shape"], ["n"], "no precision", to=TensorProto.INT32),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    made = {"y": (TensorProto.FLOAT, ["batch", 5]), "n": (TensorProto.INT32, [2])}
    outputs = [helper.make_tensor_value_info(name, *kind) for name, kind in made.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, [scale, zero, weight, zero_of_weight])
    file = tmp_path / "q.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        str(file),
    )
    facts = looked(file)
    assert [
        (change["node"], change["from"], change["to"], change["of"])
        for change in facts["precision_changes"]
    ] == [
        ("quantise", "float32", "uint8", "activations"),
        ("restore", "uint8", "float32", "activations"),
        ("weights", "int8", "float32", "weights"),
        ("narrow", "float32", "float16", "activations"),
        ("widen", "float16", "float32", "activations"),
    ]
    assert facts["parameters"]["by_dtype"] == {"int8": {"count": 20, "bytes": 20}}, (
        "a scale is no weight"
    )
    assert facts["flops"]["total"] == 2 * 4 * 5
    assert facts["computes_in"] == "int8-static"
    assert facts["notes"] == ["work is counted with batch = 1"]


def test_what_counts_and_is_not_known_is_named(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [
        numpy_helper.from_array(np.zeros((1, 8, size), np.float32), name)
        for name, size in (("w", 4), ("r", 2))
    ]
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=2)]
    file = tmp_path / "lstm.onnx"
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, str(file))
    assert looked(file)["flops"]["uncounted"] == {"LSTM": 1}


@pytest.mark.nightly
@pytest.mark.slow
def test_the_command_shows_runtimes_and_what_they_fuse(exported: Path) -> None:
    code, out, err = inspect(str(exported), "--json")
    assert code == 0, err
    facts = json.loads(out)
    jsonschema.validate(facts, model_files.schema())
    precisions = {
        found["precision"]
        for found in facts["prospects"]
        if found["backend"] == "ort" and not found["unsupported"]
    }
    assert {"fp32", "fp16", "int8-static"} <= precisions
    scripted = [
        found["unsupported"]
        for found in facts["prospects"]
        if (found["backend"], found["precision"]) == ("torch-script", "fp32")
    ]
    assert all("needs a PyTorch module" in reason for reason in scripted)
    assert scripted
    ort = facts["runtimes"]["ort"]["attested"]
    assert set(ort["placement"]) == {"CPUExecutionProvider"}
    assert ort["details"]["graph"]["nodes_after"] <= ort["details"]["graph"]["nodes_before"]
    assert any("Relu" in way and "Conv" in way for way in ort["details"]["graph"]["fused"])
    assert facts["runtimes"]["openvino"]["attested"]["precision"] == "fp32"
    code, out, err = inspect(str(exported))
    assert (code, err) == (0, "")
    for said in (
        "image",
        "float32 [1, 3, 16, 16]",
        "evenbench.recipe",
        f"{FLOPS:,}",
        "in ort",
        "CPUExecutionProvider",
        "Conv + Relu",
    ):
        assert said in out


@pytest.mark.slow
def test_a_plan_is_read_without_a_gpu(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from evenbench.backends.tensorrt import builder

    order = builder.BuildOrder("tensorrt_rtx", {"image": IMAGE}, "SM89")
    made = builder.build_plans(exported, tmp_path, order)
    plan = tmp_path / builder.plan_file(0)
    facts = looked(plan)
    assert facts["made_by"].removeprefix("tensorrt_rtx ") == made["version"]
    assert facts["computes_in"] == "fp32"
    assert facts["details"]["layers"] == made["builds"][0]["layers"] > 0
    assert facts["metadata"]["target"] == "SM89"
    assert facts["flops"]["total"] is None
    cut = tmp_path / "cut.engine"
    cut.write_bytes(plan.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"cut\.engine is a truncated or damaged TensorRT plan"):
        model_files.describe(cut, load=False)


def external(folder: Path) -> Path:
    """A model whose weights lie in a file beside it."""
    folder.mkdir()
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = folder / "large.onnx"
    onnx.save(model, str(file), save_as_external_data=True, location="large.bin", size_threshold=0)
    return file


def test_weights_beside_the_graph_are_counted_and_checked_but_not_read(tmp_path: Path) -> None:
    file = external(tmp_path / "m")
    weights = file.with_name("large.bin")
    facts = looked(file)
    assert facts["external_data"] == ["large.bin"]
    assert facts["bytes"] == file.stat().st_size + weights.stat().st_size
    assert facts["parameters"]["count"] == 64 * 64
    assert facts["flops"]["total"] == 2 * 64 * 64
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    with pytest.raises(
        UsageError,
        match=r"large\.bin is truncated: it has 16380 bytes, and the weights need 16384; copy it",
    ):
        model_files.describe(file, load=False)
    weights.unlink()
    with pytest.raises(UsageError, match=r"large\.bin, which is missing"):
        model_files.describe(file, load=False)


def broken(name: str, folder: Path, exported: Path) -> Path:
    """A file that cannot be read, by its name."""
    file = folder / name
    script = save_script(folder / "whole.pt").read_bytes()
    damaged = bytearray(script)
    middle = len(damaged) // 3
    # More than any padding between entries, in which a changed byte would hurt nobody.
    damaged[middle : middle + 256] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 256])
    contents = {
        "empty.onnx": b"",
        "cut.onnx": exported.read_bytes()[:-200],
        "text.onnx": b"nothing of the kind",
        "cut.pt": script[: len(script) // 2],
        "damaged.pt": bytes(damaged),
        "photo.png": b"\x89PNG\r\n\x1a\n",
        "pickle.pt": b"\x80\x02}q\x00.",
        "short.engine": b"vtrt1234",
    }
    file.write_bytes(contents[name])
    return file


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty.onnx", "is empty"),
        ("cut.onnx", "is not a complete ONNX model"),
        ("text.onnx", "is not a complete ONNX model"),
        ("cut.pt", "truncated or damaged archive"),
        ("damaged.pt", "damaged"),
        ("photo.png", "is not a known model file"),
        ("pickle.pt", "is a pickle"),
        ("short.engine", "truncated TensorRT plan of 8 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_4(
    name: str, said: str, tmp_path: Path, exported: Path
) -> None:
    file = broken(name, tmp_path, exported)
    code, out, err = inspect(str(file))
    assert (code, out) == (4, "")
    assert said in err
    assert name in err
    assert err.count("\n") == 1


def test_archives_without_a_program_are_told(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="holds tensors and no program"):
        model_files.describe(tmp_path / "weights.pt", load=False)
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as made:
        made.writestr("notes.txt", "hello")
    with pytest.raises(UsageError, match="archive of an unknown kind"):
        model_files.describe(tmp_path / "other.pt2", load=False)


def test_a_shape_is_for_files_that_tell_none(exported: Path) -> None:
    with pytest.raises(UsageError, match="leave --shape out"):
        model_files.describe(exported, "1x3x16x16", load=False)
    with pytest.raises(UsageError, match="is not a shape"):
        model_files.describe(exported, "1x", load=False)


def test_a_reader_that_crashes_is_an_error_in_words(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crashes.py").write_text(
        "import os, signal\n\n"
        "def describe(file, shapes=()):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import backends\nbackends.DESCRIBE = 'crashes:describe'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"net\.onnx: inspect was ended by SIGSEGV"):
        model_files.describe(exported, load=False)


def test_results_are_still_results(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt"):
        (tmp_path / name).write_text('{"schema": 1}\n')
        assert not model_files.is_model(tmp_path / name)
    assert not model_files.is_model(tmp_path)
    assert records.read([tmp_path / "a.jsonl"]).notes


def test_every_reader_is_found_by_its_name() -> None:
    assert all(callable(import_strings.resolve(target)) for target in file_formats.READERS.values())
