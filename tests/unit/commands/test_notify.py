"""One issue for as long as a check alarms: opened once, updated, closed when the check is silent.
`gh` is a script that keeps issues.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import cli
from evenbench.harness.commands import notify as notices
from evenbench.harness.commands.notify import Step
from evenbench.harness.core import exit_codes

GH = '''#!{python}
"""Keeps issues in a JSON file beside it, and takes those flags only that the real one has."""
import argparse, json, pathlib, sys
if sys.argv[1] == "api":
    api = argparse.ArgumentParser(allow_abbrev=False)
    api.add_argument("place")
    api.add_argument("--paginate", action="store_true")
    for name in ("jq", "method", "field"):
        api.add_argument("--" + name)
    asked, file = api.parse_args(sys.argv[2:]), pathlib.Path(__file__).with_name("comments.json")
    kept = json.loads(file.read_text()) if file.exists() else []
    place = asked.place.removeprefix("repos/{{owner}}/{{repo}}/issues/")
    if asked.method is None:
        here = [each for each in kept if place == each["on"] + "/comments"]
        for each in here:
            print(json.dumps({{"id": each["id"], "body": each["body"]}}))
    elif asked.method == "POST":
        on = place.removesuffix("/comments")
        kept.append({{"id": 100 + len(kept), "on": on, "body": sys.stdin.read()}})
    else:
        (each,) = [each for each in kept if place == "comments/" + str(each["id"])]
        each["body"] = sys.stdin.read()
    assert asked.method is None or asked.field == "body=@-"
    file.write_text(json.dumps(kept))
    sys.exit()
state = pathlib.Path(__file__).with_name("issues.json")
issues = json.loads(state.read_text())
top = argparse.ArgumentParser(allow_abbrev=False)
things = top.add_subparsers(dest="thing", required=True)
verbs = things.add_parser("issue").add_subparsers(dest="verb", required=True)
flags = {{
    "list": ("state", "limit", "json"),
    "create": ("title", "body-file"),
    "edit": ("title", "body-file"),
    "close": ("comment",),
}}
for verb, names in flags.items():
    made = verbs.add_parser(verb)
    if verb in ("edit", "close"):
        made.add_argument("number", type=int)
    for name in names:
        made.add_argument("--" + name, required=True)
asked = top.parse_args()
if asked.verb == "list":
    found = [issue for issue in issues if issue["state"] == asked.state][: int(asked.limit)]
    print(json.dumps([{{key: issue[key] for key in asked.json.split(",")}} for issue in found]))
elif asked.verb == "create":
    issue = {{"number": len(issues) + 1, "state": "open", "title": asked.title, "comments": []}}
    issues.append({{**issue, "body": sys.stdin.read()}})
else:
    issue = issues[asked.number - 1]
    if asked.verb == "edit":
        issue.update(title=asked.title, body=sys.stdin.read())
    else:
        issue.update(state="closed", comments=[*issue["comments"], asked.comment])
state.write_text(json.dumps(issues))
'''


class Hub:
    """The issues that the `gh` on PATH keeps."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "issues.json"
        self.write([])
        script = folder / "gh"
        script.write_text(GH.format(python=sys.executable))
        script.chmod(0o755)

    def write(self, issues: list[dict[str, Any]]) -> None:
        self.file.write_text(json.dumps(issues))

    def issues(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.file.read_text())
        return found

    def open(self) -> list[dict[str, Any]]:
        return [issue for issue in self.issues() if issue["state"] == "open"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return Hub(folder)


def issue(number: int, text: str) -> dict[str, Any]:
    return {"number": number, "state": "open", "title": "t", "body": text, "comments": []}


def notify(*words: str) -> int:
    return cli.main(["notify", *words])


def test_one_issue_is_opened_updated_and_closed(hub: Hub) -> None:
    hub.write(
        [
            issue(1, "something that a person wrote"),
            issue(2, "quotes <!-- evenbench notify: history --> in the middle"),
        ]
    )
    Path("alarms.md").write_text("resnet18 is slower\n")
    assert notify("history", "--exit", "1", "--body", "alarms.md", "--title", "Slower") == 0
    made = hub.open()[2]
    assert made["title"] == "Slower"
    assert made["body"] == "<!-- evenbench notify: history -->\nresnet18 is slower\n"
    Path("alarms.md").write_text("and larger\n")
    assert notify("history", "--exit", "1", "--body", "alarms.md") == 0
    assert [each["number"] for each in hub.open()] == [1, 2, 3]
    assert "and larger" in hub.open()[2]["body"]
    assert notify("history", "--exit", "0") == 0
    assert [each["number"] for each in hub.open()] == [1, 2]
    assert hub.issues()[2]["comments"] == ["The check is silent again."]
    assert notify("history", "--exit", "0") == 0
    assert len(hub.issues()) == 3


def test_one_comment_on_a_pull_request_is_written_and_then_replaced(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gh pr comment --edit-last` would replace what another job of the same account wrote last."""
    file = hub.file.with_name("comments.json")
    Path("compare.md").write_text("| a | slower |\n")
    assert notify("compare", "--comment-on", "12", "--body", "compare.md") == 0
    kept = json.loads(file.read_text())
    assert kept == [
        {"id": 100, "on": "12", "body": "<!-- evenbench notify: compare -->\n| a | slower |\n"}
    ]
    file.write_text(
        json.dumps([*kept, {"id": 101, "on": "12", "body": "coverage, by the same account"}])
    )
    Path("compare.md").write_text("nothing is worse\n")
    assert notify("compare", "--comment-on", "12", "--body", "compare.md") == 0
    assert [each["body"].splitlines()[-1] for each in json.loads(file.read_text())] == [
        "nothing is worse",
        "coverage, by the same account",
    ]
    assert notify("compare", "--comment-on", "13", "--body", "compare.md") == 0
    assert [each["on"] for each in json.loads(file.read_text())] == ["12", "12", "13"]
    assert capsys.readouterr().out.splitlines() == [
        "wrote the comment on 12",
        "updated the comment on 12",
        "wrote the comment on 13",
    ]
    assert hub.issues() == []


def test_each_check_has_an_issue_of_its_own(hub: Hub) -> None:
    for name in ("aa", "history"):
        assert notify(name, "--exit", "1") == 0
    assert notify("aa", "--exit", "0") == 0
    (left,) = hub.open()
    assert left["body"].startswith(notices.marker("history"))


@pytest.mark.parametrize("code", ["5", "6", "7"])
def test_a_check_that_knows_nothing_changes_nothing(
    hub: Hub, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notify("history", "--exit", "1") == 0
    before = hub.issues()
    capsys.readouterr()
    assert notify("history", "--exit", code, "--json") == 0
    assert hub.issues() == before
    assert json.loads(capsys.readouterr().out)["steps"] == [{"action": "nothing", "issue": 1}]


@pytest.mark.parametrize(
    ("code", "open_", "steps"),
    [
        (1, [], [Step("open")]),
        (1, [4], [Step("update", 4)]),
        (1, [9, 4], [Step("update", 4), Step("close", 9)]),
        (2, [4], [Step("update", 4)]),
        (0, [9, 4], [Step("close", 4), Step("close", 9)]),
        (0, [], [Step("nothing")]),
        (7, [], [Step("nothing")]),
    ],
)
def test_what_is_done_follows_from_the_code_and_what_is_open(
    code: int, open_: list[int], steps: list[Step]
) -> None:
    assert notices.decide(code, [1, 2], open_) == steps


def test_a_second_issue_for_one_alarm_is_closed(hub: Hub) -> None:
    hub.write([issue(number, notices.body("aa", "x")) for number in (1, 2)])
    assert notify("aa", "--exit", "2", "--alarm-on", "2") == 0
    assert [each["number"] for each in hub.open()] == [1]
    assert hub.issues()[1]["comments"] == ["Another issue for the same alarm is open."]


def test_a_body_is_cut_where_github_would_refuse_it() -> None:
    made = notices.body("aa", "line\n" * 50_000)
    assert len(made) < 65_536
    assert made.startswith(notices.marker("aa"))
    assert "and more" in made[-60:]
    assert (
        notices.body("aa", "a | b", fenced=True)
        == f"{notices.marker('aa')}\n````text\na | b\n````\n"
    )
    assert "````" not in notices.body("aa", "", fenced=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("His tory", "--exit", "1"), "small letters"),
        (("history", "--exit", "1", "--body", "gone.md"), "--body gone.md: No such file"),
        (("history", "--exit", "0", "--alarm-on", "0"), "--alarm-on 0"),
        (("history",), "give --exit CODE"),
    ],
)
def test_what_cannot_be_told_is_refused(
    hub: Hub, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notify(*words) == exit_codes.USAGE
    assert message in capsys.readouterr().err
    assert hub.issues() == []


def test_gh_that_is_absent_or_refuses_is_told(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = hub.file.with_name("gh")
    script.write_text("#!/bin/sh\necho 'HTTP 401: Bad credentials' >&2\nexit 1\n")
    assert notify("history", "--exit", "1") == exit_codes.USAGE
    assert "gh issue list failed (HTTP 401: Bad credentials)" in capsys.readouterr().err
    script.write_text("#!/bin/sh\necho 'no JSON'\n")
    assert notify("history", "--exit", "1") == exit_codes.USAGE
    assert "expected a JSON list of issues" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert notify("history", "--exit", "1") == exit_codes.USAGE
    assert "`gh` is not installed" in capsys.readouterr().err
