"""Every way to quantise that reads the same calibration photographs, on a network that takes it
well and on one that does not.
"""

from benchmarks.models import MOBILENET_V3_SMALL, RESNET18
from evenbench import Case

MODELS = (MOBILENET_V3_SMALL, RESNET18)

exact = Case(models=MODELS, backends=("openvino",), precisions=("fp32", "bf16"))
int8 = Case(
    models=MODELS,
    backends=("ort", "openvino"),
    precisions=("int8-static",),
    options={
        "ort": ({}, {"activations": "s8"}),
        "openvino": ({}, {"activations": "s8"}, {"ranges": "percentile"}, {"quantizer": "nncf"}),
    },
)
