"""ONNX's own operator tests on ONNX Runtime and OpenVINO: `python -m tests.operators`."""
