"""The workflows are valid by their published schema, and call nothing but commands that exist here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_are_valid_by_their_schema(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_call_commands_of_this_project(file: Path) -> None:
    text = re.sub(r"\\\n\s*", "", file.read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
    for line in re.findall(r"\bevenbench ([a-z]+ [^|\n]*)", text):
        words = [word for word in re.sub(r'"\$\([^)]*\)"', "BASE", line).replace('"digits or mobilenet"', "digits").split() if word]
        cli.parser().parse_args(words)
