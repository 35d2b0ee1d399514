"""Machine warnings about a run: shown escaped for an unsteady machine, absent otherwise."""

import synthetic

from evenbench.reports import result_groups
from evenbench.reports.pages import index
from evenbench.reports.sections import warnings


def drifting(model):
    return synthetic.record(model, process_ns=(9.0e6, 9.6e6, 10.2e6))


def test_the_signs_of_each_run_are_rows():
    cells = [drifting(model) for model in synthetic.MODELS]
    other = [
        drifting(model) | {"run": dict(synthetic.RUN, id="2027")} for model in synthetic.MODELS
    ]
    (newest, *_), *_, (oldest, seen, advice) = warnings.rows(
        result_groups.results([*cells, *other])
    )
    assert (newest, oldest) == ("2027", synthetic.RUN["id"])
    assert "drift: from the first of 3 sweeps to the last" in seen
    assert advice


def test_the_page_has_the_section_where_there_is_something_to_mind():
    page, plain = (
        index.render([drifting(model) for model in synthetic.MODELS]),
        index.render([synthetic.record()]),
    )
    assert 'href="#warnings"' in page
    assert "became 13% slower" in page
    assert 'id="warnings"' not in plain


def test_what_is_told_of_a_run_is_escaped():
    busy = synthetic.record("<b>x</b>") | {"environment": {"governor": "<i>powersave</i>"}}
    page = index.render([busy])
    assert "&lt;i&gt;powersave" in page
    assert "<i>powersave" not in page
