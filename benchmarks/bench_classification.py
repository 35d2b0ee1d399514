"""Image classification, every runtime, fp32 on the CPU."""

from benchmarks.models import DIGITS_CNN, EFFICIENTNET_B0, MOBILENET_V3_SMALL, RESNET18, RESNET50
from harness import ALL, Case

latency = Case(models=(DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18, EFFICIENTNET_B0, RESNET50), backends=ALL)
