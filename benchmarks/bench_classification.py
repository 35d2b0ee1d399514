"""Image classification on the CPU in fp32: five popular runtimes, and TVM.

`matrix.py` declares all runtimes.
"""

from benchmarks.models import DIGITS_CNN, EFFICIENTNET_B0, MOBILENET_V3_SMALL, RESNET18, RESNET50
from harness import Case

latency = Case(
    models=(DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18, EFFICIENTNET_B0, RESNET50),
    backends=("torch-eager", "torch-script", "torch-compile", "ort", "openvino"),
)

# A small model on TVM, labelled `untuned` before `evenbench tune benchmarks -k tvm --trials 13`.
# Tuning takes some minutes.
searched = Case(models=(DIGITS_CNN,), backends=("tvm",))
