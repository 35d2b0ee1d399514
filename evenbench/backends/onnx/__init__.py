"""ONNX files: export, precision conversion, description and reference evaluation."""
