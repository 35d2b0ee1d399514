"""What it costs when idle threads sleep instead of spinning: every runtime that has a switch, both
ways, in one run.
"""

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18
from evenbench import Case

BOTH = ({}, {"spinning": "off"})
BACKENDS = ("torch-eager", "torch-script", "torch-compile", "ort")

waiting = Case(
    models=(DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18),
    backends=BACKENDS,
    options=dict.fromkeys(BACKENDS, BOTH),
)
