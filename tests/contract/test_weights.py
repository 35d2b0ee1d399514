"""Where a model's numbers come from, through the whole walk: seeded, trained, pretrained, own, and
one weight changed.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import DIGITS_CNN, EFFICIENTNET_B0, MOBILENET_V3_SMALL
from evenbench.backends import contract_model
from evenbench.harness import BATCH, Cell, Model, TensorSpec, Weights, own, pretrained, seeded
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal
from evenbench.harness.runner.schedule import Run

TINY = contract_model.TINY_CNN


QUICKEST = "torch-script"
"""Keys are made alike for every backend. A trace takes less time than an export, and holds the
module's code as an exported graph does: where it was not made anew, the answer would be wrong."""


def cell(model: Model, backend: str = QUICKEST, batch: int = 1) -> Cell:
    return Cell(model, backend, batch=batch, threads=cpu.cores())


def outcome(model: Model, results: Path, backend: str = QUICKEST) -> dict:
    entry = Entry(cell(model, backend))
    return Run([entry], PLANS["quick"], results, fresh=True).measure([entry])[0]


def plain_mobilenet():
    """Random initialisation and nothing else."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    return models.mobilenet_v3_small(weights=None)


def one_weight_changed():
    """The contract's network with a seed of its own, and one weight 0.1 % larger where the folder
    says so.
    """
    import torch

    torch.manual_seed(7)
    module = contract_model.build()
    if Path("changed").exists():
        with torch.no_grad():
            module[0].weight.view(-1)[0] *= 1.001
    return module


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder on a loopback web server."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [MOBILENET_V3_SMALL, EFFICIENTNET_B0], ids=lambda model: model.name
)
def test_seeded_weights_have_natural_scale(model: Model) -> None:
    prepared = Preparer(600).prepare(cell(model, "torch-eager"))  # whose artifact are the weights
    golden = np.load(Path(prepared.golden.path) / "outputs.npz")["logits"]
    assert np.abs(golden).max() > 1e-3
    assert np.ptp(golden, axis=0).max() > 0.1 * np.abs(golden).max()
    assert "batch-norm statistics recalibrated on 10 input images" in prepared.weights["note"]


@pytest.mark.slow
def test_plain_random_initialisation_is_refused_as_degenerate(tmp_path: Path) -> None:
    plain = replace(
        MOBILENET_V3_SMALL,
        name="plain",
        build="tests.contract.test_weights:plain_mobilenet",
        weights=own(),
    )
    line = outcome(plain, tmp_path, "torch-eager")
    assert (line["outcome"], line["phase"]) == ("failed", "parity")
    assert "degenerate reference" in line["reason"]


@pytest.mark.slow
def test_trained_digits_are_accurate_on_the_held_out_split(tmp_path: Path) -> None:
    line = outcome(DIGITS_CNN, tmp_path)
    assert line["accuracy"]["count"] == 360
    assert line["accuracy"]["value"] > 0.97
    assert line["weights"]["source"] == "trained"


def test_weights_do_not_depend_on_the_batch() -> None:
    preparer = Preparer(600)
    assert (
        preparer.prepare(cell(TINY, batch=1)).weights["sha256"]
        == preparer.prepare(cell(TINY, batch=7)).weights["sha256"]
    )


def test_another_seed_gives_other_weights_and_another_artifact() -> None:
    preparer = Preparer(600)
    first, second = (preparer.prepare(cell(replace(TINY, weights=seeded(seed)))) for seed in (0, 1))
    assert first.weights["sha256"] != second.weights["sha256"]
    assert first.artifact.path != second.artifact.path


def test_one_changed_weight_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = replace(
        TINY, name="mine", build="tests.contract.test_weights:one_weight_changed", weights=own()
    )
    before, again = (Preparer(600).prepare(cell(mine)) for _ in range(2))
    Path("changed").touch()
    after = Preparer(600).prepare(cell(mine))
    assert before.artifact.path == again.artifact.path
    assert again.artifact.cached
    assert after.weights["sha256"] != before.weights["sha256"]
    assert after.artifact.path != before.artifact.path
    assert after.golden.path != before.golden.path


TWINS = """
def _net(activation):
    import torch
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), activation, torch.nn.Linear(8, 3))

def with_relu():
    import torch
    return _net(torch.nn.ReLU())

def with_tanh():
    import torch
    return _net(torch.nn.Tanh())
"""


def test_two_models_of_equal_weights_share_no_artifact(tmp_path: Path) -> None:
    """They come from one file and have equal state dicts: only what builds them, and their
    structure, tells them apart.
    """
    (tmp_path / "twins.py").write_text(TWINS)
    specs = {"inputs": (TensorSpec("x", (BATCH, 4)),), "outputs": (TensorSpec("y", (BATCH, 3)),)}
    made = "harness.inputs:standard_normal"
    twins = [
        Model(name, build=f"{tmp_path}/twins.py:{name}", inputs_from=made, **specs)
        for name in ("with_relu", "with_tanh")
    ]
    relu, tanh = (Preparer(600).prepare(cell(twin)) for twin in twins)
    assert relu.weights["sha256"] == tanh.weights["sha256"]
    assert relu.artifact.path != tanh.artifact.path
    assert relu.golden.path != tanh.golden.path
    assert [outcome(twin, tmp_path / "results")["outcome"] for twin in twins] == ["ok", "ok"]


MODEL_FILE = """
def build():
    import torch
    torch.manual_seed(0)
    from activations import chosen
    return torch.nn.Sequential(torch.nn.Linear(4, 8), chosen(), torch.nn.Linear(8, 3))
"""


@pytest.mark.parametrize("weights", [own(), seeded(5)], ids=["own", "seeded"])
def test_changed_code_with_the_same_weights_is_a_miss(weights: Weights, tmp_path: Path) -> None:
    """ReLU becomes Tanh in a file that the model's file imports: no weight changes, the answer
    does.
    """
    (tmp_path / "mymodel.py").write_text(MODEL_FILE)
    (tmp_path / "activations.py").write_text("from torch.nn import ReLU as chosen")
    mine = Model(
        "mine",
        build=f"{tmp_path}/mymodel.py:build",
        inputs=(TensorSpec("x", (BATCH, 4)),),
        outputs=(TensorSpec("y", (BATCH, 3)),),
        inputs_from="harness.inputs:standard_normal",
        weights=weights,
    )
    assert outcome(mine, tmp_path / "results")["outcome"] == "ok"
    before = Preparer(600).prepare(cell(mine))
    (tmp_path / "activations.py").write_text("from torch.nn import Tanh as chosen")
    after = Preparer(600).prepare(cell(mine))
    assert before.artifact.path != after.artifact.path
    assert before.golden.path != after.golden.path
    assert after.weights["sha256"] == before.weights["sha256"]
    assert after.weights["code_sha256"] != before.weights["code_sha256"]
    assert outcome(mine, tmp_path / "results")["outcome"] == "ok"


WITH_HELPER = """
from pathlib import Path
import torch
import widths
LAYERS = int((Path(__file__).parent / "layers.txt").read_text())
def build():
    hidden = [torch.nn.Linear(widths.WIDTH, widths.WIDTH) for _ in range(LAYERS)]
    ends = torch.nn.Linear(4, widths.WIDTH), torch.nn.Linear(widths.WIDTH, 3)
    return torch.nn.Sequential(ends[0], *hidden, ends[1])
"""


def test_two_folders_share_seeded_weights_only_if_all_files_are_equal(tmp_path: Path) -> None:
    """One model file in four folders: a helper module differs in one, a data file in another."""
    preparer, weights, cached = Preparer(600), {}, {}
    for name, width, layers in (("a", 8, 1), ("b", 9, 1), ("c", 8, 2), ("d", 8, 1)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "netmodel.py").write_text(WITH_HELPER)
        (folder / "widths.py").write_text(f"WIDTH = {width}\n# {tmp_path}")
        (folder / "layers.txt").write_text(str(layers))
        mine = Model(
            "mine",
            build=f"{folder}/netmodel.py:build",
            inputs=(TensorSpec("x", (BATCH, 4)),),
            outputs=(TensorSpec("y", (BATCH, 3)),),
            inputs_from="harness.inputs:standard_normal",
            weights=seeded(5),
        )
        prepared = preparer.prepare(cell(mine, "torch-eager"))
        weights[name], cached[name] = prepared.weights["sha256"], prepared.artifact.cached
    assert weights["a"] == weights["d"]
    assert len({weights["a"], weights["b"], weights["c"]}) == 3
    assert cached == {"a": False, "b": False, "c": False, "d": True}


def test_one_changed_flag_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Preparer(600).prepare(cell(TINY, "ort"))
    monkeypatch.setattr("evenbench.backends.onnx.exporters.OPSET", 19)
    after = Preparer(600).prepare(cell(TINY, "ort"))
    assert before.artifact.path != after.artifact.path
    assert before.weights == after.weights


def test_one_artifact_feeds_both_onnx_runtimes() -> None:
    preparer = Preparer(600)
    assert (
        preparer.prepare(cell(TINY, "ort")).artifact.sha256
        == preparer.prepare(cell(TINY, "openvino")).artifact.sha256
    )


def test_pretrained_weights_are_downloaded_once_and_checked(
    served: tuple[str, Path], tmp_path: Path
) -> None:
    import torch

    url, folder = served
    torch.manual_seed(3)
    torch.save(contract_model.build().state_dict(), folder / "tiny.pt")
    sha256 = hashlib.sha256((folder / "tiny.pt").read_bytes()).hexdigest()
    line = outcome(
        replace(TINY, name="served", weights=pretrained(f"{url}/tiny.pt", sha256)),
        tmp_path / "results",
    )
    assert line["outcome"] == "ok", line["reason"]
    assert line["weights"]["source"] == "pretrained"
    assert "tiny.pt" in line["weights"]["note"]


def test_pretrained_weights_offline_are_unavailable(tmp_path: Path) -> None:
    line = outcome(
        replace(TINY, name="offline", weights=pretrained("http://127.0.0.1:9/tiny.pt", "0" * 64)),
        tmp_path,
    )
    assert line["outcome"] == "unavailable"
    assert "could not be downloaded" in line["reason"]


def test_outputs_named_otherwise_are_an_error_in_words() -> None:
    two = replace(
        TINY, name="two", outputs=(TINY.outputs[0], replace(TINY.outputs[0], name="boxes"))
    )
    with pytest.raises(Refusal) as refused:
        Preparer(600).prepare(cell(two, "ort"))
    assert (
        "returns 1 outputs, but declares ['logits', 'boxes']; make them agree"
        in refused.value.reply.reason
    )


def test_offsets_draw_biases_scales_and_shifts_and_keep_other_keys() -> None:
    import torch

    from evenbench.backends.torch import weights

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LayerNorm(8), torch.nn.PReLU(4)
    )
    before = {name: value.clone() for name, value in module.named_parameters()}
    assert weights.draw_offsets(module) == 5, "scale and shift of both norms, and PReLU's slopes"
    after = dict(module.named_parameters())
    assert torch.equal(after["0.weight"], before["0.weight"]), "drawn weights stay"
    assert all(
        len(set(after[name].tolist())) == after[name].numel() for name in ("1.bias", "2.weight")
    )
    plain, drawn = replace(TINY, weights=seeded(0)), replace(TINY, weights=seeded(0, offsets=True))
    assert plain.fingerprint != drawn.fingerprint
    assert weights.weights_key(plain) | {"offsets": weights.OFFSETS} == weights.weights_key(drawn)
