"""C++ programs on ONNX Runtime, OpenVINO and libtorch, and the same code through ctypes."""
