"""The section on tuning: there where a runtime searches, with what was not tuned said aloud."""

import synthetic

from evenbench.reports import result_groups
from evenbench.reports.pages import index
from evenbench.reports.sections import details, tuning

CURVE = [[6, 5200.0], [9, 3100.0], [40, 1900.0]]


def facts(**changed):
    known = {
        "tasks": 6,
        "tasks_without_record": 0,
        "trials": 64,
        "seconds": 41.5,
        "target": "llvm",
        "curve_us": CURVE,
    }
    return {"format": "tvm shared library", "tuning": known | changed}


def tuned(model="resnet18", label="tuned(64)", **changed):
    return synthetic.record(
        model, "tvm", labels=[label], artifact={"bytes": 1000, "facts": facts(**changed)}
    )


def untuned(model="resnet18"):
    return tuned(model, "untuned", trials=0, tasks_without_record=6, seconds=0.0, curve_us=[])


def test_a_row_says_how_far_a_cell_is_tuned():
    (row,) = tuning.rows(result_groups.results([tuned(), synthetic.record()]))
    assert (row.label, row.trials) == ("tuned(64)", "64")
    assert row.estimated == "5.20\N{NO-BREAK SPACE}ms → 1.90\N{NO-BREAK SPACE}ms"
    assert row.tasks == "6\N{NO-BREAK SPACE}tasks"
    assert row.measured.endswith("ms")


def test_what_is_not_tuned_says_so_and_has_no_line():
    members = result_groups.results([untuned()])
    (row,) = tuning.rows(members)
    assert (row.label, row.trials, row.seconds, row.estimated) == ("untuned", "0", "–", "–")
    assert row.tasks.endswith(", 6 without a record")
    assert tuning.drawn(members) is None


def test_a_cell_that_did_not_run_is_told_by_its_outcome():
    (row,) = tuning.rows(result_groups.results([tuned() | {"labels": [], "outcome": "failed"}]))
    assert row.label == "failed"


def test_the_curve_is_in_milliseconds_and_a_model_has_a_line():
    made = tuning.drawn(result_groups.results([tuned(), tuned("resnet50")]))
    assert len(made.keys) == 2
    desktop = made.svg.partition("</svg>")[0]
    assert desktop.count("<use ") == 2 * 3, "a mark per point"
    assert "estimated ms per inference" in desktop
    assert ">2<" in desktop, "a tick between 1.9 and 5.2 ms"


def test_cells_of_one_database_share_a_line():
    option = tuned()
    option["cell"] = option["cell"] | {"options": {"spinning": "off"}, "key": "another"}
    assert len(tuning.drawn(result_groups.results([tuned(), option])).keys) == 1


def test_details_leave_the_points_out():
    group = result_groups.groups(result_groups.results([tuned()]))[0]
    told = dict(dict(details.describe(group, group.results[0])["sections"])["Artifact"])
    assert "trials=64" in told["facts"]
    assert "5200" not in told["facts"]


def test_the_page_has_the_section_where_something_searches():
    page, plain = index.render([tuned()]), index.render([synthetic.record()])
    assert 'href="#tuning"' in page
    assert 'id="tuning-chart"' in page
    assert 'href="#tuning"' not in plain
    assert 'id="tuning-chart"' not in plain
