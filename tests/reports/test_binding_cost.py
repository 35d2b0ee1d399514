"""What a binding costs: a native cell is compared with the Python cell that runs the same bytes in
the same library, and no other.
"""

import pytest
import synthetic

from evenbench.reports import result_groups, verdict
from evenbench.reports.pages import index
from evenbench.reports.sections import binding_cost, details

SHA = synthetic.sha("one onnx file")
STEADY = "std::chrono::steady_clock"


def cell(
    backend,
    process_ns=(9.0e6, 9.1e6, 8.9e6),
    runtime="onnxruntime",
    version="1.31.1",
    spinning="on",
    options=None,
    **changed,
):
    line = synthetic.record(
        backend=backend, process_ns=process_ns, **{"artifact_sha256": SHA, **changed}
    )
    line["attested"] = line["attested"] | {
        "runtime": runtime,
        "version": version,
        "spinning": spinning,
    }
    line["cell"] = line["cell"] | {"options": options or {}}
    return line


def program(backend="cpp-ort", process_ns=(6.0e6, 6.1e6, 5.9e6), **changed):
    return cell(
        backend, process_ns, **{"clock": STEADY, "binding_ns": [900.0, 1100.0, 1000.0], **changed}
    )


def library(backend="ctypes-ort", process_ns=(9.0e6, 9.1e6, 8.9e6), **changed):
    line = cell(
        backend, process_ns, inner_clock=STEADY, binding_ns=[2900.0, 3100.0, 3000.0], **changed
    )
    line["samples_ns"] = {
        **line["samples_ns"],
        "native": [[lap - 3000 for lap in laps] for laps in line["samples_ns"]["compute"]],
    }
    return line


def rows(*lines):
    return binding_cost.rows(result_groups.results(lines))


def number(words):
    return float(words.split("\N{NO-BREAK SPACE}")[0].removesuffix("×"))


def test_a_program_and_a_library_are_told_apart_and_compared_with_python():
    fast, even = rows(cell("ort"), program(), library())
    assert (fast.way, fast.counterpart, even.way, even.counterpart) == (
        "program",
        "ort",
        "ctypes",
        "ort",
    )
    assert number(fast.compute) == pytest.approx(1.5, abs=0.05)
    assert number(fast.host_to_host) == pytest.approx(1.5, abs=0.05)
    assert (fast.tone, even.tone) == (verdict.FASTER, verdict.EVEN)
    assert (fast.binding, even.binding) == ("1.00\N{NO-BREAK SPACE}µs", "3.00\N{NO-BREAK SPACE}µs")


def test_a_slower_binding_says_so():
    (row,) = rows(cell("ort", (6.0e6, 6.1e6, 5.9e6)), library())
    assert row.tone == verdict.SLOWER
    assert number(row.compute) == pytest.approx(0.67, abs=0.03)


def contended(line, cores):
    """The line as other processes on so many cores would have left it."""
    for taken in line["blocks"].values():
        for block in (block for process in taken for block in process):
            block["machine_cpu_ns"] = block["cpu_ns"] + int(cores * block["wall_ns"])
    return line


def test_a_quiet_pair_is_not_in_doubt():
    (row,) = rows(contended(cell("ort"), 0.05), program())
    assert (row.doubt, row.tone) == ("", verdict.FASTER)


@pytest.mark.parametrize("wounded", ["python", "native"])
def test_a_pair_that_other_processes_disturbed_has_no_verdict(wounded):
    python, native = cell("ort"), program()
    contended(python if wounded == "python" else native, 1.0)
    (row,) = rows(python, native)
    assert row.doubt == f"other processes ran beside {'ort' if wounded == 'python' else 'cpp-ort'}"
    assert row.tone == verdict.UNKNOWN
    assert number(row.compute) == pytest.approx(1.5, abs=0.05), "the ratio is shown all the same"


@pytest.mark.parametrize("settled", ["unstable", "capped"])
def test_a_pair_whose_laps_did_not_settle_has_no_verdict(settled):
    (row,) = rows(cell("ort", stability={"compute": ["stable", settled, "stable"]}), program())
    assert (row.doubt, row.tone) == ("laps of ort did not settle", verdict.UNKNOWN)


def test_one_process_has_a_ratio_and_no_verdict():
    (row,) = rows(cell("ort", (9e6,)), program(process_ns=(6e6,)))
    assert row.tone == verdict.UNKNOWN
    assert "no interval" in row.compute_interval


@pytest.mark.parametrize(
    "other",
    [
        {"artifact_sha256": synthetic.sha("another file")},
        {"runtime": "openvino"},
        {"version": "1.24.1"},
        {"spinning": "off"},
        {"options": {"optimization": "basic"}},
        {"run": {**synthetic.RUN, "id": "another run"}},
        {"outcome": "mismatch"},
        {"batch": 8},
    ],
    ids=str,
)
def test_what_differs_in_more_than_the_binding_is_no_counterpart(other):
    assert rows(cell("ort", **other), program()) == []


def test_a_wrong_native_answer_has_no_row():
    assert rows(cell("ort"), program(outcome="mismatch")) == []


def test_two_native_cells_are_not_each_others_counterparts():
    assert rows(program(), library()) == []


def test_the_counterpart_shares_most_options():
    quiet = {"spinning": "off", "options": {"spinning": "off"}}
    (row,) = rows(cell("ort"), cell("ort", **quiet), program(**quiet))
    assert row.counterpart == "ort spinning=off"
    (row,) = rows(
        cell("torch-aot", runtime="torch"),
        program("cpp-libtorch", runtime="torch", options={"artifact": "aot"}),
    )
    assert row.counterpart == "torch-aot"


def test_a_build_after_the_release_is_the_same_release():
    python, native = (
        {"runtime": "torch", "version": "2.15.0+cpu"},
        {"runtime": "torch", "version": "2.15.0"},
    )
    assert rows(cell("torch-script", **python), program("cpp-libtorch", **native))


def test_a_cell_on_a_device_has_a_second_clock_and_is_not_native():
    line = cell("ort")
    line["samples_ns"] = {**line["samples_ns"], "device": line["samples_ns"]["compute"]}
    line |= {"inner_clock": "cudaEventElapsedTime", "binding_ns": [5.0, 5.0, 5.0]}
    assert not binding_cost.is_native(result_groups.results([line])[0])
    assert rows(line, program())[0].counterpart == "ort"


def test_copies_are_host_to_host_less_compute():
    line = cell("ort", (2.0e6,))
    line["samples_ns"] = {"compute": [[2_000_000] * 9], "host_to_host": [[2_050_000] * 9]}
    native = program(process_ns=(2.0e6,))
    native["samples_ns"] = {"compute": [[1_000_000] * 9], "host_to_host": [[1_004_000] * 9]}
    (row,) = rows(line, native)
    assert (row.python_copies, row.copies) == (
        "50.0\N{NO-BREAK SPACE}µs",
        "4.00\N{NO-BREAK SPACE}µs",
    )
    assert number(row.compute) == 2.0
    assert number(row.host_to_host) == pytest.approx(2.04, abs=0.005)


def test_a_lap_of_nothing_is_no_ratio():
    native = program(process_ns=(6e6,))
    native["samples_ns"]["host_to_host"] = [[0] * 9]
    (row,) = rows(cell("ort", (9e6,)), native)
    assert (row.host_to_host, row.copies) == ("–", "–")


def told(line):
    group = result_groups.groups(result_groups.results([line]))[0]
    return {
        title: dict(facts) for title, facts in details.describe(group, group.results[0])["sections"]
    }


def test_details_of_a_cell_say_what_its_binding_costs():
    compute = told(library())["Compute"]
    assert compute["binding"] == "3.00\N{NO-BREAK SPACE}µs"
    assert compute["time inside"].startswith("9.")
    assert compute["inner clock"] == STEADY
    compute = told(program())["Compute"]
    assert compute["binding"] == "1.00\N{NO-BREAK SPACE}µs"
    assert not {"time inside", "inner clock"} & set(compute)
    assert not {"binding", "time inside", "inner clock"} & set(told(cell("ort"))["Compute"])


def test_the_page_has_the_section_where_there_is_a_pair():
    page, plain = index.render([cell("ort"), program()]), index.render([cell("ort")])
    for words in ('href="#binding"', "Cost of the binding", "cpp-ort"):
        assert words in page
    assert 'id="binding"' not in plain
    assert 'href="#binding"' not in plain


def test_markdown_has_a_row_per_native_cell_and_each_doubt_once():
    made = binding_cost.markdown(result_groups.results([cell("ort"), program(), library()]))
    assert made.count("| `resnet18-") == 2
    assert "| `ort` | 1.50×" in made
    restless = program(stability={"compute": ["unstable"] * 3, "host_to_host": ["stable"] * 3})
    made = binding_cost.markdown(result_groups.results([cell("ort"), restless]))
    assert "| [1.50×" in made
    assert "1. laps of cpp-ort did not settle" in made
    assert binding_cost.markdown(result_groups.results([cell("ort")])) == ""
