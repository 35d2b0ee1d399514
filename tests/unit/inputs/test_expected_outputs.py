"""Expected outputs beside input batches are read back, whatever their names and types."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evenbench.harness import Model, TensorSpec
from evenbench.harness.inputs import expected_outputs

MODEL = Model(
    "m",
    "a:b",
    outputs=(TensorSpec("out/größe 1[0]", (1, 2)), TensorSpec("label", (1,), "str")),
)


def test_expected_outputs_are_read_back_by_batch_and_name(tmp_path: Path) -> None:
    samples = [
        {"out/größe 1[0]": np.float32([[1, 2]]), "label": np.array(["cat"], object)},
        {"out/größe 1[0]": np.float32([[3, 4]]), "label": np.array(["dog"], object)},
    ]
    fact = expected_outputs.save(tmp_path, samples)
    found = expected_outputs.load(tmp_path, MODEL)
    assert [list(outputs) for outputs in found] == [list(samples[0]), list(samples[1])]
    assert np.array_equal(found[1]["out/größe 1[0]"], [[3, 4]])
    assert [outputs["label"].tolist() for outputs in found] == [["cat"], ["dog"]]
    assert len(fact[expected_outputs.FACT]) == 64


def test_other_expectations_have_another_digest(tmp_path: Path) -> None:
    digests = {
        expected_outputs.save(tmp_path, [{"y": np.float32([value])}])[expected_outputs.FACT]
        for value in (1, 1, 2)
    }
    assert len(digests) == 2


def test_inputs_without_expectations_have_none(tmp_path: Path) -> None:
    assert expected_outputs.load(tmp_path, MODEL) == []
