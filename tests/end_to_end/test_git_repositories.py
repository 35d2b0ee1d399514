"""`evenbench` inside git hooks and in unusual repositories: the commit in progress is untouched,
and the reasons given by git are shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Ran, variables

BENCH = """
from harness import Case
from tiny import TINY

latency = Case((TINY,), backends=("tiny",), threads=(1,))
"""

HOOK = f"""#!/bin/sh
{sys.executable} -m evenbench compare HEAD~1 HEAD bench_tiny.py -k nothing >>"$HOOK_LOG" 2>&1
echo "exit $?" >>"$HOOK_LOG"
"""


class Project:
    """A git repository with a declaration and two commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.log = folder / "hook.log"
        self.environment = {
            **variables(folder),
            "HOOK_LOG": str(self.log),
            **{
                f"GIT_{role}_{key}": value
                for role in ("AUTHOR", "COMMITTER")
                for key, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
            },
        }
        search = self.environment["PYTHONPATH"]
        self.environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), search])
        (self.folder / "bench_tiny.py").write_text(BENCH)
        self.git("init", "-q", "-b", "main")
        for text in ("one", "two"):
            self.write("note.txt", text)
            self.git("add", ".")
            self.git("commit", "-q", "-m", text)

    def write(self, name: str, text: str, folder: Path | None = None) -> None:
        ((folder or self.folder) / name).write_text(text)

    def git(self, *words: str, folder: Path | None = None, code: int = 0) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    def hook(self, name: str, text: str = HOOK) -> None:
        file = self.folder / ".git" / "hooks" / name
        file.write_text(text)
        file.chmod(0o755)

    def compare(self, **more: str) -> Ran:
        """Compare two commits without a selected cell: both are checked out and listed."""
        return self.evenbench("compare", "HEAD~1", "HEAD", "bench_tiny.py", "-k", "nothing", **more)

    def evenbench(self, *words: str, **more: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "evenbench", *words],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=200,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_pre_commit_hook_leaves_the_commit_as_it_is(project: Project, tmp_path: Path) -> None:
    project.hook("pre-commit")
    linked = tmp_path / "linked"
    project.git("worktree", "add", "-q", str(linked), "-b", "feature")
    project.write("note.txt", "three", linked)
    project.write("added.txt", "new", linked)
    project.git("add", ".", folder=linked)
    project.git("commit", "-q", "-m", "three", folder=linked)
    shown = project.git("show", "--name-only", "--format=", "HEAD", folder=linked)
    assert shown.split() == ["added.txt", "note.txt"]
    assert project.git("status", "--short", folder=linked) == ""
    project.write("note.txt", "four")
    project.git("commit", "-q", "-a", "-m", "four")
    project.write("note.txt", "five")
    project.git("add", "note.txt")
    project.git("commit", "-q", "-m", "five")
    assert [project.git("show", f"HEAD{back}:note.txt") for back in ("~1", "")] == ["four", "five"]
    assert project.git("status", "--short") == ""
    assert len(project.git("worktree", "list").splitlines()) == 2, "a worktree of a side stayed"
    log = project.log.read_text()
    assert log.splitlines().count("exit 5") == 3, log


def test_a_post_checkout_hook_does_not_call_itself(project: Project) -> None:
    project.hook("post-checkout")
    project.git("checkout", "-q", "-b", "feature")
    assert project.log.read_text().splitlines().count("exit 5") == 1, project.log.read_text()
    assert project.git("status", "--short") == ""
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_a_hook_that_fails_is_no_obstacle(project: Project) -> None:
    project.hook("post-checkout", "#!/bin/sh\necho run make setup first >&2\nexit 1\n")
    assert project.compare().code == 5


def test_a_filter_that_is_not_installed_is_named_by_git(project: Project) -> None:
    project.write(".gitattributes", "*.bin filter=large -text\n")
    project.write("w.bin", "w")
    project.git("add", ".")
    project.git("commit", "-q", "-m", "large")
    project.git("config", "filter.large.smudge", "no-such-filter-here")
    project.git("config", "filter.large.required", "true")
    ran = project.compare()
    assert ran.code == 4
    assert "git says: " in ran.text
    assert "smudge filter large failed" in ran.text


def test_a_repository_of_another_user_is_refused_in_words_of_git(project: Project) -> None:
    ran = project.compare(GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert ran.code == 4
    assert f"git config --global --add safe.directory {project.folder}" in ran.text


def test_without_git(project: Project, tmp_path: Path) -> None:
    ran = project.compare(PATH=str(tmp_path))
    assert ran.code == 4
    assert "git is not installed" in ran.text


def test_a_commit_message_that_is_no_utf8_is_shown_with_replaced_letters(project: Project) -> None:
    tree, parent = project.git("rev-parse", "HEAD^{tree}"), project.git("rev-parse", "HEAD")
    person = "T <t@e.org> 1700000000 +0000"
    raw = f"tree {tree}\nparent {parent}\nauthor {person}\ncommitter {person}\n\nGr\xf6\xdfe\n"
    file = project.folder.parent / "commit"
    file.write_bytes(raw.encode("latin-1"))
    sha = project.git("hash-object", "-t", "commit", "-w", str(file))
    project.git("reset", "-q", "--hard", sha)
    words = ("bisect", "HEAD~1", "HEAD", "bench_tiny.py", "--metric", "artifact")
    ran = project.evenbench(*words)
    assert ran.code != 3, ran.text
    assert "Traceback" not in ran.text
    assert "Gr\ufffd\ufffde" in ran.text


def test_the_change_that_adds_the_first_benchmarks_has_nothing_to_compare(
    project: Project,
) -> None:
    project.git("rm", "-q", "bench_tiny.py")
    project.git("commit", "-q", "-m", "none")
    project.write("bench_tiny.py", BENCH)
    project.git("add", ".")
    project.git("commit", "-q", "-m", "first")
    reports = ("--junit", "out/junit.xml", "--summary", "out/summary.md")
    ran = project.evenbench("compare", "HEAD~1", "HEAD", "bench_tiny.py", *reports)
    assert ran.code == 5, ran.text
    assert "has no benchmarks; only in HEAD" in ran.text
    assert "tiny-tiny-fp32-cpu-b1" in ran.text
    summary = (project.folder / "out" / "summary.md").read_text()
    assert "**Nothing to compare.**" in summary
    assert "| cell |" not in summary
    assert "testsuite" in (project.folder / "out" / "junit.xml").read_text()
    misuse = project.evenbench("compare", "HEAD~1", "HEAD", "bench_absent.py")
    assert misuse.code == 4, misuse.text


@pytest.mark.parametrize("flag", ["--junit", "--sarif", "--summary"])
def test_a_report_that_cannot_be_written_is_refused_before_the_session(
    project: Project, flag: str
) -> None:
    ran = project.evenbench("compare", "HEAD~1", "HEAD", "bench_tiny.py", flag, "/proc/nowhere/x")
    assert ran.code == 4
    assert f"{flag} /proc/nowhere/x cannot be written" in ran.text
    assert not (project.folder / "results").exists()


def test_a_results_folder_that_cannot_be_written_is_refused_before_the_session(
    project: Project,
) -> None:
    ran = project.evenbench("compare", "HEAD~1", "HEAD", "bench_tiny.py", "--results", "/proc")
    assert ran.code == 4
    assert "results folder /proc cannot be written" in ran.text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_log_in_another_encoding_loses_letters_and_no_exit_code(
    project: Project, encoding: str
) -> None:
    words = ("run", "bench_tiny.py", "--plan", "quick")
    ran = project.evenbench(*words, PYTHONIOENCODING=encoding)
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    assert "tiny-tiny-fp32-cpu-b1" in ran.text


def test_forced_colours_in_a_log_are_colours_alone(project: Project) -> None:
    words = ("run", "bench_tiny.py", "--plan", "quick")
    ran = project.evenbench(*words, FORCE_COLOR="1")
    assert ran.code == 0, ran.text
    assert "\x1b[32mok" in ran.text
    assert not [code for code in ("\x1b[?25", "\x1b[2K", "\x1b[1A") if code in ran.text]
    lines = ran.text.splitlines()
    assert [line for line in lines if "tiny-tiny-fp32-cpu-b1" in line], "an id is folded"
    assert [line for line in lines if " tiny " in line and "µs" in line], "a row is folded"


def test_files_outside_the_commit_are_named(project: Project, tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    project.git("init", "-q", folder=module)
    project.write("net.py", "", module)
    project.git("add", ".", folder=module)
    project.git("commit", "-q", "-m", "net", folder=module)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(module), "nets")
    project.git(*add)
    project.write("weights.json", "{}")
    project.write(".gitignore", "weights.json\n")
    project.write("bench_tiny.py", f"{BENCH}open('weights.json')\n")
    project.git("add", ".")
    project.git("commit", "-q", "-m", "three")
    project.git("commit", "-q", "--allow-empty", "-m", "four")
    ran = project.compare()
    assert ran.code == 4
    assert "weights.json exists in the working folder only, not in the commit" in ran.text
    assert "submodule nets is empty" in ran.text


def test_the_next_comparison_removes_the_worktree_of_a_killed_one(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "tmp" / "evenbench-side-x.held"
    project.git("worktree", "add", "-q", "--detach", str(elsewhere / "abc"))
    project.git("worktree", "add", "-q", "--detach", str(tmp_path / "mine"))
    os.utime(elsewhere, (0, 0))
    assert project.compare().code == 5
    listed = project.git("worktree", "list")
    assert str(tmp_path / "mine") in listed
    assert len(listed.splitlines()) == 2
    assert not elsewhere.exists()
