"""The public name of the shared ONNX export, for backends in other packages."""

from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnx.export import FILE, export, key, supports_onnx

__all__ = ["FILE", "OnnxBackend", "export", "key", "supports_onnx"]
