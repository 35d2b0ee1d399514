"""Is C++ faster than Python, and what does ctypes cost? The same libraries on the same artifacts,
called in three ways.
"""

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL
from evenbench import Case

called = Case(
    models=(DIGITS_CNN, MOBILENET_V3_SMALL),
    backends=(
        "ort",
        "cpp-ort",
        "ctypes-ort",
        "openvino",
        "cpp-openvino",
        "torch-script",
        "cpp-libtorch",
        "ctypes-libtorch",
    ),
    threads=(1, 0),
)
