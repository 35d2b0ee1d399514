"""The contract on steps around a network: what holds of a session that runs one holds of those that
decode, resize and drop boxes.
"""

from __future__ import annotations

from benchmarks import steps
from evenbench.harness.testing import BackendContract


class TestStepsOpenCv(BackendContract):
    name = "steps-opencv"
    model = steps.PHOTO_SAMPLED


class TestStepsNumPy(BackendContract):
    name = "steps-numpy"
    model = steps.NMS
