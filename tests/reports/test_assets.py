"""Data inside a page: one encoder of JSON and one compression for every page."""

from __future__ import annotations

import base64
import gzip

import pytest

from evenbench.reports import assets


def test_packed_text_comes_back_and_is_the_same_every_time() -> None:
    text = "größer </script> als\n" * 100
    packed = assets.pack(text)
    assert gzip.decompress(base64.b64decode(packed)).decode() == text
    assert packed == assets.pack(text), "no time stamp: a report is reproducible"
    assert len(packed) < len(text)


def test_a_value_is_one_line_of_json_without_nan() -> None:
    assert assets.dump({"a": [1.5, None, "µs\n"]}) == '{"a":[1.5,null,"µs\\n"]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        assets.dump(float("nan"))


def test_a_missing_file_names_the_package_to_install() -> None:
    with pytest.raises(FileNotFoundError, match="pip install --upgrade plotly"):
        assets.read("plotly", "package_data/nothing.js")


def test_json_in_the_page_cannot_end_its_element() -> None:
    assert assets.element({"name": "</script>"}) == '{"name":"\\u003c/script\\u003e"}'
