"""An LSTM's state is an output in every runtime: nothing of a nested result is left uncompared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, Model
from evenbench.harness.core import registry
from evenbench.harness.core.backend import Source
from evenbench.harness.inputs import batches

STATE = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.LSTM(8, 12, batch_first=True), (torch.randn(1, 5, 8),)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch-script", "ort"])
def test_the_state_of_an_lstm_is_compared(backend: str, tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(STATE)
    model = Model("state", build=f"{tmp_path / 'state.py'}:build")
    golden: Any = registry.find("reference")
    inputs, outputs = golden.describe(model)
    assert [spec.shape for spec in outputs] == [(1, 5, 12), (1, 1, 12), (1, 1, 12)]
    model = replace(model, inputs=tuple(inputs), outputs=tuple(outputs), inputs_from=golden.samples)
    folders = {name: tmp_path / name for name in ("inputs", "weights", "artifact")}
    for folder in folders.values():
        folder.mkdir()
    batches.make(model, 1, folders["inputs"])
    files = {spec.name: folders["inputs"] / batches.file_of(spec.name) for spec in inputs}
    weights = golden.materialise(model, files, folders["weights"])
    cell, runtime = Cell(model, backend), registry.find(backend)
    source = Source(model, folders["weights"], weights["sha256"], files)
    runtime.prepare(source, cell, folders["artifact"])
    session = runtime.load(folders["artifact"], cell)
    sample = batches.load(folders["inputs"], model)[0]
    session.bind(sample)
    session.step()
    found = session.fetch()
    session.close()

    import torch

    module, _ = golden_module(model)
    with torch.no_grad():
        y, (h, c) = module(torch.from_numpy(np.array(sample[inputs[0].name])))
    for name, right in zip(("output_0", "output_1", "output_2"), (y, h, c), strict=True):
        assert np.abs(found[name] - right.numpy()).max() < 1e-6


def golden_module(model: Model) -> Any:
    from evenbench.backends.torch import model as torch_model

    return torch_model.module_and_examples(model)
