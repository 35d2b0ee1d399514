"""The quick matrix of `make gpu-check`: every runtime that has a GPU device, at every precision,
two batch sizes, both ways to launch.
"""

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Case
from evenbench.harness.core.types import PRECISIONS
from tests.gpu.pairs import pairs

PAIRS = pairs()

BACKENDS = tuple(dict.fromkeys(pair.backend for pair in PAIRS))

PLANS_OF = ({}, {"build": 1}, {"build": 2}, {"cuda_graph": True})
"""TensorRT's three builds of one cell, whose differences are the spread from build to build, and
its graph.
"""

gpu = Case(
    models=(TINY_CNN,),
    backends=BACKENDS,
    precisions=PRECISIONS,
    devices=tuple(dict.fromkeys(pair.device for pair in PAIRS)),
    batch=(1, 8),
    options={name: PLANS_OF for name in ("tensorrt", "tensorrt-rtx") if name in BACKENDS},
)
