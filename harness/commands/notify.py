"""`evenbench notify NAME`: exactly one issue on GitHub for as long as a check alarms, or one
comment on a pull request, kept by `gh`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError

EPILOG = """\
  evenbench history results > alarms.txt || code=$?
  evenbench notify history --exit "${code:-0}" --body alarms.txt
  evenbench notify compare --comment-on 12 --body compare.md

An alarm opens an issue, or updates the one that is open; silence closes it with a comment. Any other exit code decides nothing and
leaves it as it is. With --comment-on, one comment on that pull request says what --body holds. Issue and comment are found again by a
hidden first line. It takes GitHub's `gh`, logged in (GH_TOKEN in a workflow).

exit codes:
  0  the issue, or the comment, is as it should be
  4  `gh` is not there, or refused
"""

SILENT = 0
"""The exit code of a check that found nothing."""

BODY_CHARACTERS = 60_000
"""Below GitHub's limit of 65,536 characters for an issue's body."""

LISTED = 1000
"""Open issues among which the one is looked for."""

COMMENTS = "repos/{owner}/{repo}/issues"
"""Where GitHub keeps comments, those on pull requests too; `gh api` fills in the repository of the
working folder.
"""

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")

Action = Literal["open", "update", "close", "nothing"]


@dataclass(frozen=True)
class Step:
    """What is done to which issue; 0 is one that is not there yet."""

    action: Action
    issue: int = 0


def marker(name: str) -> str:
    """The hidden first line of the issue's body."""
    return f"<!-- evenbench notify: {name} -->"


def decide(code: int, alarm_on: Sequence[int], numbers: Sequence[int]) -> list[Step]:
    """What is to be done, given a check's exit code and the open issues that carry its marker.

    The oldest issue is the one that counts; others, which two jobs at once may have opened, are
    closed.
    """
    first, others = min(numbers, default=0), sorted(numbers)[1:]
    if code in alarm_on:
        return [
            Step("update", first) if first else Step("open"),
            *(Step("close", number) for number in others),
        ]
    if code == SILENT:
        return [Step("close", number) for number in sorted(numbers)] or [Step("nothing")]
    return [Step("nothing", first)]


def body(name: str, text: str, fenced: bool = False) -> str:
    """The issue's body: the marker, then what the check said, cut where GitHub would refuse it;
    `fenced` where it is no Markdown.
    """
    said = text.strip() or "The check said nothing more; see the log of its workflow."
    if len(said) > BODY_CHARACTERS:
        said = f"{said[:BODY_CHARACTERS].rpartition(chr(10))[0]}\n\n… and more, in the log of the workflow."
    return (
        f"{marker(name)}\n````text\n{said}\n````\n"
        if fenced and text.strip()
        else f"{marker(name)}\n{said}\n"
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "name", metavar="NAME", help="of the check, such as history: one issue for each"
    )
    command.add_argument(
        "--exit", type=int, metavar="CODE", dest="code", help="with which the check ended"
    )
    command.add_argument(
        "--comment-on",
        type=int,
        metavar="NUMBER",
        help="one comment on this pull request instead of an issue",
    )
    command.add_argument(
        "--alarm-on",
        type=int,
        action="append",
        metavar="CODE",
        help="exit code that is an alarm; repeatable (1)",
    )
    command.add_argument("--title", default="", help="of the issue (evenbench: NAME alarms)")
    command.add_argument(
        "--body", metavar="FILE", help="what the check said: Markdown if it ends in .md, or text"
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Raises UsageError where `gh` cannot do what is asked."""
    name, alarm_on = options.name, options.alarm_on or [1]
    if not NAME.fullmatch(name):
        raise UsageError(
            f"notify {name!r}: a name is small letters, digits and hyphens, such as history"
        )
    if SILENT in alarm_on:
        raise UsageError(
            f"--alarm-on {SILENT}: {SILENT} is what a check that found nothing ends with; name another code"
        )
    said = (
        body(name, _read(options.body), not options.body.endswith(".md"))
        if options.body
        else body(name, "")
    )
    if options.comment_on is not None:
        done = comment(name, options.comment_on, said)
        print(
            json.dumps({"name": name, "comment": done})
            if options.json
            else f"{done} the comment on {options.comment_on}"
        )
        return 0
    if options.code is None:
        raise UsageError(
            f"notify {name}: give --exit CODE, with which the check ended, or --comment-on NUMBER"
        )
    steps = decide(options.code, alarm_on, _open(name))
    alarming = options.code in alarm_on
    for step in steps:
        _do(step, options.title or f"evenbench: {name} alarms", said, alarming)
    told = [{"action": step.action, "issue": step.issue or None} for step in steps]
    print(
        json.dumps({"name": name, "exit": options.code, "steps": told})
        if options.json
        else "\n".join(map(words, steps))
    )
    return 0


def comment(name: str, number: int, said: str) -> str:
    """Replace this check's comment on a pull request, or write it where there is none; `updated` or
    `wrote`.

    It is found by its first line: the last comment of the same account may be that of another job.
    """
    listed = _gh("api", f"{COMMENTS}/{number}/comments", "--paginate", "--jq", ".[] | {id, body}")
    try:
        known = [json.loads(line) for line in listed.splitlines() if line.strip()]
        own = [
            int(each["id"])
            for each in known
            if str(each["body"] or "").lstrip().startswith(marker(name))
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"gh api answered {listed[:80]!r}, expected a comment in JSON per line; is `gh` recent enough?"
        ) from error
    place = f"{COMMENTS}/comments/{min(own)}" if own else f"{COMMENTS}/{number}/comments"
    _gh("api", place, "--method", "PATCH" if own else "POST", "--field", "body=@-", said=said)
    return "updated" if own else "wrote"


def words(step: Step) -> str:
    """`update issue 7`."""
    return (
        f"{step.action} issue {step.issue}"
        if step.issue
        else {"open": "opened an issue"}.get(step.action, "nothing to do")
    )


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"--body {file}: {error.strerror}; give the file that the check wrote, or leave it out"
        ) from error


def _open(name: str) -> list[int]:
    """The numbers of the open issues that begin with the check's marker."""
    listed = _gh(
        "issue", "list", "--state", "open", "--limit", str(LISTED), "--json", "number,body"
    )
    try:
        found: list[dict[str, Any]] = json.loads(listed)
        return [
            int(issue["number"])
            for issue in found
            if str(issue["body"] or "").lstrip().startswith(marker(name))
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"gh issue list answered {listed[:80]!r}, expected a JSON list of issues; is `gh` recent enough?"
        ) from error


def _do(step: Step, title: str, said: str, alarming: bool) -> None:
    number = str(step.issue)
    if step.action == "open":
        _gh("issue", "create", "--title", title, "--body-file", "-", said=said)
    elif step.action == "update":
        _gh("issue", "edit", number, "--title", title, "--body-file", "-", said=said)
    elif step.action == "close":
        why = (
            "Another issue for the same alarm is open."
            if alarming
            else "The check is silent again."
        )
        _gh("issue", "close", number, "--comment", why)


def _gh(*arguments: str, said: str = "") -> str:
    try:
        done = subprocess.run(
            ["gh", *arguments], input=said, capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        raise UsageError(
            "`gh` is not installed, or not on PATH: see https://cli.github.com; it keeps the issue"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"gh {' '.join(arguments[:2])} did not end within 120 s; run the command again"
        ) from None
    if done.returncode:
        tail = done.stderr.strip()[-500:]
        raise UsageError(
            f"gh {' '.join(arguments[:2])} failed ({tail}); `gh auth status` says whether it may write issues here"
        )
    return done.stdout
