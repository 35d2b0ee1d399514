"""Charts as SVG of the page: complete without scripts, themed, escaped, honest about the axis."""

import re
from xml.etree import ElementTree

import pytest
import synthetic

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting, result_groups
from evenbench.reports.charts import laps, parity, phases, speedups
from evenbench.reports.pages import index

HOSTILE = "<script>alert(1)</script><b>\"&'$x^2$</b>"


def groups_of(lines):
    return result_groups.groups(result_groups.results(lines))


def desktop(chart):
    return str(chart.svg).partition("</svg>")[0]


def texts(chart):
    """Every text of the desktop's drawing, unescaped."""
    tree = ElementTree.fromstring(desktop(chart).replace("aria-hidden", "hidden") + "</svg>")
    return [element.text for element in tree.iter("text")]


def ticks(chart):
    return [float(text[:-1]) for text in texts(chart) if re.fullmatch(r"[\d.]+×", text or "")]


@pytest.fixture(scope="module")
def suite():
    return groups_of(synthetic.suite())


def test_every_chart_is_drawn_for_a_desktop_and_a_phone_in_the_colours_of_the_page(suite):
    charts = [speedups.overview(suite), phases.cold_starts(suite), parity.correctness(suite).chart]
    page = "".join(chart.svg for chart in charts)
    for chart in charts:
        assert chart.svg.count('<svg class="drawn desktop"') == 1
        assert chart.svg.count('<svg class="drawn phone"') == 1
        assert len(chart.label) > 40
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"#[0-9a-f]{6}|<style|font-family|<script", page)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_numbers_of_texts_stay_as_they_are(suite):
    group = suite[0]
    said = texts(speedups.overview(suite))
    for result in group.ranked:
        if result is not group.baseline:
            assert formatting.ratio(group.speedup(result)) in said
            assert formatting.ratio_interval(group.speedup(result)) in said


def test_hostile_names_are_text():
    lines = [synthetic.record(HOSTILE, name) for name in ("torch-eager", HOSTILE)]
    chart = speedups.overview(groups_of(lines))
    assert texts(chart).count(HOSTILE) == 2
    assert "<b>" not in chart.svg
    assert 'class="k1" aria-hidden="true">●</span>&lt;script' in index.render(lines)


def test_one_wide_interval_does_not_stretch_the_axis_and_ends_in_an_arrow(monkeypatch):
    lines = [synthetic.record(backend=name) for name in ("torch-eager", "ort", "openvino")]
    (group,) = groups_of(lines)
    wide = {"ort": Estimate(1.5, 0.5, 4.9, 3), "openvino": Estimate(1.4, 1.3, 1.5, 3)}
    monkeypatch.setattr(type(group), "speedup", lambda _, result: wide.get(result.name))
    chart = speedups.overview([group])
    marks = [tick for tick in ticks(chart) if tick not in (1.5, 1.4)]
    assert min(marks) >= 0.5
    assert max(marks) <= 3.0
    assert desktop(chart).count("<use ") == 2 + 1, "two marks, and an arrow where a bar is cut"


def test_groups_beyond_the_limit_are_counted_below_the_chart():
    models = [f"m{number:02d}" for number in range(speedups.GROUPS_DRAWN + 2)]
    lines = [
        synthetic.record(model, name, laps=4) for model in models for name in ("torch-eager", "ort")
    ]
    chart = speedups.overview(groups_of(lines))
    assert chart.note == "2\N{NO-BREAK SPACE}more groups: see the table of cells."
    assert models[speedups.GROUPS_DRAWN - 1] in texts(chart)
    assert models[speedups.GROUPS_DRAWN] not in texts(chart)


def test_cold_starts_are_of_what_can_be_shipped_and_say_their_seconds(suite):
    said = texts(phases.cold_starts(suite))
    assert "null" not in said
    for group in suite:
        for result in group.ranked:
            assert formatting.seconds(result.cold_start_seconds) in said


def test_small_errors_are_a_sentence_and_wrong_answers_a_chart():
    right = synthetic.record(backend="torch-eager")
    right["parity"]["needed"] = 0.02
    quiet = parity.correctness(groups_of([right]))
    assert quiet.chart is None
    assert quiet.sentence.endswith("compared with the reference answer: 1 below 10 % of it.")
    wrong = parity.correctness(groups_of([right, synthetic.record(outcome="mismatch")]))
    assert "1 outside the tolerance" in wrong.sentence
    assert "620 %" in texts(wrong.chart)
    assert "torch-eager" not in texts(wrong.chart)


def test_boxes_of_laps_lie_on_the_axis_in_order(suite):
    drawn = laps.boxes(suite[0])
    assert [row["name"] for row in drawn["rows"]] == [result.name for result in suite[0].ranked]
    for row in drawn["rows"]:
        assert len(row["boxes"]) == 3
        for box in row["boxes"]:
            assert box["at"] == sorted(box["at"])
            assert 0 <= box["at"][0] <= box["at"][-1] <= 100
    assert len(drawn["ticks"]) <= laps.TICKS


def test_pages_keep_to_their_size():
    assert len(index.render(synthetic.suite()).encode()) <= 500_000
    assert len(index.render(synthetic.many(350)).encode()) <= 1_000_000
