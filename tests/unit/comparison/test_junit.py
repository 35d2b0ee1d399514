"""JUnit XML, read back with a parser."""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, Skipped

from evenbench.harness.comparison import junit
from tests.unit.comparison.comparisons import EVERYTHING


def test_junit_is_read_back_with_the_right_results() -> None:
    (suite,) = JUnitXml.fromstring(junit.text(EVERYTHING).encode())
    cases = {case.name: [type(each) for each in case.result] for case in suite}
    assert cases == {
        "fine": [],
        "slow": [Failure],
        "slowest": [Failure],
        "fast": [],
        "open": [Skipped],
        "gone": [Error],
        "off": [Failure],
        "slow (control)": [Skipped],
    }
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 3, 1, 2)
    assert {each.name: each.value for each in suite.properties()}["head"] == "<b>|x"
