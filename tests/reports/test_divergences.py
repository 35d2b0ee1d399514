"""What a report says of where two cells part: beside both, the newest, and how to look where nobody
has.
"""

from __future__ import annotations

from typing import Any

import synthetic

from evenbench.reports import formatting
from evenbench.reports import result_groups as shape
from evenbench.reports.pages import index
from evenbench.reports.sections import details, divergences


def search(
    first: dict[str, Any], second: dict[str, Any], *words: str, time: str = "2026-11-21T02:00:00Z"
) -> dict[str, Any]:
    return {
        "diff": 1,
        "time": time,
        "cell": first["cell"],
        "second": second["cell"],
        "outcome": "parts",
        "words": list(words),
    }


def pairs() -> list[dict[str, Any]]:
    return [
        dict(line) for line in synthetic.suite() if line["outcome"] == "ok" and line.get("parity")
    ][:2]


def test_both_cells_say_where_they_part_and_the_newest_search_counts() -> None:
    first, second = pairs()
    old = search(first, second, "old")
    new = search(
        first,
        second,
        "the rule",
        "the first tensor that parts is TopK",
        time="2026-11-22T02:00:00Z",
    )
    lines, notes = divergences.attached([first, second], [new, old])
    assert notes == []
    told = "the rule. the first tensor that parts is TopK."
    assert divergences.described(lines[0]) == [(f"diverges from {second['cell']['id']}", told)]
    assert divergences.described(lines[1]) == [(f"diverges from {first['cell']['id']}", told)]
    results = shape.results(lines)
    (group,) = [
        group for group in shape.groups(results) if results[0] in (*group.ranked, *group.unranked)
    ]
    sections = dict(details.describe(group, results[0])["sections"])
    assert (f"diverges from {second['cell']['id']}", told) in sections["Parity"]
    page = index.render(lines)
    assert page.count("the first tensor that parts is TopK") == 1, (
        "one row for the pair, which both cells have"
    )
    assert 'id="partings"' in page
    assert 'id="partings"' not in index.render([first, second])


def test_a_wrong_answer_of_which_nobody_knows_the_reason_says_how_to_find_it() -> None:
    wrong = next(line for line in synthetic.suite() if line["outcome"] == "mismatch")
    ((label, words),) = divergences.described(wrong)
    assert label == "diverges from its golden"
    assert f"evenbench layerwise {wrong['cell']['id']} golden" in words
    assert divergences.described(pairs()[0]) == []


def test_a_line_that_is_none_is_counted_and_costs_nothing_else() -> None:
    first, second = pairs()
    broken = [{**search(first, second), "words": "no list"}, {"time": "", "cell": first["cell"]}]
    lines, notes = divergences.attached([first], broken)
    assert lines == [first]
    assert notes == [
        f"{formatting.count(2, 'line')} of `evenbench layerwise` left out, malformed; see "
        "docs/how-to/look-into-a-model.md"
    ]
