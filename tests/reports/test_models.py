"""The cards of models: from recorded facts only, one row per artifact."""

from __future__ import annotations

from typing import Any

from evenbench.reports import result_groups
from evenbench.reports.pages import index
from evenbench.reports.sections import models
from tests.reports.synthetic import record

MODEL = {
    "parameters": 11_684_712,
    "parameter_bytes": {"float16": 23_369_424},
    "flops": 3_628_146_688,
    "flops_uncounted": {},
    "operators": {"Conv": 20, "Relu": 17, "Add": 8, "Cast": 2, "MaxPool": 1, "Gemm": 1},
    "computes_in": "fp16",
    "precision_changes": {"float32 -> float16": 1, "float16 -> float32": 1},
}


def made(backend: str, digest: str, precision: str = "fp16", **facts: Any) -> dict[str, Any]:
    artifact = {"bytes": 23_400_000, "facts": {"format": "ONNX", **facts}}
    return record("resnet18", backend, precision, artifact=artifact, artifact_sha256=digest * 64)


def test_an_artifact_that_two_runtimes_read_is_one_row() -> None:
    lines = [
        made("ort", "a", model=MODEL),
        made("openvino", "a", model=MODEL),
        made("ort", "b", "fp32"),
    ]
    (card,) = models.cards(result_groups.results(lines))
    assert card.model == "resnet18"
    both, other = card.artifacts
    assert both.read_by == "ort fp16, openvino fp16"
    assert both.parameters == "11,684,712 (23.4\N{NO-BREAK SPACE}MB float16)"
    assert both.flops == "3.63\N{NO-BREAK SPACE}GFLOP"
    assert both.computes_in == "fp16"
    assert (
        both.operators.replace("\N{NO-BREAK SPACE}", " ")
        == "20 Conv, 17 Relu, 8 Add, 2 Cast, 1 MaxPool, 1 others"
    )
    assert "float32 -> float16" in both.changes
    assert (other.read_by, other.parameters, other.flops, other.changes) == (
        "ort fp32",
        "–",
        "–",
        "–",
    ), "nothing recorded, nothing claimed"


def test_what_could_not_be_counted_is_said() -> None:
    (card,) = models.cards(
        result_groups.results(
            [made("ort", "a", model={**MODEL, "flops": 999, "flops_uncounted": {"LSTM": 2}})]
        )
    )
    assert card.artifacts[0].flops.replace("\N{NO-BREAK SPACE}", " ") == "999 FLOP, without 2 LSTM"


def test_a_file_of_ones_own_is_described_by_its_weights() -> None:
    line = made("ort", "a", "fp32") | {
        "weights": {"source": "file", "sha256": "0" * 64, "note": "the file m.onnx", "model": MODEL}
    }
    (card,) = models.cards(result_groups.results([line]))
    assert card.artifacts[0].flops == "3.63\N{NO-BREAK SPACE}GFLOP"
    narrow = {**line, "cell": {**line["cell"], "precision": "fp16"}}
    assert models.cards(result_groups.results([narrow]))[0].artifacts[0].flops == "–", (
        "of the file, not of what was converted from it"
    )


def test_a_long_report_shows_some_cards_and_says_so() -> None:
    lines = [made("ort", "a", model=MODEL) for _ in range(models.CARDS_SHOWN + 2)]
    for number, line in enumerate(lines):
        line["cell"] = {
            **line["cell"],
            "model": f"m{number}",
            "key": f"k{number}",
            "group": f"g{number}",
        }
    page = index.render(lines)
    assert page.count("<span>Artifacts of m") == models.CARDS_SHOWN
    assert "2 more models are left out;" in page
    facts = dict(models.described(result_groups.results(lines[-1:])[0]))
    assert facts["work"] == "3.63\N{NO-BREAK SPACE}GFLOP"
    assert "1\N{NO-BREAK SPACE}Gemm" in facts["operators"]


def test_the_page_has_a_card_and_a_way_to_it() -> None:
    page = index.render([made("ort", "a", model=MODEL), record("resnet18", "null")])
    assert 'href="#models"' in page
    assert 'id="models"' in page
    assert "3.63\N{NO-BREAK SPACE}GFLOP" in page
    assert 'id="models"' not in index.render([record("resnet18", "null")]), (
        "a control reads no model"
    )
