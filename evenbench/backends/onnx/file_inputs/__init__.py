"""Inputs of ONNX files: declared tensors, sizes of free dimensions, and valid values."""
