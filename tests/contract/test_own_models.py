"""Models as users bring them: weights beside the graph, awkward names, dict outputs in another
order, steps of their own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends import contract_model
from evenbench.harness import BATCH, Cell, Model, TensorSpec
from evenbench.harness.cli import main
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu
from evenbench.harness.runner.schedule import Run


def outcomes(model: Model, results: Path, backends: tuple[str, ...]) -> dict[str, str]:
    entries = [Entry(Cell(model, backend, threads=cpu.cores())) for backend in backends]
    lines = Run(entries, PLANS["quick"], results, fresh=True).measure(entries)
    return {
        line["cell"]["backend"]: f"{line['outcome']} {line['reason']}".strip() for line in lines
    }


def other_order():
    """Returns its outputs as a dict, second before first."""
    import torch

    class TwoHeads(torch.nn.Module):
        """Two linear heads of one size, so that a mix-up is no error of shape."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return OrderedDict(second=self.second(x), first=self.first(x))

    torch.manual_seed(0)
    return TwoHeads()


@pytest.mark.nightly
@pytest.mark.slow
def test_dict_outputs_are_matched_by_name_in_every_runtime(tmp_path: Path) -> None:
    model = Model(
        "two_heads",
        build="tests.contract.test_own_models:other_order",
        inputs=(TensorSpec("x", (BATCH, 6)),),
        outputs=(TensorSpec("first", (BATCH, 4)), TensorSpec("second", (BATCH, 4))),
        inputs_from="harness.inputs:standard_normal",
    )
    backends = ("torch-eager", "torch-script", "torch-compile", "ort", "openvino")
    assert outcomes(model, tmp_path, backends) == dict.fromkeys(backends, "ok")


@pytest.mark.slow
def test_an_onnx_file_with_its_weights_beside_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx
    import torch

    torch.manual_seed(0)
    module = contract_model.build().eval()
    torch.onnx.export(
        module,
        (torch.randn(1, 3, 16, 16),),
        tmp_path / "plain.onnx",
        dynamo=True,
        external_data=False,
    )
    graph = onnx.load(str(tmp_path / "plain.onnx"))
    onnx.save(
        graph,
        str(tmp_path / "model.onnx"),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    target = [
        str(tmp_path / "model.onnx"),
        "--backends",
        "ort,openvino",
        "--plan",
        "quick",
        "--results",
        str(tmp_path / "r"),
        "--json",
    ]
    capsys.readouterr()  # the exporter prints, too
    assert main(["run", *target]) == 0
    lines = json.loads(capsys.readouterr().out)["outcomes"]
    assert {line["outcome"] for line in lines} == {"ok"}


@pytest.mark.slow
def test_an_input_name_is_never_a_path(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    name = "../../evil:0"
    values = [
        helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 4]) for each in (name, "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Tanh", [name], ["y"])], "g", values[:1], values[1:]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(tmp_path / "evil.onnx"),
    )
    command = [
        "run",
        str(tmp_path / "evil.onnx"),
        "--backends",
        "ort",
        "--plan",
        "quick",
        "--results",
        str(tmp_path / "r"),
    ]
    assert main(command) == 0
    assert not list(tmp_path.rglob("evil:0*"))


OWN_STEP = """
from dataclasses import dataclass
from typing import ClassVar

from harness import BATCH, Case, Model, Recipe, TensorSpec
from harness.photographs import PHOTOGRAPHS
from harness.preprocess import Decode, Layout, Resize, ToArray


@dataclass(frozen=True)
class Invert:
    is_step: ClassVar[bool] = True

    def apply(self, image):
        return 1 - image


RECIPE = Recipe(
    "inverted_8",
    (Decode(), Resize(8, antialias=True, exact=True), ToArray(), Invert(), Layout()),
)
MINE = Model(
    "mine",
    build="anything:at_all",
    inputs=(TensorSpec("x", (BATCH, 3, 8, 8)),),
    recipe=RECIPE,
    images=PHOTOGRAPHS,
)
case = Case(models=(MINE,), backends=("null",))
"""


def test_a_preprocessing_step_of_ones_own_is_found_by_the_worker(tmp_path: Path) -> None:
    (tmp_path / "bench_step.py").write_text(OWN_STEP)
    command = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "run",
        "bench_step.py",
        "--plan",
        "quick",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = json.loads(done.stdout)["outcomes"]
    assert (line["outcome"], line["inputs"]["recipe"]) == ("ok", "inverted_8")


TWO_CELLS = """
from harness import BATCH, Case, Model, TensorSpec

SPECS = dict(inputs=(TensorSpec("x", (BATCH, 4)),), inputs_from="harness.inputs:standard_normal")
GONE = Model("gone", file="gone.onnx", **SPECS)
FINE = Model("fine", build="anything:at_all", **SPECS)
bad = Case(models=(GONE,), backends=("ort",))
good = Case(models=(FINE,), backends=("null",))
"""


def test_a_cell_that_cannot_be_prepared_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "bench_two.py").write_text(TWO_CELLS)
    command = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "run",
        "bench_two.py",
        "--plan",
        "quick",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {line["cell"]["model"]: line for line in json.loads(done.stdout)["outcomes"]}
    assert found["fine"]["outcome"] == "ok"
    assert found["gone"]["outcome"] == "failed"
    assert "gone.onnx" in found["gone"]["reason"]


def onnx_file(folder: Path, name: str, nodes: list[Any], makes: int, shape: list[int]) -> str:
    """A file of one's own with input x [1, 8] and output y, made of standard operators and one of
    somebody else's domain.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, [8, 16], np.random.default_rng(0).standard_normal(128)
    )
    ends = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", makes, shape)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "g", *ends, [weights]), opset_imports=opsets, ir_version=9
        ),
        str(folder / name),
    )
    return str(folder / name)


def own_outcomes(
    file: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, dict[str, Any]]:
    main(["run", file, "--plan", "quick", "--results", str(folder / "r"), "--json", *more])
    return {
        line["cell"]["precision"]: line for line in json.loads(capsys.readouterr().out)["outcomes"]
    }


@pytest.mark.slow
def test_a_file_that_answers_with_integers_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("ArgMax", ["a"], ["y"], axis=1, keepdims=0),
    ]
    file = onnx_file(tmp_path, "classes.onnx", nodes, TensorProto.INT64, [1])
    line = own_outcomes(file, tmp_path, capsys, "--backends", "openvino")["fp32"]
    assert (line["outcome"], line["parity"]["needed"]) == ("ok", 0.0), line["reason"]
    assert line["parity"]["outputs"][0]["top1_agreement"] is None, "a class is not a row of scores"


@pytest.mark.slow
def test_an_operator_of_a_runtimes_own_is_judged_by_this_runtime_unoptimised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft")]
    line = own_outcomes(
        onnx_file(tmp_path, "fused.onnx", nodes, TensorProto.FLOAT, [1, 16]),
        tmp_path,
        capsys,
        "--backends",
        "ort",
    )["fp32"]
    assert line["outcome"] == "ok", line["reason"]
    assert re.match(
        "ONNX Runtime without optimisation, in .*(alone|in agreement with OpenVINO in float32); "
        "ONNX's reference evaluator cannot run "
        ".*'FusedMatMul' from domain 'com.microsoft'",
        line["parity"]["golden"],
    )


@pytest.mark.slow
def test_a_file_of_ones_own_runs_at_lower_precisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    file = onnx_file(tmp_path, "low.onnx", nodes, TensorProto.FLOAT, [1, 16])
    import numpy as np

    samples = np.random.default_rng(3).standard_normal((8, 8), "f4")
    np.savez(tmp_path / "data.npz", x=samples)
    flags = "--backends", "openvino", "--precision", "fp16,bf16,int8-static"
    data = "--calibration", str(tmp_path / "data.npz")
    found = own_outcomes(file, tmp_path, capsys, *flags, *data)
    assert {precision: line["outcome"] for precision, line in found.items()} == {
        "fp16": "ok",
        "bf16": "unsupported",
        "int8-static": "ok",
    }, {precision: line["reason"] for precision, line in found.items()}
    assert found["fp16"]["parity"]["golden"] == (
        "ONNX's own reference evaluator in float64, in agreement with "
        "ONNX Runtime without optimisation"
    )


OWN = """
import sys
import torch

class Tokens(torch.nn.Module):
    def __init__(self, entries):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(entries, 8), torch.nn.Linear(8, 4)

    def forward(self, tokens, mask):
        return self.head(self.table(tokens) * mask[..., None]).sum(1)

def small():
    torch.manual_seed(0)
    return Tokens(7), (torch.tensor([[0, 6, 3, 1, 5]]), torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0]]))

def zeros():
    torch.manual_seed(0)
    return Tokens(7), (torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5))

class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)

    def forward(self, x, factor):
        return {"file": self.inner(x) * factor}

def scaled():
    torch.manual_seed(0)
    return Scaled(), (torch.randn(2, 4), torch.tensor(3.0))

def leaves():
    sys.exit(3)
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("build", [pytest.param("small", marks=pytest.mark.nightly), "zeros"])
def test_the_examples_that_build_returns_are_the_inputs(
    build: str, own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An embedding of seven entries takes no token that its author did not think of."""
    command = [
        "run",
        f"{own_file}:{build}",
        "--backends",
        "torch-eager,ort",
        "--plan",
        "quick",
        "--results",
        str(tmp_path / "r"),
        "--json",
    ]
    code = main(command)
    lines = json.loads(capsys.readouterr().out)["outcomes"]
    assert {
        line["cell"]["backend"]: f"{line['outcome']} {line['reason']}".strip() for line in lines
    } == {"torch-eager": "ok", "ort": "ok"}
    assert code == 0


def test_samples_begin_with_the_example_and_stay_within_it(
    own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenbench.backends.torch import example_inputs

    monkeypatch.syspath_prepend(own_file.parent)
    tensors = (TensorSpec("tokens", (BATCH, 5), "int64"), TensorSpec("mask", (BATCH, 5)))
    model = Model("small", build=f"{own_file}:small", inputs=tensors)
    made, other = example_inputs.samples(model), example_inputs.calibration(model)
    assert made["tokens"][0].tolist() == [0, 6, 3, 1, 5]
    assert {tuple(sorted(row)) for row in made["tokens"].tolist()} == {(0, 1, 3, 5, 6)}
    assert set(made["mask"].flatten().tolist()) == {0.0, 1.0}
    assert made["tokens"].shape == made["mask"].shape == other["mask"].shape == (8, 5)
    assert len({tuple(row) for row in made["tokens"].tolist()}) > 2
    assert other["tokens"].tolist() != made["tokens"].tolist()
    zeros = example_inputs.samples(Model("zeros", build=f"{own_file}:zeros", inputs=tensors))
    assert 0 < zeros["tokens"].max() < 7
    assert (zeros["mask"] == 1).all(), "a mask of ones is meant so"


@pytest.mark.nightly
@pytest.mark.slow
def test_a_tensor_may_be_called_file_and_a_number_may_be_an_input(
    own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backends = {"torch-eager", "torch-script", "ort", "openvino"}
    command = [
        "run",
        f"{own_file}:scaled",
        "--backends",
        ",".join(backends),
        "--plan",
        "quick",
        "--results",
        str(tmp_path / "r"),
        "--json",
    ]
    main(command)
    lines = json.loads(capsys.readouterr().out)["outcomes"]
    found = {
        line["cell"]["backend"]: f"{line['outcome']} {line['reason']}".strip() for line in lines
    }
    assert found == dict.fromkeys(backends, "ok")


def test_a_build_that_leaves_is_named(own_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", f"{own_file}:leaves"]) == 4
    err = capsys.readouterr().err
    assert "sys.exit(3) was called in describe" in err
    assert "own.py" in err
    assert "in leaves" in err
