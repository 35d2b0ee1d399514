"""The answer on top of the page and at the end of the terminal: sets to ship, ties, the machine."""

import io

import synthetic
from rich.console import Console

from evenbench.reports import answer, result_groups, warning_kinds
from evenbench.reports.pages import index
from evenbench.reports.terminal import outcomes

SLOW, QUICK, OTHER = (3.0e7, 3.01e7, 2.99e7), (1.0e7, 1.01e7, 0.99e7), (2.0e7, 2.01e7, 1.99e7)


def run_of(**models):
    """Records by model and backend, with their process times."""
    return [
        synthetic.record(model, backend.replace("_", "-"), process_ns=times, laps=40)
        for model, backends in models.items()
        for backend, times in backends.items()
    ]


def answered(lines):
    members = result_groups.results(lines)
    return answer.answer(result_groups.groups(members), members)


def test_one_runtime_clearly_ahead_is_the_title_with_its_gain_and_interval():
    said = answered(run_of(a={"torch_eager": SLOW, "ort": QUICK, "openvino": OTHER}))
    assert said.title == "Ship ort"
    assert said.lead.startswith("It is 3.00× as fast as torch-eager (95 % interval ")
    assert said.open == ""
    assert said.quiet
    assert said.machine == "The machine was quiet: no warning."


def test_a_tie_is_a_set_and_no_winner():
    near = tuple(value * 1.004 for value in reversed(QUICK))
    said = answered(run_of(a={"torch_eager": SLOW, "ort": QUICK, "openvino": near}))
    assert said.title in ("Ship ort or openvino", "Ship openvino or ort")
    assert "This run cannot tell " in said.open
    assert said.open.endswith(" apart.")


def test_models_with_different_winners_have_a_runtime_each():
    said = answered(
        run_of(
            a={"torch_eager": SLOW, "ort": QUICK, "openvino": OTHER},
            b={"torch_eager": SLOW, "ort": OTHER, "openvino": QUICK},
        )
    )
    assert said.title == "Ship ort for a, openvino for b"
    assert "3.0× as fast as torch-eager on a and b" in said.lead


def test_eager_among_the_fastest_everywhere_stays():
    said = answered(run_of(a={"torch_eager": QUICK, "ort": OTHER}))
    assert said.title == "Stay with torch-eager: no runtime is clearly faster"


def test_one_process_is_no_verdict():
    said = answered(run_of(a={"torch_eager": SLOW[:1], "ort": QUICK[:1]}))
    assert said.title == "No verdict from 1 process: ort was fastest"
    assert "--plan default" in said.lead


def test_a_cell_whose_processes_disagree_wins_nothing():
    torn = (5.57e7, 3.48e5)
    said = answered(run_of(a={"torch_eager": torn, "ort": torn}))
    assert said.title.startswith("No verdict")


def test_nothing_correct_ships_nothing():
    said = answered([synthetic.record(outcome="failed"), synthetic.record(outcome="mismatch")])
    assert said.title == "No correct runtime to ship"
    assert said.lead == "1 failed and 1 mismatch: see the reasons below."


def test_the_machine_sentence_counts_cells_and_conclusions_under_a_warning():
    lines = run_of(a={"torch_eager": SLOW, "ort": QUICK}, b={"torch_eager": SLOW, "ort": QUICK})
    lines[1]["warnings"] = ["contended: other processes used 1.0 cores; stop other work"]
    said = answered(lines)
    assert not said.quiet
    assert said.machine == (
        "Not a quiet run: 1 of 4\N{NO-BREAK SPACE}cells carries a warning; "
        "the conclusion of 1 of 2\N{NO-BREAK SPACE}models rests on such a cell."
    )
    assert said.cause == "contended: other processes used 1.0 cores"
    lines[3]["warnings"] = ["one process only, so there is no interval; use --plan default"]
    assert answered(lines).machine == said.machine, "a plan is no disturbance of the machine"


def test_warnings_that_differ_in_numbers_are_one_kind_with_a_range():
    lines = run_of(a={"torch_eager": SLOW, "ort": QUICK})
    for line, used in zip(lines, ("1.4", "0.6"), strict=True):
        line["warnings"] = [f"contended: others used {used} cores; stop other work"]
    (kind,) = warning_kinds.kinds(result_groups.results(lines))
    assert kind.seen == "contended: others used 0.6 to 1.4 cores"
    assert kind.advice == "stop other work"
    assert len(kind.cells) == 2


def test_page_and_terminal_say_the_same():
    lines = synthetic.suite()
    said = answered(lines)
    page, out = index.render(lines), io.StringIO()
    outcomes.show(lines, Console(file=out, width=400))
    for sentence in (said.title, said.lead, said.machine):
        assert sentence in page
        assert sentence in out.getvalue()


def test_every_kind_of_warning_is_on_the_page_once():
    lines = run_of(a={"torch_eager": SLOW, "ort": QUICK})
    for line in lines:
        line["warnings"] = ["laps <never> settled; wait"]
    page = index.render(lines)
    assert page.count('<td class="words" data-label="Seen">laps &lt;never&gt; settled</td>') == 1
    assert 'href="#warnings"' in page


def test_80_columns_hold_a_line_per_cell_and_no_number_is_cut():
    lines = synthetic.suite()
    out = io.StringIO()
    outcomes.show(lines, Console(file=out, width=80))
    text = out.getvalue()
    table = text.split("\n  unsupported ")[0].splitlines()
    assert len(table) <= len(lines) + 2 * len(synthetic.MODELS) + 1
    assert all(len(line) <= 80 for line in text.splitlines())
    for row in outcomes.rows(lines):
        assert row.latency.partition(" (")[0] in text
        assert row.speedup.partition(" (")[0] in text
