"""`evenbench recommend` as a user meets it: limits with units, exit codes, honest empty answers."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from evenbench.harness import cli

_spec = importlib.util.spec_from_file_location(
    "synthetic", Path(__file__).parents[2] / "reports" / "synthetic.py"
)
synthetic = sys.modules.get("synthetic") or importlib.util.module_from_spec(_spec)
if "synthetic" not in sys.modules:
    sys.modules["synthetic"] = synthetic
    _spec.loader.exec_module(synthetic)


@pytest.fixture
def recorded(tmp_path):
    """A results folder with the synthetic suite, one batch of eight, and laps enough for a p99 of
    one cell.
    """
    lines = [*synthetic.suite(), synthetic.record("resnet18", "openvino", batch=8)]
    lines.append(synthetic.record("tiny", "ort", process_ns=(1e6, 1.01e6, 0.99e6), laps=160))
    (tmp_path / "run.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(tmp_path)


def test_a_malformed_limit_is_a_usage_error(recorded, capsys):
    assert cli.main(["recommend", recorded, "--model", "resnet18", "--p99", "fast"]) == 4
    told = capsys.readouterr().err
    assert "--p99 'fast' is not a time" in told
    assert "such as 20ms" in told


def test_a_limit_that_is_kept_ranks_and_exits_with_0(recorded, capsys):
    assert (
        cli.main(
            [
                "recommend",
                recorded,
                "--model",
                "digits-cnn",
                "--memory",
                "500MB",
                "--accuracy-drop",
                "1%",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["limits"] == {"memory_bytes": 500e6, "accuracy_drop": 0.01}
    assert [each["backend"] for each in found["ranked"]][:2] in (
        ["ort", "openvino"],
        ["openvino", "ort"],
    )
    assert {each["backend"] for each in found["excluded"]} == {"null"}
    assert set(found["front"]) <= {each["id"] for each in found["ranked"]}
    assert any("of which one is" not in note and "360 samples" in note for note in found["notes"])


def test_a_limit_that_nothing_keeps_is_an_honest_empty_answer(recorded, capsys):
    assert (
        cli.main(["recommend", recorded, "--model", "tiny", "--p99", "1us", "--size", "1GB"]) == 1
    )
    told = capsys.readouterr().out
    assert "nothing satisfies that." in told
    assert "nearest miss is tiny-ort-fp32-cpu-b1" in told
    assert "all other limits are met" in told
    assert (
        "is met by 1 of 1\N{NO-BREAK SPACE}correct cell; other limits exclude these cells" in told
    )


def test_every_other_cell_is_told_why_in_words(recorded, capsys):
    cli.main(["recommend", recorded, "--model", "vit-tiny"])
    told = capsys.readouterr().out
    assert "mismatch: logits: RMSE is 6.2 times the allowed one" in told
    assert "unavailable: tvm is not installed; pip install apache-tvm" in told
    assert "failed: the worker died with SIGSEGV" in told


def test_the_smallest_batch_is_chosen_and_the_others_are_named(recorded, capsys):
    cli.main(["recommend", recorded, "--model", "resnet18"])
    assert "batch 8 is recorded as well" in capsys.readouterr().out
    assert cli.main(["recommend", recorded, "--model", "resnet18", "--batch", "8", "--json"]) == 0
    assert [each["batch"] for each in json.loads(capsys.readouterr().out)["ranked"]] == [8]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "nobody"], "recorded are digits-cnn"),
        (["--model", "resnet18", "--device", "tpu"], "recorded are cpu"),
        (["--model", "resnet18", "--batch", "3"], "recorded are 1, 8"),
    ],
)
def test_what_was_not_recorded_is_told_with_what_was(recorded, capsys, flags, words):
    assert cli.main(["recommend", recorded, *flags]) == 4
    assert words in capsys.readouterr().err


def test_a_line_that_was_edited_by_hand_is_told_and_no_traceback(recorded, capsys):
    broken = synthetic.record("edited", "ort") | {"memory": 5}
    (Path(recorded) / "edited.jsonl").write_text(json.dumps(broken))
    assert cli.main(["recommend", recorded, "--model", "edited", "--memory", "1GB"]) == 4
    assert "malformed result line" in capsys.readouterr().err


def test_an_empty_folder_is_told_to_run_first(tmp_path, capsys):
    assert cli.main(["recommend", str(tmp_path), "--model", "resnet18"]) == 4
    assert "no outcome is recorded there" in capsys.readouterr().err
