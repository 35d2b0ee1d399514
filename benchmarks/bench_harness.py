"""The overhead of the harness: an empty backend, timed by the loop of all backends."""

from benchmarks.models import DIGITS_CNN
from harness import Case

floor = Case(models=(DIGITS_CNN,), backends=("null",))
