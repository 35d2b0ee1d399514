"""The backend `ort-openvino`: ONNX Runtime with the OpenVINO provider, in its environment."""

from __future__ import annotations

from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnxruntime import backend

OTHER_OPTIONS = ("provider", "conv_search", "activations", "ranges", "dynamic")
"""Options of `ort` for other providers or precisions, or untested with this provider."""


class OrtOpenVino(backend.OnnxRuntime):
    """`ort` with provider=openvino, always in the environment of the wheel with this provider."""

    name = "ort-openvino"
    open_outputs = False
    distributions = ("onnxruntime-openvino", *OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",)}
    precisions = ("fp32",)
    devices = ("cpu",)
    options = {
        name: words
        for name, words in backend.OnnxRuntime.options.items()
        if name not in OTHER_OPTIONS
    }
    provider = "openvino"
