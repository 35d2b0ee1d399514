"""Numbers as words: units, digits, intervals and dashes."""

import pytest

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting


@pytest.mark.parametrize(
    ("value_ns", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (1, "1.00 ns"),
        (211, "211 ns"),
        (999.7e3, "1.00 ms"),
        (8_123_456, "8.12 ms"),
        (12.1e9, "12.1 s"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(value_ns, shown):
    assert formatting.duration(value_ns) == shown.replace(" ", formatting.SPACE)


@pytest.mark.parametrize(
    ("value_bytes", "shown"), [(None, "–"), (0, "0 B"), (46_800_000, "46.8 MB"), (3.1e9, "3.10 GB")]
)
def test_a_size_has_the_unit_that_suits_it(value_bytes, shown):
    assert formatting.size(value_bytes) == shown.replace(" ", formatting.SPACE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (float("-inf"), "-∞"),
        (0.0, "0"),
        (9.996, "10.0"),
        (3e-6, "3.00e-6"),
    ],
)
def test_a_number_is_never_an_empty_or_a_strange_word(value, shown):
    assert formatting.number(value) == shown


def test_an_interval_is_in_the_unit_of_its_value():
    assert (
        formatting.latency_interval(Estimate(1.02e6, 0.98e6, 1.06e6, 3))
        == f"0.98 to 1.06{formatting.SPACE}ms"
    )
    assert formatting.ratio_interval(Estimate(2.31, 2.2, 2.42, 3)) == "2.20 to 2.42×"


def test_one_process_has_no_interval_and_says_so():
    assert formatting.latency_interval(Estimate(1e6, None, None, 1)) == "1 process, no interval"
    assert formatting.ratio_interval(Estimate(2.0, None, None, 1)) == "1 process, no interval"


WIDE = formatting.Measured(1.84e6, 100.0, 2.8e9, 3, (0.35e6, 0.32e6, 55.7e6))
"""The level of three processes of which one stalled, with an interval of six decades."""


def test_an_interval_wider_than_ten_times_is_replaced_by_the_values():
    assert formatting.latency(WIDE) == formatting.ratio(WIDE) == formatting.rate(WIDE)
    assert formatting.latency(WIDE) == "not judged"
    assert formatting.latency_interval(WIDE) == f"0.320, 0.350 and 55.7{formatting.SPACE}ms"
    ratio = formatting.Measured(0.258, 0.0002, 338.0, 3, (0.9, 1.02, 0.006))
    assert formatting.ratio_interval(ratio) == "0.00600, 0.900 and 1.02×"
    many = formatting.Measured(2.0, None, None, 5, (1.0, 2.0, 3.0, 4.0, 50.0))
    assert formatting.ratio_interval(many) == "5 values, 1.00 to 50.0×"
    assert (
        formatting.rate_interval(Estimate(5.0, 1.0, 20.0, 3)) == "values differ more than 10 times"
    )


@pytest.mark.parametrize(("high", "judged"), [(10.0, True), (10.1, False)])
def test_ten_times_is_the_limit(high, judged):
    assert formatting.judged(Estimate(3.0, 1.0, high, 3)) is judged


def test_a_share_is_rounded_up_because_it_is_a_limit():
    shares = (0.02, 0.008, 0.0134, 0.07, 0.341)
    shown = [formatting.percent(share).replace(formatting.SPACE, "") for share in shares]
    assert shown == ["2%", "0.8%", "1.4%", "7%", "35%"]
    assert formatting.half_width(Estimate(1.0, 0.8, 1.25, 3)) == f"±25{formatting.SPACE}%"


def test_any_recorded_value_becomes_text():
    assert formatting.plain({"a": [1, True], "b": None}) == "a=1, yes, b=–"
    assert [formatting.plain(value) for value in ("", None, [], {})] == ["–"] * 4


def test_a_listing_reads_as_a_sentence():
    assert formatting.listing(["a", "b", "c"]) == "a, b and c"
    assert formatting.listing([]) == ""
