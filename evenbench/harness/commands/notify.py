"""`evenbench notify NAME`: a GitHub issue while a check alarms, or a comment, through `gh`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError

EPILOG = """\
Examples:
  evenbench history results > alarms.txt || code=$?
  evenbench notify history --exit "${code:-0}" --body alarms.txt
  evenbench notify compare --comment-on 12 --body compare.md
An alarm opens or updates the issue; exit code 0 closes it; other codes
change nothing. GitHub's `gh` must be logged in (GH_TOKEN in a workflow).
Docs: docs/how-to/ci-github.md
"""

EXIT_CODES = {exit_codes.PASS: "the issue, or the comment, is up to date"}

SILENT = exit_codes.PASS
"""The exit code of a check without alarms."""

BODY_CHARACTERS = 60_000
"""Below GitHub's limit of 65,536 characters for an issue's body."""

LISTED = 1000
"""Most open issues searched for the marker."""

COMMENTS = "repos/{owner}/{repo}/issues"
"""GitHub's place of comments, on pull requests too; `gh api` fills in the working folder's
repository.
"""

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")

Action = Literal["open", "update", "close", "nothing"]


@dataclass(frozen=True)
class NotifyOptions:
    """The options of `evenbench notify`."""

    name: str
    code: int | None = None
    comment_on: int | None = None
    alarm_on: tuple[int, ...] = ()
    title: str = ""
    body: str = ""
    json: bool = False


@dataclass(frozen=True)
class Step:
    """An action on an issue; number 0 is a new issue."""

    action: Action
    issue: int = 0


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("name", metavar="NAME", help="name of the check, such as history")
    command.add_argument(
        "--exit", type=int, metavar="CODE", dest="code", help="exit code of the check [required]"
    )
    command.add_argument(
        "--comment-on",
        type=int,
        metavar="NUMBER",
        help="comment on this pull request instead [default: issue]",
    )
    command.add_argument(
        "--alarm-on",
        type=int,
        action="append",
        metavar="CODE",
        help="exit code of an alarm; repeatable [default: 1]",
    )
    command.add_argument(
        "--title", metavar="TEXT", help="title of the issue [default: evenbench: NAME alarms]"
    )
    command.add_argument(
        "--body", metavar="FILE", help="output of the check, text or .md [default: none]"
    )
    arguments.add_json_flag(command)


def run(options: NotifyOptions) -> int:
    """Update the issue or the comment. Raises UsageError for a failure of `gh`."""
    name, alarm_on = options.name, options.alarm_on or (exit_codes.WORSE,)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"notify {name!r}: a name is small letters, digits and hyphens, such as history"
        )
    if SILENT in alarm_on:
        raise UsageError(
            f"--alarm-on {SILENT}: {SILENT} is the exit code of a check without alarms; "
            "name another code"
        )
    text = body(name, _read(options.body), fenced=not options.body.endswith(".md"))
    if options.comment_on is not None:
        action = comment(name, options.comment_on, text)
        line = f"{action} the comment on {options.comment_on}"
        print(json.dumps({"name": name, "comment": action}) if options.json else line)
        return exit_codes.PASS
    if options.code is None:
        raise UsageError(
            f"notify {name}: give --exit CODE, the exit code of the check, or --comment-on NUMBER"
        )
    steps = decide(options.code, alarm_on, _open_issues(name))
    for step in steps:
        title = options.title or f"evenbench: {name} alarms"
        _act(step, title, text, options.code in alarm_on)
    value = [{"action": step.action, "issue": step.issue or None} for step in steps]
    print(
        json.dumps({"name": name, "exit": options.code, "steps": value})
        if options.json
        else "\n".join(map(step_text, steps))
    )
    return exit_codes.PASS


def marker(name: str) -> str:
    """Return the hidden first line of the issue's body."""
    return f"<!-- evenbench notify: {name} -->"


def decide(code: int, alarm_on: Sequence[int], numbers: Sequence[int]) -> list[Step]:
    """Return the steps for a check's exit code and the open, marked issues.

    The oldest issue counts; the others, opened by simultaneous jobs, are closed.
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
    """Return the issue's body: the marker and the check's output, cut below GitHub's limit.

    `fenced` is for text without Markdown.
    """
    output = text.strip() or "The check said nothing more; see the log of its workflow."
    if len(output) > BODY_CHARACTERS:
        kept = output[:BODY_CHARACTERS].rpartition("\n")[0]
        output = f"{kept}\n\n… and more, in the log of the workflow."
    if fenced and text.strip():
        return f"{marker(name)}\n````text\n{output}\n````\n"
    return f"{marker(name)}\n{output}\n"


def comment(name: str, number: int, text: str) -> str:
    """Update this check's comment on a pull request, or write the first; return the action.

    The marker identifies the comment: the account's last may be another job's.
    """
    listed = _gh("api", f"{COMMENTS}/{number}/comments", "--paginate", "--jq", ".[] | {id, body}")
    try:
        comments = [json.loads(line) for line in listed.splitlines() if line.strip()]
        own = [int(entry["id"]) for entry in comments if _is_marked(entry, name)]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"gh api answered {listed[:80]!r}, expected a comment in JSON per line; "
            "is `gh` recent enough?"
        ) from error
    place = f"{COMMENTS}/comments/{min(own)}" if own else f"{COMMENTS}/{number}/comments"
    _gh("api", place, "--method", "PATCH" if own else "POST", "--field", "body=@-", text=text)
    return "updated" if own else "wrote"


def _is_marked(entry: dict[str, Any], name: str) -> bool:
    return str(entry["body"] or "").lstrip().startswith(marker(name))


def step_text(step: Step) -> str:
    """Return `update issue 7`."""
    return (
        f"{step.action} issue {step.issue}"
        if step.issue
        else {"open": "opened an issue"}.get(step.action, "nothing to do")
    )


def _read(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"--body {file}: {error.strerror}; give the check's output, or leave the flag out"
        ) from error


def _open_issues(name: str) -> list[int]:
    """Return the numbers of open issues with the check's marker."""
    listed = _gh(
        "issue", "list", "--state", "open", "--limit", str(LISTED), "--json", "number,body"
    )
    try:
        issues: list[dict[str, Any]] = json.loads(listed)
        return [int(issue["number"]) for issue in issues if _is_marked(issue, name)]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"gh issue list answered {listed[:80]!r}, expected a JSON list of issues; "
            "is `gh` recent enough?"
        ) from error


def _act(step: Step, title: str, text: str, alarming: bool) -> None:
    number = str(step.issue)
    if step.action == "open":
        _gh("issue", "create", "--title", title, "--body-file", "-", text=text)
    elif step.action == "update":
        _gh("issue", "edit", number, "--title", title, "--body-file", "-", text=text)
    elif step.action == "close":
        reason = (
            "Another issue for the same alarm is open."
            if alarming
            else "The check is silent again."
        )
        _gh("issue", "close", number, "--comment", reason)


def _gh(*arguments: str, text: str = "") -> str:
    command = f"gh {' '.join(arguments[:2])}"
    try:
        ended = subprocess.run(
            ["gh", *arguments], input=text, capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        raise UsageError(
            "`gh` is not installed, or not on PATH: see https://cli.github.com; it keeps the issue"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{command} did not end within 120 s; run the command again") from None
    if ended.returncode:
        raise UsageError(
            f"{command} failed ({ended.stderr.strip()[-500:]}); "
            "`gh auth status` says whether it may write issues here"
        )
    return ended.stdout
