"""`evenbench history` on made-up years: the table, the file of accepted changes, the page in a
browser, and ten thousand results.
"""

import importlib.util
import json
import random
import resource
import sys
import time
from pathlib import Path

import pytest
import synthetic

from evenbench.harness import cli
from evenbench.reports import history_results
from evenbench.reports.charts import history as charts
from evenbench.reports.pages import history
from evenbench.reports.pages import index as site
from tests.performance import yardstick
from tests.reports import browser

_spec = importlib.util.spec_from_file_location("past", Path(__file__).with_name("past.py"))
past = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(past)

pytest.importorskip("asv.step_detect")

CELLS = [("resnet18", "ort"), ("resnet18", "openvino"), ("<b>x</b>", "null")]


def slower(model, backend, number):
    """ONNX Runtime becomes 8 % slower at commit 20, and 9 % faster again at commit 50."""
    return 1.08 if backend == "ort" and 20 <= number < 50 else 1.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return past.write(tmp_path / "results", 30, CELLS, slower)


def told(capsys, *arguments):
    """The exit code and the JSON of the command."""
    capsys.readouterr()
    code = cli.main(["history", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_the_step_is_told_with_its_commit_and_the_command_that_accepts_it(folder, capsys):
    code, value = told(capsys)
    (alarm,) = value["alarms"]
    assert code == 1
    assert (alarm["cell"], alarm["metric"], alarm["kind"]) == (
        "resnet18-ort-fp32-cpu-b1",
        "latency",
        "worse",
    )
    assert (alarm["commit_before"], alarm["commit"], alarm["points"]) == (
        past.commit(19),
        past.commit(20),
        10,
    )
    assert alarm["ratio"] == pytest.approx(1.08, abs=0.01)
    assert cli.main(["history"]) == 1
    shown = capsys.readouterr().out
    assert f"accept it: {alarm['accept']}" in shown
    assert (
        f"confirm it: evenbench compare {past.commit(19)[:12]} {past.commit(20)[:12]} "
        f"--cell {alarm['cell']}" in shown
    )


def test_accepting_needs_a_reason_ends_the_alarm_and_is_the_new_measure(folder, capsys):
    accept = ["history", "--accept", "resnet18-ort-fp32-cpu-b1", "latency"]
    assert cli.main(accept) == 4
    assert "--reason" in capsys.readouterr().err
    assert cli.main([*accept, "--reason", "denormals are preserved"]) == 0
    assert "denormals are preserved" in Path("evenbench-expectations.toml").read_text()
    code, value = told(capsys)
    assert (code, value["alarms"], len(value["accepted"])) == (0, [], 1)
    assert cli.main([*accept, "--reason", "again"]) == 4
    assert "no step that waits" in capsys.readouterr().err
    past.write(folder, 10, CELLS, slower, first=50)
    code, value = told(capsys)
    assert [alarm["kind"] for alarm in value["alarms"]] == ["better"]
    assert code == 1, "an improvement is accepted explicitly as well"


def test_an_upgrade_splits_the_series_and_is_no_alarm(folder, capsys):
    rng = random.Random(1)
    for number in range(30, 40):
        lines = [
            past.upgraded(line, "onnxruntime", "1.32.0")
            for line in past.records(number, CELLS[:1], lambda *_: 1.5, rng)
        ]
        (folder / f"run-{number:04d}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines)
        )
    _, value = told(capsys, "-k", "ort")
    (cell,) = value["cells"]
    assert [each["changes"] for each in cell["environments"]] == [
        [],
        ["onnxruntime 1.31.1 → 1.32.0"],
    ]
    assert all(alarm["ratio"] < 1.2 for alarm in value["alarms"])
    assert [each["bridges"] for each in cell["environments"]] == [[], []]

    screen = {"ratio": 1.48, "low": 1.45, "high": 1.52}
    latency = {"verdict": "slower", "screen": screen, "confirmation": None}
    measured = {"cell": cell["cell"], "control": False, "metrics": {"latency": latency}}
    bridge = {"from": {"onnxruntime": "1.31.1"}, "to": {"onnxruntime": "1.32.0"}}
    comparison = {
        "compare": 1,
        "time": "2024-02-01T00:00:00Z",
        "base": "ort@1.31.1",
        "head": "ort@1.32.0",
        "cells": [measured],
    }
    (folder / "compare-2024.json").write_text(json.dumps({**comparison, "bridge": bridge}))
    (folder / "compare-2023.json").write_text(
        json.dumps({**comparison, "bridge": {**bridge, "to": {"onnxruntime": "1.33.0"}}})
    )
    _, value = told(capsys, "-k", "ort")
    (cell,) = value["cells"]
    assert [[row["ratio"] for row in each["bridges"]] for each in cell["environments"]] == [
        [],
        [1.48],
    ]
    drawn = charts.drawing(cell)
    assert drawn["environments"][1]["changes"][1].startswith(
        "in pairs, onnxruntime 1.31.1 → 1.32.0: latency +48.0"
    )
    (latency,) = [each["figure"] for each in drawn["figures"] if each["title"] == "Latency"]
    assert [each["text"] for each in latency["layout"]["annotations"]] == [
        f"onnxruntime 1.31.1 → 1.32.0: {history_results.percent(1.48)}"
    ]


def test_a_step_is_confirmed_in_pairs_and_bisected(folder, capsys, monkeypatch):
    asked = []

    def search(options, notes):
        asked.append(
            (
                options.good,
                options.bad,
                options.selection.cell,
                options.metric,
                options.results,
                options.budget,
            )
        )
        return {"words": ["it was that commit"], "first": {"sha": past.commit(20)}}

    monkeypatch.setattr("evenbench.harness.commands.bisect.search", search)
    code, value = told(capsys, "--confirm", "--budget", "10m")
    (alarm,) = value["alarms"]
    assert code == 1
    assert asked == [
        (
            past.commit(19),
            past.commit(20),
            ("resnet18-ort-fp32-cpu-b1",),
            "latency",
            "results",
            "10m",
        )
    ]
    assert alarm["confirmed"] == {
        "words": ["it was that commit"],
        "first": {"sha": past.commit(20)},
    }
    assert "<small>it was that commit</small>" in Path("site/history.html").read_text()


def test_what_cannot_be_confirmed_says_why_and_stays_an_alarm(folder, capsys):
    code, value = told(capsys, "--confirm")
    assert code == 1
    assert "commit" in value["alarms"][0]["confirmed"]["words"][0]
    assert cli.main(["history", "--confirm"]) == 1
    assert "in pairs: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-k", "nothing"], 5, "leaves nothing"),
        (["absent"], 4, "no such results file"),
        (["-k", "and and"], 4, "does not parse"),
        (["--accept", "unknown", "latency", "--reason", "r"], 4, "no recorded cell"),
        (["--accept", "resnet18-ort-fp32-cpu-b1", "speed", "--reason", "r"], 4, "no such metric"),
    ],
)
def test_what_cannot_be_is_told(folder, capsys, arguments, code, words):
    assert cli.main(["history", *arguments]) == code
    assert words in capsys.readouterr().err


def test_a_broken_file_of_expectations_is_told_and_kept(folder, capsys):
    file = Path("evenbench-expectations.toml")
    file.write_text("[[accepted]]\ncell = 3")
    assert (
        cli.main(["history", "--accept", "resnet18-ort-fp32-cpu-b1", "latency", "--reason", "r"])
        == 4
    )
    assert "entry 1 lacks" in capsys.readouterr().err
    assert file.read_text() == "[[accepted]]\ncell = 3"


def test_torn_and_foreign_lines_are_noted(folder, capsys):
    with (folder / "run-0029.jsonl").open("a") as stream:
        odd = synthetic.record() | {"samples_ns": {"compute": "no"}}
        stream.write(json.dumps(odd) + '\n{"schema": 2, "ce')
    (folder / "compare-x.json").write_text("{}")
    _, value = told(capsys)
    notes = " ".join(value["notes"])
    assert "truncated" in notes
    assert "left out" in notes
    assert "compare-x.json: not a readable comparison" in notes


def test_what_is_accepted_of_no_recorded_cell_is_told(folder, capsys):
    entry = (
        '[[accepted]]\ncell = "resnet81-ort"\nmetric = "latency"\nlevel = 9e6\ncommit '
        '= ""\nreason = "a typing error"\n'
    )
    Path("evenbench-expectations.toml").write_text(entry)
    code, value = told(capsys)
    assert code == 1
    assert (
        "accepted latency of resnet81-ort: no recorded cell has this id or key; "
        "correct the entry, or remove it" in value["notes"]
    )
    assert not any("resnet81" in note for note in told(capsys, "-k", "ort")[1]["notes"]), (
        "of what -k leaves out nothing is said"
    )


def test_a_clock_that_was_wrong_is_told(folder, capsys):
    assert told(capsys)[1]["notes"] == []
    lines = past.records(30, CELLS[:1], slower, random.Random(1))
    early = [line | {"time": "2020-01-01T00:00:00Z"} for line in lines]
    ahead = [
        line | {"time": "2999-01-01T00:00:00Z", "run": line["run"] | {"id": "ahead"}}
        for line in lines
    ]
    (folder / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*early, *ahead)))
    (note,) = told(capsys)[1]["notes"]
    assert note.startswith(
        "ahead, run-0030: dated before the run began or after now: a clock was wrong"
    )


def test_points_stand_in_the_order_of_their_commits_whenever_they_were_measured(
    folder, capsys, monkeypatch
):
    """As asv does, which goes from the newest commit to the oldest."""
    order = {past.commit(number): 30 - number for number in range(30)}
    monkeypatch.setattr("evenbench.harness.comparison.git.positions", lambda: order)
    _, value = told(capsys)
    (alarm,) = value["alarms"]
    assert (alarm["kind"], alarm["commit_before"], alarm["commit"]) == (
        "better",
        past.commit(20),
        past.commit(19),
    )


def test_comparisons_beside_the_results_are_shown(folder, capsys):
    screen = {"ratio": 1.08, "low": 1.06, "high": 1.1}
    metric = {"verdict": "slower", "screen": screen, "confirmation": None}
    cell = {"cell": "resnet18-ort-fp32-cpu-b1", "control": False, "metrics": {"latency": metric}}
    comparison = {
        "compare": 1,
        "time": "2024-02-01T00:00:00Z",
        "base": "a",
        "head": "<i>b</i>",
        "cells": [cell],
    }
    (folder / "compare-2024.json").write_text(json.dumps(comparison))
    _, value = told(capsys)
    assert value["pairs"][0]["ratio"] == 1.08
    page = Path("site/history.html").read_text()
    assert "a → &lt;i&gt;b&lt;/i&gt;" in page


def test_the_page_and_the_report_link_to_each_other(folder, capsys):
    lines = synthetic.suite()
    index = site.write(lines, Path("site"))
    assert history.LINK not in index.read_text()
    cli.main(["history"])
    assert history.LINK in index.read_text()
    assert 'href="index.html"' in Path("site/history.html").read_text()
    assert history.LINK in site.write(lines, Path("site")).read_text(), (
        "a report that is written later has it at once"
    )


def test_the_page_opens_at_the_first_alarm(folder, capsys):
    _, value = told(capsys)
    first = history_results.step(value["alarms"][0], value["cells"])
    page = history.render(value, has_report=False)
    assert first["index"] != 0, "the alphabet begins with another cell"
    assert f'<option value="{first["index"]}" selected>' in page
    assert page.count(" selected>") == 1


def test_losses_stand_apart_from_gains_and_ticks_have_dates(folder, capsys):
    _, value = told(capsys)
    (worse,) = value["alarms"]
    both = {**value, "alarms": [{**worse, "kind": "better", "ratio": 0.9}, worse]}
    page = history.render(both, has_report=False)
    assert "1\N{NO-BREAK SPACE}change for the worse and 1\N{NO-BREAK SPACE}gain to accept" in page
    losses, gains = page.index("<h2>Worse</h2>"), page.index("accept the new level?</h2>")
    assert losses < gains, "a loss comes first, whatever the order of the alarms"
    figure = charts.figure(value["cells"][-1], "latency")
    time, commit, *_ = value["cells"][-1]["points"][0]
    assert figure["layout"]["xaxis"]["ticktext"][0] == f"{commit[:7]}<br>{time[2:10]}"


def test_plotly_takes_the_figures(folder, capsys):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    _, value = told(capsys)
    figure = charts.figure(value["cells"][-1], "latency", value["alarms"])
    for trace in figure["data"]:
        trace.pop("environment")
    graph_objects.Figure(figure)


def test_the_page_works_in_a_browser(folder, chromium, capsys):
    cli.main(["history"])
    page, complaints = chromium.new_page(), []
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "blob:", "data:")) or complaints.append(request.url)
        ),
    )
    page.goto(Path("site/history.html").resolve().as_uri())
    page.fill("#q", "ort")
    assert page.locator("#history-table tbody tr:visible").count() == 1
    page.locator("#steps tbody a").first.click()
    browser.until(page, "document.querySelectorAll('#figures svg.main-svg').length >= 4")
    assert "resnet18-ort" in page.locator("#outcomes").inner_text()
    assert "worse +" in page.locator("#figures").inner_text()
    page.select_option("#cell", label="<b>x</b>-null-fp32-cpu-b1")
    browser.until(page, "document.getElementById('outcomes').textContent.startsWith('<b>x</b>')")
    page.click("#theme")
    browser.until(
        page,
        (
            "document.getElementById('figures').dataset.drawn === "
            "document.getElementById('cell').value"
        ),
    )
    page.close()
    assert complaints == []


@pytest.mark.slow
def test_ten_thousand_results_over_a_thousand_commits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = [
        (model, backend)
        for model in ("a", "b")
        for backend in ("ort", "openvino", "tvm", "null", "torchscript")
    ]

    def late(model, backend, number):
        return 1.08 if (model, backend) == ("a", "ort") and number > 600 else 1.0

    past.write(tmp_path / "results", 1000, cells, late)
    yard = yardstick.seconds()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    code, value = told(capsys)
    taken = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (
        1 if sys.platform == "darwin" else 1024
    )
    assert (code, [alarm["cell"] for alarm in value["alarms"]]) == (1, ["a-ort-fp32-cpu-b1"])
    assert sum(len(cell["points"]) for cell in value["cells"]) == 10_000
    assert taken < 10 * yardstick.slowness(yard, yardstick.seconds())
    assert grown < 250e6


def test_an_error_up_to_the_floor_is_no_measured_value() -> None:
    from evenbench.reports import history_results

    assert [history_results.text("error", value) for value in (0.01, 0.02)] == ["≤ 0.01", "0.0200"]
