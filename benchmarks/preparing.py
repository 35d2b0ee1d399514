"""A network with inputs from three preprocessing libraries.

Run with `evenbench run benchmarks/preparing.py`; the default suite takes only minutes and leaves
this file out. Each library declares a separate model, with a golden on the library's inputs, so
results compare runtimes within a library. `evenbench preprocess-diff` compares the libraries.
"""

from benchmarks.models import MOBILENET_V3_SMALL
from harness import Case

prepared = Case(
    models=(MOBILENET_V3_SMALL,),
    backends=("torch-eager", "ort"),
    preprocessing=("pillow", "torchvision", "cpp"),
)
