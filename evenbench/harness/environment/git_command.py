"""Git as a child process, independent of the repository whose hook runs this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
"""`git rev-parse --local-env-vars` without `PASSED_ON`: the variables that bind git to a
repository. Git sets them for hooks, and with them a checkout elsewhere overwrites the index of the
commit in progress.
"""

PASSED_ON = ("GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT")
"""Configuration from the command line or a CI job, such as safe.directory. Git itself passes these
on to other repositories (submodules).
"""

OPTIONS = ("--no-optional-locks", "-c", f"core.hooksPath={os.devnull}")
"""Hooks of the user do not run: a post-checkout hook with `evenbench compare` would call itself,
and other hooks belong to the working folder. Reading commands leave the user's index alone.
"""

NO_GIT = "git is not installed, or not on PATH"

DUBIOUS = "dubious ownership"


@dataclass(frozen=True)
class GitOutput:
    """The end of a git command: the stripped output, None after a failure, and git's messages.

    Bytes of the output that are no UTF-8 are kept as surrogates, as in names of files.
    """

    text: str | None
    messages: str = ""

    @property
    def reason(self) -> str:
        """Git's messages on a single line, without hints on indented lines of their own."""
        lines = [line.strip() for line in self.messages.splitlines() if line.strip()]
        return " ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in lines)


def without_repository(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables without those that bind git to a repository."""
    return {name: value for name, value in variables.items() if name not in LOCAL_VARIABLES}


def run(*words: str, timeout: float | None = None) -> GitOutput:
    """Run git in the working folder. A missing git and a timeout count as failures."""
    try:
        done = subprocess.run(
            ["git", *OPTIONS, *words],
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**without_repository(os.environ), "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return GitOutput(None, NO_GIT)
    except (OSError, subprocess.SubprocessError) as error:
        return GitOutput(None, str(error))
    messages = done.stderr.decode(errors="replace").strip()
    text = done.stdout.decode(errors="surrogateescape").strip()
    return GitOutput(text if done.returncode == 0 else None, messages)


def submodules(top: Path) -> list[str]:
    """The paths of the submodules declared in the repository at `top`, relative to `top`."""
    listed = run("-C", str(top), "config", "--file", ".gitmodules", "--get-regexp", r"\.path$")
    return [line.partition(" ")[2] for line in (listed.text or "").splitlines()]


def why_no_repository() -> str:
    """The reason why git has no repository here, with a remedy; empty in a repository."""
    answer = run("rev-parse", "--git-dir")
    if answer.text is not None:
        return ""
    if answer.messages == NO_GIT:
        return NO_GIT
    if "not a git repository" in answer.messages:
        return "this folder is in no git repository"
    if DUBIOUS in answer.messages:
        return (
            "the repository belongs to another user and git refuses to read it; git says: "
            f"{answer.reason}"
        )
    return f"git refuses: {answer.reason}"


def why_unread() -> str:
    """The reason why git cannot read the repository around the working folder; otherwise empty."""
    here = Path.cwd()
    around = any((folder / ".git").exists() for folder in (here, *here.parents))
    return why_no_repository() if around else ""
