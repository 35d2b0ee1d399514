"""The tutorial of a wrong output: tracing freezes a branch, and the run catches it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import REPOSITORY

from tests.docs.pages import blocks

PAGE = REPOSITORY / "docs" / "tutorials" / "your-model.md"


def source(name: str) -> str:
    """The text of a file of the tutorial."""
    return next(block.text for block in blocks(PAGE) if block.mark == f"file: {name}")


@pytest.mark.parametrize(
    ("name", "differs"), [("classifier.py", True), ("classifier_fixed.py", False)]
)
@pytest.mark.filterwarnings("ignore")
def test_a_trace_keeps_one_branch_of_the_first_model_only(name: str, differs: bool) -> None:
    import torch

    module = ModuleType("tutorial")
    exec(compile(source(name), name, "exec"), module.__dict__)
    network = module.build().eval()
    bright, dark = torch.full((1, 3, 64, 64), 0.5), torch.full((1, 3, 64, 64), -0.5)
    traced = torch.jit.trace(network, (bright,), check_trace=False)
    assert torch.allclose(traced(bright), network(bright))
    assert torch.allclose(traced(dark), network(dark)) != differs


@pytest.mark.nightly
def test_the_run_of_the_tutorial_ends_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "classifier.py").write_text(source("classifier.py"))
    shell = [block.text for block in blocks(PAGE) if block.is_shell and block.verb == "not run"]
    for text, words in zip(shell, ("mismatch classifier-torch-script", "mismatch"), strict=True):
        done = subprocess.run(
            ["bash", "-c", text.replace("evenbench run", f"{sys.executable} -m evenbench run")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert words in done.stdout
        assert "times the allowed tolerance" in done.stdout
