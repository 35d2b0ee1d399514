"""The written page: complete, escaped, without network, and made without any runtime."""

import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import synthetic

from evenbench.harness.core.types import OUTCOMES
from evenbench.reports.pages import index as site
from tests.performance import yardstick

HOSTILE = "<script>alert(1)</script><b>\"&'</b>"


def embedded(page, name):
    """The text of one embedded element, unpacked where it is packed."""
    kind, found = re.search(
        rf'<script type="([^"]+)" id="{name}">(.*?)</script>', page, re.DOTALL
    ).groups()
    return gzip.decompress(base64.b64decode(found)).decode() if kind == "text/plain" else found


class Tags(HTMLParser):
    """Counts start tags and collects what would be loaded."""

    def __init__(self):
        super().__init__()
        self.count, self.loaded = {}, []

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loaded += [
            value
            for key, value in attrs
            if key in ("src", "href") and value and not value.startswith(("#", "data:"))
        ]


def tags(page):
    found = Tags()
    found.feed(page)
    return found


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    index = site.write(synthetic.suite(), tmp_path / "a" / "site", ["the reader says so"])
    assert [path.name for path in index.parent.iterdir()] == ["index.html"]
    page = index.read_text(encoding="utf-8")
    assert tags(page).loaded == []
    assert "the reader says so" in page


def test_every_cell_outcome_and_reason_is_on_the_page():
    lines = synthetic.suite()
    rows = json.loads(embedded(site.render(lines), "table-matrix"))["rows"]
    assert len(rows) == len(lines)
    assert {row[3] for row in rows} == set(OUTCOMES)
    assert all(row[9] for row in rows)


def test_everything_from_results_is_escaped():
    line = synthetic.record(
        model=HOSTILE,
        reason=HOSTILE,
        outcome="failed",
        traceback=HOSTILE,
        warnings=[HOSTILE],
        labels=[HOSTILE],
    )
    line["environment"] = {
        "cpu": HOSTILE,
        "packages": {HOSTILE: HOSTILE},
        "variables": {HOSTILE: HOSTILE},
        HOSTILE: HOSTILE,
    }
    line["weights"] = {"source": HOSTILE, "note": HOSTILE, "sha256": HOSTILE}
    line["run"] = line["run"] | {"id": HOSTILE}
    page, plain = (
        site.render([line], [HOSTILE]),
        site.render([synthetic.record(outcome="failed")], ["a note"]),
    )
    assert "<script>alert" not in page
    assert "<b>&" not in page
    assert tags(page).count["script"] == tags(plain).count["script"]
    assert json.loads(embedded(page, "table-matrix"))["rows"][0][0] == HOSTILE


def test_a_number_that_is_not_finite_does_not_break_the_page():
    line = synthetic.record(outcome="mismatch")
    line["parity"]["needed"] = float("inf")
    line["parity"]["outputs"][0] |= {
        "max_abs": float("nan"),
        "rmse": float("inf"),
        "cosine": float("nan"),
    }
    page = site.render([line])
    for name in ("table-matrix", "group-lines", "cell-lines"):
        assert "NaN" not in embedded(page, name)
        assert "Infinity" not in embedded(page, name)


def test_a_record_with_nothing_measured_still_has_its_place():
    bare = dict.fromkeys(synthetic.record()) | {
        "cell": synthetic.record()["cell"],
        "outcome": "failed",
        "run": synthetic.RUN,
    }
    assert "resnet18" in site.render([bare])


def test_no_records_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="evenbench run"):
        site.write([], tmp_path)


def test_the_same_results_make_the_same_page():
    assert site.render(synthetic.suite()) == site.render(synthetic.suite())


def test_reporting_imports_no_runtime():
    code = (
        "import sys; from reports.terminal import outcomes; from reports.pages import index\n"
        "heavy = 'torch onnxruntime openvino tvm tensorrt IPython pandas itables plotly'\n"
        "heavy += ' matplotlib'\n"
        "bad = {*heavy.split()} & {*sys.modules}\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("outcomes", "seconds"), [(2_000, 2.6), pytest.param(10_000, 7.0, marks=pytest.mark.nightly)]
)
def test_thousands_of_outcomes_are_reported_in_seconds(tmp_path, outcomes, seconds):
    lines = synthetic.many(outcomes)
    keeps, told = yardstick.kept(
        seconds, lambda: yardstick.timed(lambda: site.write(lines, tmp_path)), tries=3
    )
    assert keeps, told
