"""The asv suite: every case declared in this folder as a class, with the axes as params."""

from pathlib import Path

from harness import asv_bridge

globals().update(asv_bridge.suites(Path(__file__).parent, __name__))
