"""Git runs in the repository of the working folder, whatever a hook has set, and reasons stay."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from evenbench.harness.environment import git_command, machine_findings, system_info


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "one")):
        name = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *name, *words], check=True)
    return tmp_path


def test_every_variable_that_git_calls_local_is_dropped_or_passed_on_purpose() -> None:
    listed = subprocess.run(
        ["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(listed) <= {*git_command.LOCAL_VARIABLES, *git_command.PASSED_ON}


def test_the_repository_of_a_hook_is_not_the_one_that_is_read(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git_command.run("rev-parse", "HEAD").text
    assert commit
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "elsewhere/index")
    assert git_command.run("rev-parse", "HEAD").text == commit
    assert "GIT_INDEX_FILE" not in system_info.for_worker(1, {})
    assert os.environ["GIT_DIR"] == "elsewhere"


def test_configuration_of_a_job_still_counts(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Job")
    assert git_command.run("config", "user.name").text == "Job"


def test_a_missing_git_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_command.why_no_repository() == git_command.NO_GIT
    assert git_command.why_unread() == git_command.NO_GIT
    assert machine_findings._git("").severity == "warning"


def test_a_repository_of_another_user_is_refused_in_words_of_git(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    reason = git_command.why_no_repository()
    assert "belongs to another user" in reason
    assert f"git config --global --add safe.directory {repository}" in reason
    assert git_command.why_unread() == reason
    assert reason in machine_findings._git("").seen


def test_a_folder_outside_any_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_command.why_no_repository() == "this folder is in no git repository"
    assert git_command.why_unread() == ""
    assert machine_findings._git("").severity == "fine"
