"""The rules of comparison: one run, one group, one boundary, and only correct results of real
runtimes.
"""

import re

import synthetic

from evenbench.reports import newest_records, result_groups, verdict
from evenbench.reports.sections import cells, comparison, overview
from evenbench.reports.terminal import outcomes


def group_of(*lines):
    (group,) = result_groups.groups(result_groups.results(lines))
    return group


def eager(*process_ns, **changed):
    return synthetic.record(
        backend="torch-eager", process_ns=process_ns or (20e6, 20.1e6, 19.9e6), laps=9, **changed
    )


def test_the_speedup_is_over_torch_eager_with_its_interval():
    group = group_of(eager(), synthetic.record(backend="ort"))
    speedup = group.speedup(group.ranked[0])
    assert 2.1 < speedup.value < 2.3
    assert speedup.low < speedup.value < speedup.high
    assert verdict.judge(group).tone == verdict.FASTER
    assert verdict.judge(group).fastest == "ort"


def test_all_that_may_be_the_fastest_are_named():
    lines = [
        eager(20e6, 21e6, 19e6),
        synthetic.record(backend="ort", process_ns=(19.5e6, 21e6, 19.4e6)),
    ]
    group = group_of(
        *lines, synthetic.record(backend="openvino", process_ns=(19.6e6, 20.2e6, 19.8e6))
    )
    words = verdict.judge(group).words
    assert words.endswith("needs more time")
    assert "openvino, ort or torch-eager, not told apart: ±" in words
    assert verdict.judge(group).fastest == "openvino, ort or torch-eager"
    assert verdict.tone(group, group.ranked[0]) == verdict.UNRESOLVED


def test_a_clear_lead_is_called_clear():
    lines = (
        eager(),
        synthetic.record(backend="ort"),
        synthetic.record(backend="openvino", process_ns=(5e6, 5.01e6, 4.99e6)),
    )
    assert verdict.judge(group_of(*lines)).words == "faster than torch-eager; clearly ahead of ort"


def test_what_is_not_ok_is_never_ranked_however_fast_it_is():
    for outcome in ("mismatch", "fallback", "failed", "unsupported", "unavailable"):
        group = group_of(
            eager(), synthetic.record(backend="ort", outcome=outcome, process_ns=(1e3, 1e3, 1e3))
        )
        wrong = next(result for result in group.results if result.name == "ort")
        assert [result.name for result in group.ranked] == ["torch-eager"]
        assert group.speedup(wrong) is None
        assert verdict.judge(group).fastest == "torch-eager"


def test_a_control_is_shown_and_never_ranked():
    group = group_of(eager(), synthetic.record(backend="null", process_ns=(200.0, 201.0, 199.0)))
    assert [result.name for result in group.ranked] == ["torch-eager"]
    assert [row[1] for row in cells.matrix([group]).rows] == ["torch-eager", "null"]


def test_a_group_of_controls_alone_has_no_verdict():
    group = group_of(synthetic.record(backend="null"))
    assert overview.summary([group])["open"] == []
    assert overview.glance([group]).columns == ["null"]


def test_a_wrong_eager_is_no_baseline():
    group = group_of(eager(outcome="mismatch"), synthetic.record(backend="ort"))
    assert group.baseline is None
    assert "no correct torch-eager" in verdict.judge(group).words


def test_where_eager_was_never_asked_cells_are_told_against_the_fastest():
    """Steps around a network have no torch eager, and nothing is wrong with them."""
    near = synthetic.record(backend="torchvision", process_ns=(9.02e6, 9.05e6, 8.97e6))
    lines = [
        synthetic.record(backend="opencv"),
        near,
        synthetic.record(backend="pillow", process_ns=(18e6, 18.1e6, 17.9e6)),
    ]
    group = group_of(*lines)
    assert not group.asks_baseline
    told = {result.name: verdict.stand(group, result) for result in group.ranked}
    fastest = group.ranked[0].name
    other = "torchvision" if fastest == "opencv" else "opencv"
    margin = told.pop(other).removeprefix(f"equivalent to {fastest} within ")
    assert margin in ("2\N{NO-BREAK SPACE}%", "5\N{NO-BREAK SPACE}%")
    assert told == {fastest: "the fastest here", "pillow": f"slower than {fastest}"}
    words = [
        verdict.judge(group).words,
        *told.values(),
        *overview.head([group], group.results, []).notes,
    ]
    words += overview.head([group], group.results, []).answer.lines
    assert "no correct torch-eager" not in " ".join(words).lower()
    assert words[0] == (
        f"{fastest} or {other}: equivalent within {margin}; torch-eager is not among these cells"
    )
    assert verdict.judge(group).fastest == f"{fastest} or {other}"
    head = overview.head([group], group.results, []).answer
    assert "is compared with the next" in head.lead
    assert head.open == f"{fastest} and {other} are equivalent within {margin}."
    assert verdict.judge(group).speedup == "–", "nothing is over torch eager"


def test_a_lead_has_its_ratio_where_no_speedup_says_it():
    group = group_of(
        synthetic.record(backend="opencv"),
        synthetic.record(backend="pillow", process_ns=(18e6, 18.1e6, 17.9e6)),
    )
    words = verdict.judge(group).words
    assert words.startswith("torch-eager is not among these cells; clearly ahead of pillow, ")
    assert re.search(r", [12]\.\d\d× \([12]\.\d\d to 2\.\d\d×\)$", words), words


def test_one_process_of_steps_is_not_judged():
    group = group_of(
        synthetic.record(backend="opencv", process_ns=(9e6,)),
        synthetic.record(backend="pillow", process_ns=(18e6,)),
    )
    assert verdict.stand(group, group.ranked[1]) == "not judged: 1 process, no interval"
    assert "the lead over pillow cannot be judged from 1 process" in verdict.judge(group).words


def test_a_page_tells_groups_without_eager_from_those_whose_eager_is_wrong():
    steps = [synthetic.record("resize", "opencv"), synthetic.record("resize", "pillow")]
    wrong = [eager(outcome="mismatch"), synthetic.record(backend="ort")]
    groups = result_groups.groups(result_groups.results([*steps, *wrong]))
    notes = " ".join(
        overview.head(groups, [result for group in groups for result in group.results], []).notes
    )
    assert "1\N{NO-BREAK SPACE}group has no correct torch-eager result, so no speed-ups." in notes
    assert "1\N{NO-BREAK SPACE}group was measured without torch-eager" in notes


def test_no_ratio_crosses_runs_groups_or_boundaries():
    other_run = eager(run=synthetic.RUN | {"id": "another"})
    assert len(result_groups.groups(result_groups.results([other_run, synthetic.record()]))) == 2
    assert (
        len(result_groups.groups(result_groups.results([eager(batch=8), synthetic.record()]))) == 2
    )
    slow_transfer = synthetic.record()
    slow_transfer["samples_ns"]["host_to_host"] = [[10**12] * 9] * 3
    plain, slow = group_of(eager(), synthetic.record()), group_of(eager(), slow_transfer)
    assert plain.speedup(plain.ranked[0]) == slow.speedup(slow.ranked[0])


def test_one_process_gives_no_interval_and_no_judgement():
    group = group_of(
        eager(20e6),
        synthetic.record(process_ns=(9e6,)),
        synthetic.record(backend="openvino", process_ns=(8e6,)),
    )
    line = verdict.judge(group)
    assert line.latency_interval == line.speedup_interval == "1 process, no interval"
    assert line.tone == verdict.UNKNOWN
    assert "cannot be judged from 1 process" in line.words
    assert any("1 process" in note for note in overview.head([group], group.results, []).notes)


def test_an_unsupported_percentile_is_a_dash():
    few = comparison.compare(group_of(eager()), 0)["rows"][0]
    many = comparison.compare(group_of(synthetic.record(laps=200)), 0)["rows"][0]
    assert (few["p90"], few["p99"]) == ("–", "–")
    assert many["p90"] != "–"
    assert many["p99"] != "–"


def test_options_tell_results_apart_and_the_plain_eager_is_the_baseline():
    tuned = eager(10e6, 10e6, 10e6)
    tuned["cell"] = tuned["cell"] | {"options": {"channels_last": True}, "key": "tuned"}
    group = group_of(tuned, eager())
    assert group.baseline.name == "torch-eager"
    assert group.ranked[0].name == "torch-eager channels_last=True"


def test_the_newest_record_of_a_cell_wins_and_a_note_says_so():
    old = synthetic.record(run=synthetic.RUN | {"id": "old", "started": "2026-01-01T00:00:00Z"})
    kept, notes = newest_records.newest([synthetic.record(), old])
    assert [line["run"]["id"] for line in kept] == [synthetic.RUN["id"]]
    assert len(notes) == 1
    assert "of 2 records the one from run" in notes[0]


def test_cold_start_is_import_load_and_first_step():
    line = synthetic.record(
        import_seconds=[1.0], phases_seconds={"load": [2.0], "first_step": [4.0], "prepare": [50.0]}
    )
    assert result_groups.results([line])[0].cold_start_seconds == 7.0


def test_the_terminal_table_has_a_row_for_every_record():
    lines = synthetic.suite()
    rows = outcomes.rows(lines)
    assert {row.cell for row in rows} == {line["cell"]["id"] for line in lines}
    mismatch = next(row for row in rows if row.outcome == "mismatch")
    assert mismatch.speedup == "–"
    assert "RMSE" in mismatch.reason


def test_warnings_are_counted_in_the_row_and_told_once_below_the_table():
    import io

    from rich.console import Console

    out = io.StringIO()
    lines = [
        synthetic.record(backend=name, warnings=["steal time"]) for name in ("torch-eager", "ort")
    ]
    outcomes.show(lines, Console(file=out, width=200))
    assert out.getvalue().count("steal time") == 1
    assert outcomes.rows(lines)[0].reason.endswith("1\N{NO-BREAK SPACE}warning")


def test_a_label_stands_before_how_a_cell_stands():
    lines = [
        synthetic.record(backend="torch-eager"),
        synthetic.record(backend="tvm", labels=["untuned"]),
    ]
    said = {row.cell.split("-")[1]: row.reason for row in outcomes.rows(lines)}
    assert said["tvm"].startswith("untuned; ")
    assert said["torch"] == "the baseline"


def test_the_terminal_reads_no_markup_in_names_and_reasons():
    import io

    from rich.console import Console

    out = io.StringIO()
    outcomes.show(
        [synthetic.record(outcome="failed", reason="[bold]boom[/bold] [/nonsense]")],
        Console(file=out, width=200),
    )
    assert "[bold]boom[/bold] [/nonsense]" in out.getvalue()


def test_a_suite_that_was_run_twice_is_one_note():
    first = [
        synthetic.record(cell={"key": f"k{at}", "group": "g"}, run={"id": "r1", "started": "1"})
        for at in range(5)
    ]
    second = [
        synthetic.record(cell={"key": f"k{at}", "group": "g"}, run={"id": "r2", "started": "2"})
        for at in range(5)
    ]
    kept, notes = newest_records.newest([*first, *second])
    assert notes == ["5 cells were measured more than once; run r2 is shown"]
    assert {line["run"]["id"] for line in kept} == {"r2"}


def test_a_cell_measured_again_alone_does_not_tear_its_group_apart():
    whole = [
        synthetic.record(cell={"key": key, "group": "g"}, run={"id": "r1", "started": "1"})
        for key in "ab"
    ]
    alone = synthetic.record(cell={"key": "a", "group": "g"}, run={"id": "r2", "started": "2"})
    kept, _ = newest_records.newest([*whole, alone])
    assert {line["run"]["id"] for line in kept} == {"r1"}


def throughput(**changed):
    made = synthetic.record("resnet18", "openvino", process_ns=(1e6, 1e6, 1e6), **changed)
    cell = {
        **made["cell"],
        "group": made["cell"]["group"] + "-throughput",
        "options": {"hint": "throughput"},
    }
    return {**made, "cell": cell}


def test_throughput_is_neither_ranked_nor_titled_with_latencies():
    lines = [
        synthetic.record("resnet18", "torch-eager"),
        synthetic.record("resnet18", "openvino"),
        throughput(),
    ]
    latency, apart = result_groups.groups(result_groups.results(lines))
    assert {result.name for result in latency.results} == {"torch-eager", "openvino"}
    assert apart.speedup(apart.results[0]) is None
    assert verdict.setting(apart) == verdict.setting(latency) + " · throughput"
    assert len(set(comparison.titles([latency, apart]))) == 2
