"""The page of a pipeline: rates and stages out of raw times, and nothing of an answer that is
wrong.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from evenbench import harness
from evenbench.harness.core import pipeline_terms
from evenbench.reports import pipeline_notes, pipeline_results, pipeline_rows
from evenbench.reports.pages import pipeline
from evenbench.reports.terminal import pipeline as terminal
from tests.reports.pipelines import (
    ALONE,
    DIRECTED,
    LATER,
    MS,
    PROGRAM,
    QUICK,
    SLOW,
    WRONG,
    line,
    passage,
    process,
    shown,
)

SCHEMA = json.loads(
    (Path(harness.__file__).parent / "results" / "pipeline.schema.json").read_text()
)


def test_the_lines_here_are_as_the_schema_says() -> None:
    for each in (QUICK, SLOW, WRONG, PROGRAM, ALONE):
        jsonschema.validate(each, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line("wrong", [process(1)], "mismatch"), SCHEMA)


def test_rates_are_frames_over_wall_time() -> None:
    one, many = (
        pipeline_results.rate(QUICK, "sequential"),
        pipeline_results.rate(QUICK, "overlapped"),
    )
    assert one is not None
    assert many is not None
    assert (one.value, many.value) == (pytest.approx(100), pytest.approx(200))
    slow = pipeline_results.rate(SLOW, "sequential")
    assert slow is not None
    assert slow.low is not None
    assert slow.high is not None
    assert slow.low < slow.value < slow.high
    assert pipeline_results.rate(WRONG, "sequential") is None


def test_stages_are_those_of_frames_that_go_one_by_one() -> None:
    assert pipeline_results.stage_ns(QUICK, "infer") == pytest.approx(5 * MS)
    assert pipeline_results.stage_ns(QUICK, "postprocess") == pytest.approx(MS / 2)
    assert pipeline_results.stage_ns(ALONE, "infer") == pytest.approx(2 * MS)
    assert pipeline_results.stage_ns(ALONE, "draw") is None


def test_what_gets_decoded_frames_is_compared_without_decoding() -> None:
    """The same sum for all: of ten ms, of which decoding is one; and of the five of a program that
    never decodes.
    """
    quick, program = pipeline_results.after(QUICK), pipeline_results.after(PROGRAM)
    assert quick is not None
    assert program is not None
    assert quick.value == pytest.approx(1000 / 9)
    assert program.value == pytest.approx(200)
    assert pipeline_results.after(ALONE) is None, "it was not measured"
    assert pipeline_results.after(WRONG) is None
    assert pipeline_results.stage_ns(PROGRAM, "infer") == pytest.approx(3 * MS)
    assert pipeline_results.stage_ns(PROGRAM, "decode") is None


def test_a_program_is_ranked_after_whole_pipelines_though_it_is_faster() -> None:
    found = pipeline_rows.rows([ALONE, PROGRAM, SLOW])
    assert [row["name"] for row in found] == ["slow", "program", "alone"]
    row = found[1]
    assert row["covered"] == "processes decoded frames in its own loop"
    assert (row["sequential"][0], row["overlapped"][0], row["after"][0]) == ("–", "–", "200"), (
        "no rate that would hide the decoding"
    )
    assert (row["held"][0], row["gain"]) == ("400", "")
    assert found[0]["held"][0] == "–", "it was not measured"
    (said,) = pipeline_notes.notes([PROGRAM, SLOW])
    assert said.startswith("program: frames arrive decoded, in a program with its own loop")
    assert said.endswith("The program draws no names and no scores.")
    assert "No whole pipeline has a number" in pipeline.head([PROGRAM])["sentence"]


def test_frames_in_flight_are_compared_with_decoding_or_without_and_never_across(
    tmp_path: Path,
) -> None:
    both = line(
        "both",
        [{**process(10), "after_decoding_overlapped": passage(10, 30, **LATER)} for _ in range(3)],
    )
    page = pipeline.render([PROGRAM, both], None, tmp_path)
    assert "both draws 200 frames per second<" in page, "the program's 400 hold no decoding"
    assert "After decoding, with 4 in flight, program draws 400 frames per second.<" in page
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)
    place = heads.index("After decoding, 4 in flight")
    cells = {
        name: page.split(f'<th scope="row">{name}', 1)[1].split("</tr>", 1)[0].split("<td")[1:]
        for name in ("both", "program")
    }
    shown = {
        name: [re.sub("<[^>]*>", " ", each.partition(">")[2]).split()[0] for each in row]
        for name, row in cells.items()
    }
    assert {name: row[place - 1] for name, row in shown.items()} == {
        "both": "333",
        "program": "400",
    }
    assert shown["program"][heads.index("4 in flight") - 1] == "–"
    assert "After decoding, 4 in flight" not in pipeline.render([QUICK, WRONG], None, tmp_path), (
        "no column without a number"
    )
    assert pipeline.head([both])["after"] == "", "nobody asks where there is no program"


def test_frames_dropped_after_decoding_have_a_column_of_their_own(tmp_path: Path) -> None:
    late = {"after_decoding_paced": passage(9, 300, dropped=(3,), **LATER)}
    program = line(
        "program", [{**DIRECTED, **late}] * 2, covers="after_decoding", target_per_second=30.0
    )
    paced = line(
        "paced",
        [{**process(10), "paced": passage(8, 300, dropped=(3, 4))}] * 2,
        target_per_second=30.0,
    )
    first, last = pipeline_rows.rows([program, paced])
    assert (first["dropped"][0], first["held_dropped"]) == ("4 of 20", ("–", ""))
    assert (last["dropped"], last["held_dropped"][0]) == (("–", ""), "2 of 20")
    page = pipeline.render(
        [program, paced, line("wrong", [], "mismatch", target_per_second=30.0)], None, tmp_path
    )
    rows = page.split("<tbody>", 1)[1].split("</tbody>", 1)[0].split("</tr>")
    widths = {
        sum(int(wide or 1) for wide in re.findall(r'<t[dh](?:[^>]*colspan="(\d+)")?', row))
        for row in rows
        if "<td" in row
    }
    assert widths == {page.count('scope="col"')}, "every row is as wide as the head"
    console = Console(file=io.StringIO(), width=300)
    terminal.show([program, paced], console)
    assert "dropped after decoding" in console.file.getvalue()  # type: ignore[attr-defined]


def test_why_nothing_was_held_is_told_once() -> None:
    why = "they are too many"
    said = pipeline_notes.notes(
        [
            {**QUICK, "not_held_because": why},
            {**SLOW, "not_held_because": why},
            {**WRONG, "not_held_because": why},
        ]
    )
    assert said == ["quick and slow: no frames in flight after decoding: they are too many."]


def test_why_inference_alone_was_measured_is_told() -> None:
    told, single = pipeline_notes.notes([ALONE])
    assert told == "alone: inference and fetching alone: it has no recipe."
    assert "One process each" in single


def test_whole_pipelines_come_first_and_what_is_wrong_last() -> None:
    found = pipeline_rows.rows([WRONG, ALONE, SLOW, QUICK])
    assert [row["name"] for row in found] == ["quick", "slow", "alone", "wrong"]
    assert found[0]["overlapped"][0] == "200"
    assert found[0]["gain"] == "2.00×"
    assert found[2]["covered"] == "inference and fetching alone"
    assert found[2]["sequential"][0] == "500"
    assert (found[3]["sequential"], found[3]["bars"], found[3]["words"]) == (("–", ""), [], "")


def test_the_headline_names_what_cannot_be_told_from_the_best() -> None:
    near = line("near", [process(9), process(11), process(10.5)])
    assert pipeline.head([QUICK, SLOW])["sentence"] == "quick draws 200 frames per second"
    assert (
        pipeline.head([QUICK, near, SLOW])["sentence"]
        == "quick draws 200 frames per second; not told apart from near"
    )
    once = [line(name, [process(each)]) for name, each in (("one", 10), ("other", 40))]
    assert (
        pipeline.head(once)["sentence"]
        == "one draws 200 frames per second; not told apart from other"
    ), "one process tells nothing"


def test_bars_are_in_one_scale() -> None:
    slow, quick = (
        {bar["stage"]: float(bar["percent"]) for bar in row["bars"]}
        for row in pipeline_rows.rows([SLOW, QUICK])[::-1]
    )
    assert sum(slow.values()) == pytest.approx(100, abs=0.1)
    assert sum(quick.values()) == pytest.approx(100 * 10 / 42, abs=1)


def test_dropped_frames_are_counted_over_processes() -> None:
    paced = [{**process(10), "paced": passage(8, 300, dropped=(3, 4), infer=1.0)} for _ in range(2)]
    found = line("late", paced, target_per_second=30.0)
    assert pipeline_results.dropped(found) == (4, 20)
    count, late = pipeline_rows.rows([found])[0]["dropped"]
    assert count == "4 of 20"
    assert "late" in late
    assert pipeline_results.delay_ns(found) == pytest.approx(50 * MS)
    assert pipeline_results.dropped(QUICK) is None


def test_stolen_time_and_single_processes_are_told() -> None:
    disturbed = line("disturbed", [process(10, steal=5)])
    stolen, single = pipeline_notes.notes([disturbed])
    assert "the hypervisor took 33 %" in stolen
    assert "One process each" in single
    assert pipeline_notes.notes([QUICK, SLOW, WRONG]) == []


def test_stolen_time_is_in_the_recorded_ticks_and_beyond_the_limit_of_a_run() -> None:
    disturbed = line("disturbed", [process(10, steal=5)] * 3)
    (note,) = pipeline.notes([disturbed])
    assert "the hypervisor took 33 %" in note
    disturbed["environment"] = disturbed["environment"] | {"clock_ticks_per_second": 1000}
    (note,) = pipeline.notes([disturbed])
    assert "the hypervisor took 3 %" in note
    disturbed["environment"] = disturbed["environment"] | {"clock_ticks_per_second": 2000}
    assert pipeline.notes([disturbed]) == []


def test_frames_that_stall_are_told() -> None:
    stalled = process(10)
    stalled["sequential"]["wall_ns"] *= 3
    (said,) = pipeline_notes.notes([line("stalled", [stalled] * 3)])
    assert "the mean frame took 3.0 times the median frame" in said


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    from PIL import Image

    for name in (
        "golden-0",
        "key-quick-0",
        "key-quick-0-difference",
        "key-wrong-0",
        "key-wrong-0-difference",
    ):
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def test_the_page_shows_frames_side_by_side(frames: Path) -> None:
    pictures = {
        "golden": [{"frame": 0, "image": "golden-0.jpg"}],
        "kind": "float64 <torch>",
        "gain": 8,
    }
    pictures |= {"key-quick": shown("key-quick", 0.0), "key-wrong": shown("key-wrong", 0.25)}
    page = pipeline.render([QUICK, WRONG], pictures, frames)
    assert page.count("data:image/jpeg;base64,") == 4
    assert "no pixel differs" in page
    assert re.search(r"25\.0\s% of pixels differ, by up to 200 of 255", page)
    assert "float64 &lt;torch&gt;" in page, "text is escaped"
    wrong = page.split('<th scope="row">wrong', 1)[1].split("</tr>", 1)[0]
    assert "out needs 9 times" in wrong
    assert "bars" not in wrong
    assert "quick draws 200 frames per second<" in page


def test_the_page_needs_no_pictures_and_no_right_answer(tmp_path: Path) -> None:
    page = pipeline.write([WRONG], None, tmp_path, tmp_path).read_text()
    assert "No whole pipeline has a number" in page
    assert 'id="frames"' not in page
    with pytest.raises(ValueError, match="no outcomes"):
        pipeline.render([], None, tmp_path)


def test_the_terminal_says_the_same() -> None:
    console = Console(file=io.StringIO(), width=200)
    terminal.show([QUICK, ALONE, WRONG], console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "200" in said
    assert "inference and fetching alone" in said
    assert "wrong: mismatch: out needs 9 times the allowed tolerance" in said


def test_sweeps_are_paired_though_one_of_them_lacks_a_way() -> None:
    """What two runtimes did in one sweep is compared, and never the first sweep of one with the
    second of the other.
    """
    slow, fast = (
        [{pipeline_terms.PREDECODED: {"wall_ns": wall * factor}} for wall in (1e9, 3e9, 5e9)]
        for factor in (1.2, 1.0)
    )
    fast[0] = {}
    best, other, without = ({"passages": passages} for passages in (fast, slow, [{}]))
    assert pipeline_results.not_apart(best, [other], pipeline_terms.PREDECODED) == []
    assert pipeline_results.not_apart(without, [other], pipeline_terms.PREDECODED) == [other]
