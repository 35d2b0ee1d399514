"""Publishes every case declared beside this file to airspeed velocity, as a class with the case's
axes as params.
"""

from pathlib import Path

from harness import asv_bridge

globals().update(asv_bridge.suites(Path(__file__).parent, __name__))
