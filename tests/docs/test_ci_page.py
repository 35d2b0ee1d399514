"""The pages about CI: the GitLab file is valid and calls real commands; workflows and exit codes
are those of the project.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from evenbench.harness.commands import compare
from tests.docs.pages import blocks
from tests.meta.scripts import ROOT, calls, unknown

PAGE = ROOT / "docs" / "how-to" / "ci-github.md"
GITLAB = ROOT / "docs" / "how-to" / "ci-gitlab.md"
(EXAMPLE,) = [block.text for block in blocks(GITLAB) if block.language == "yaml"]


def test_the_gitlab_example_is_valid_by_its_schema(tmp_path: Path) -> None:
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(EXAMPLE)
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.gitlab-ci",
        str(file),
    ]
    command += ["--data-transform", "gitlab-ci"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    file.write_text(EXAMPLE.replace("exit_codes: [6, 7]", "exit_codes: often"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_the_gitlab_example_calls_what_is_there() -> None:
    job = yaml.safe_load(EXAMPLE)["compare"]
    script = "\n".join([*job["before_script"], *job["script"], *job["after_script"]])
    assert unknown(script) == []
    assert [program for program, _ in calls(script)] == ["make", "evenbench"]
    (words,) = [words for program, words in calls(script) if program == "evenbench"]
    assert job["artifacts"]["reports"]["junit"] == words[words.index("--junit") + 1]


def test_the_exit_codes_are_those_of_the_command() -> None:
    told = set(re.findall(r"^\| (\d) \|", PAGE.read_text(), re.MULTILINE))
    assert told == set(map(str, compare.EXIT_CODES))


def test_every_workflow_is_told() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    assert named == {file.stem for file in (ROOT / ".github" / "workflows").glob("*.yml")}
