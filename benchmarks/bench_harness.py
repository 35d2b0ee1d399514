"""The harness's own floor: a backend that does nothing, timed by the same loop as all others."""

from benchmarks.models import DIGITS_CNN
from harness import Case

floor = Case(models=(DIGITS_CNN,), backends=("null",))
