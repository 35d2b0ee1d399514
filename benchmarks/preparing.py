"""One network fed by three libraries, each with inputs of its own: run it by its name, `evenbench
run benchmarks/preparing.py`.

The file is not called `bench_*.py`, so that the default suite stays one of minutes. Every library
makes a model of its own, judged by a golden on its own inputs: what is compared within one are the
runtimes, and what the libraries differ by is told by `evenbench levels`.
"""

from benchmarks.models import MOBILENET_V3_SMALL
from harness import Case

prepared = Case(
    models=(MOBILENET_V3_SMALL,),
    backends=("torch-eager", "ort"),
    preprocessing=("pillow", "torchvision", "cpp"),
)
