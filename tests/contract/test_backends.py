"""Every backend of this tree under the shipped contract."""

from evenbench.harness.testing import BackendContract


class TestTorchEager(BackendContract):
    name = "torch-eager"


class TestTorchScript(BackendContract):
    name = "torch-script"


class TestTorchCompile(BackendContract):
    name = "torch-compile"


class TestTorchAot(BackendContract):
    name = "torch-aot"


class TestOnnxRuntime(BackendContract):
    name = "ort"


class TestOpenVino(BackendContract):
    name = "openvino"


NO_ANSWER = "null does nothing, so it has no answer"


class TestNull(BackendContract):
    name = "null"
    expected_failures = {"test_new_inputs_are_used": NO_ANSWER, "test_parity": NO_ANSWER}
