"""ONNX Runtime with the OpenVINO provider, in the environment of the wheel that has it, which
cannot share this one.
"""

from __future__ import annotations

from backends.onnx.backend import OnnxBackend
from backends.onnxruntime import backend

ELSEWHERE = ("provider", "conv_search", "activations", "ranges", "dynamic")
"""Options of `ort` that mean something with other providers or precisions only, or were not seen
with this one.
"""


class OrtOpenVino(backend.OnnxRuntime):
    """`ort` with the option `provider=openvino`, as a backend that always lives where that provider
    is.
    """

    name = "ort-openvino"
    open_outputs = False
    distributions = ("onnxruntime-openvino", *OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",)}
    precisions = ("fp32",)
    devices = ("cpu",)
    options = {
        name: words for name, words in backend.OnnxRuntime.options.items() if name not in ELSEWHERE
    }
    provider = "openvino"
