"""OpenVINO, from ONNX or PyTorch."""
