"""Gives the tests of the report their synthetic records, wherever pytest is started and however it
imports, and one browser.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.reports import browser

_spec = importlib.util.spec_from_file_location(
    "synthetic", Path(__file__).with_name("synthetic.py")
)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("synthetic", _module)
_spec.loader.exec_module(_module)


@pytest.fixture(scope="session")
def chromium():
    """The headless Chromium of the system; required if EVENBENCH_REQUIRE_BROWSER is 1."""
    promised = os.environ.get("EVENBENCH_REQUIRE_BROWSER") == "1"
    if not browser.installed():
        (pytest.fail if promised else pytest.skip)("no Chromium found; apt-get install chromium")
    if not promised:
        pytest.importorskip("playwright.sync_api")
    with browser.launched() as found:
        yield found
