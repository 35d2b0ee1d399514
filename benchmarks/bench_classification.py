"""Image classification on the CPU in fp32: the five runtimes that most people choose between, and
TVM. `matrix.py` has all of them.
"""

from benchmarks.models import DIGITS_CNN, EFFICIENTNET_B0, MOBILENET_V3_SMALL, RESNET18, RESNET50
from harness import Case

latency = Case(
    models=(DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18, EFFICIENTNET_B0, RESNET50),
    backends=("torch-eager", "torch-script", "torch-compile", "ort", "openvino"),
)

# One small model on TVM, which says `untuned` until `evenbench tune benchmarks -k tvm --trials 13`
# has searched for some minutes.
searched = Case(models=(DIGITS_CNN,), backends=("tvm",))
