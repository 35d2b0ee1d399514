"""All runtimes at all precisions: the long comparison behind docs/results/runtimes.md.

Run with `make matrix`. The name avoids `bench_*.py`, because the default suite takes only minutes.
"""

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18
from harness import ALL, Case

SMALL = (DIGITS_CNN, MOBILENET_V3_SMALL)
PRECISIONS = ("fp32", "fp16", "bf16", "int8-dynamic", "int8-static")

runtimes = Case(SMALL, backends=ALL, precisions=PRECISIONS)

heavy = Case(
    (RESNET18,),
    backends=("torch-eager", "torch-compile", "torch-aot", "ort", "openvino"),
    precisions=("fp32", "bf16", "int8-static"),
)
"""A network with accurate int8, large enough to show the speed-up of few bits on a processor."""

releases = Case(SMALL, backends=("ort@1.24.1", "ort@1.31.1", "ort-openvino"))

batches = Case(
    (MOBILENET_V3_SMALL,),
    backends=("torch-eager", "torch-compile", "ort", "openvino"),
    batch=(8, 32),
)

one_thread = Case(SMALL, backends=ALL, threads=(1,))

layouts = Case(
    (MOBILENET_V3_SMALL,),
    backends=("torch-eager", "torch-compile"),
    options={
        name: ({"memory_format": "channels_last"},) for name in ("torch-eager", "torch-compile")
    },
)

graph_levels = Case(
    (MOBILENET_V3_SMALL,),
    backends=("ort",),
    options={"ort": tuple({"optimization": level} for level in ("disable", "basic", "extended"))},
)

throughput = Case(
    (MOBILENET_V3_SMALL,),
    backends=("openvino",),
    options={"openvino": ({"hint": "throughput", "requests": 2},)},
)

gpu = Case(
    SMALL,
    backends=ALL,
    precisions=("fp32", "tf32", "fp16", "bf16", "int8-static"),
    devices=("cuda:0",),
)

ahead = Case(
    SMALL,
    backends=("tensorrt-rtx",),
    precisions=("fp32", "tf32", "fp16", "bf16", "int8-static"),
    devices=("cuda:0",),
    options={"tensorrt-rtx": ({"target": "SM89"},)},
)
"""Plans built on a machine without a GPU, and executed on a machine with the target GPU."""
