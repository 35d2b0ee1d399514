"""ONNX Runtime and the execution providers."""
