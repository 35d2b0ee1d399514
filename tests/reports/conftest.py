"""Gives the tests of the report their synthetic records, wherever pytest is started and however it imports."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("synthetic", _module)
_spec.loader.exec_module(_module)
