"""Labels, precision, refusals and database folder of TVM cells, without TVM."""

from dataclasses import replace

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.tvm import backend, session, tuning_database
from evenbench.backends.tvm import precision as tvm_precision
from evenbench.harness import Cell, Model

CELL = Cell(TINY_CNN, "tvm", threads=2)


@pytest.mark.parametrize(
    ("trials", "missing", "label"),
    [(0, 19, "untuned"), (640, 0, "tuned(640)"), (64, 3, "tuned(64), 3 of 19 tasks not")],
)
def test_the_label_contains_the_state_of_tuning(trials, missing, label):
    assert (
        session.tuning_label({"trials": trials, "tasks": 19, "tasks_without_record": missing})
        == label
    )


@pytest.mark.parametrize(
    ("dtypes", "precision"),
    [
        (["float32", "int64"], "fp32"),
        (["float16", "float32"], "fp16"),
        (["float32", "uint8"], "int8-static"),
        (["float32", "float64"], "fp32,fp64"),
        (["bool"], ""),
    ],
)
def test_the_precision_is_that_of_the_narrowest_values(dtypes, precision):
    assert tvm_precision.precision_of(dtypes) == precision


def test_int8_is_only_stored():
    assert "widened" in tvm_precision.emulation("int8-static", "cpu")
    assert tvm_precision.emulation("fp32", "cpu") == ""


@pytest.mark.parametrize("precision", ["tf32", "bf16", "int8-dynamic"])
def test_unsupported_precisions_have_their_own_reasons(precision):
    assert backend.Tvm().supports(replace(CELL, precision=precision)).startswith("tvm ")


def test_a_file_is_refused():
    assert "PyTorch module" in backend.Tvm().supports(
        replace(CELL, model=Model("own", file="m.onnx"))
    )


def test_each_factor_of_the_schedules_has_a_separate_database(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path))
    changes = [
        {"batch": 2},
        {"threads": 1},
        {"precision": "fp16"},
        {"device": "cuda"},
        {"model": replace(TINY_CNN, name="other")},
    ]
    folders = {
        tuning_database.database_folder(replace(CELL, **change)) for change in [{}, *changes]
    }
    assert len(folders) == 6
    assert tuning_database.database_folder(replace(CELL, options={"spinning": "off"})) in folders
