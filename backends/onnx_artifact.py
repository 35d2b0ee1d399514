"""The public name of `backends.onnx.export`, which backends in other packages import."""

from backends.onnx.export import FILE, OnnxBackend, export, key, supports_onnx

__all__ = ["FILE", "OnnxBackend", "export", "key", "supports_onnx"]
