"""The table of backends: names, import strings and install hints, readable without imports.

A new backend in this tree takes a file, a row in this table and an extra in `pyproject.toml`.
External packages register backends with entry points in the group `harness.backends`.
"""

from harness.core.registry import Row

TABLE: tuple[Row, ...] = (
    Row(
        "torch-eager",
        "backends.torch.eager:TorchEager",
        "pip install 'evenbench[torch]'",
        baseline=True,
    ),
    Row("torch-script", "backends.torch.torchscript:TorchScript", "pip install 'evenbench[torch]'"),
    Row(
        "torch-compile",
        "backends.torch.torch_compile:TorchCompile",
        "pip install 'evenbench[torch]', and a C++ compiler (g++)",
    ),
    Row(
        "torch-aot",
        "backends.torch.aot_inductor:TorchAot",
        "pip install 'evenbench[torch]', and a C++ compiler (g++)",
    ),
    Row("ort", "backends.onnxruntime.backend:OnnxRuntime", "pip install 'evenbench[ort]'"),
    Row(
        "ort-openvino",
        "backends.onnxruntime.openvino_provider:OrtOpenVino",
        "evenbench env build ort-openvino",
        environment="openvino",
    ),
    Row("openvino", "backends.openvino.backend:OpenVino", "pip install 'evenbench[openvino]'"),
    Row(
        "cpp-ort",
        "backends.cpp.onnxruntime:CppOrt",
        "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "cpp-openvino",
        "backends.cpp.openvino:CppOpenVino",
        "pip install 'evenbench[openvino,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "cpp-libtorch",
        "backends.cpp.libtorch:CppLibtorch",
        "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "ctypes-ort",
        "backends.cpp.onnxruntime:CtypesOrt",
        "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "ctypes-libtorch",
        "backends.cpp.libtorch:CtypesLibtorch",
        "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)",
    ),
    Row("tvm", "backends.tvm.backend:Tvm", "pip install 'evenbench[tvm]'"),
    Row(
        "tensorrt",
        "backends.tensorrt.backend:TensorRt",
        "pip install 'evenbench[tensorrt]', on a machine with an NVIDIA GPU",
    ),
    Row(
        "tensorrt-rtx",
        "backends.tensorrt.backend:TensorRtRtx",
        "pip install 'evenbench[tensorrt-rtx]', on a machine with an NVIDIA GPU",
    ),
    Row(
        "steps-pillow",
        "backends.steps.libraries:StepsPillow",
        "pip install evenbench",
        runs="steps",
    ),
    Row(
        "steps-opencv",
        "backends.steps.libraries:StepsOpenCv",
        "pip install 'evenbench[opencv]'",
        runs="steps",
    ),
    Row(
        "steps-torchvision",
        "backends.steps.libraries:StepsTorchvision",
        "pip install 'evenbench[torch]'",
        runs="steps",
    ),
    Row(
        "steps-numpy",
        "backends.steps.libraries:StepsNumPy",
        "pip install 'evenbench[photographs]'",
        runs="steps",
    ),
    Row(
        "steps-cpp",
        "backends.steps.libraries:StepsCpp",
        "install a C++ compiler such as g++",
        runs="steps",
    ),
    Row("null", "backends.controls.null:Null", "nothing to install", role="control"),
    Row(
        "negative-weight",
        "backends.controls.negative:OneWeight",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-channels",
        "backends.controls.negative:SwappedChannels",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-permuted",
        "backends.controls.negative:PermutedInputs",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-stale",
        "backends.controls.negative:StaleOutput",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-bf16",
        "backends.controls.negative:DefaultPrecision",
        "pip install 'evenbench[openvino]'",
        role="negative",
    ),
    Row(
        "reference",
        "backends.torch.float64_reference:Reference",
        "pip install 'evenbench[torch]'",
        role="golden",
    ),
    Row(
        "steps-reference",
        "backends.steps.reference:StepReference",
        "pip install evenbench",
        role="golden",
    ),
    Row(
        "onnx-evaluator",
        "backends.onnx.reference_evaluator:OnnxEvaluator",
        "pip install 'evenbench[onnx]'",
        role="control",
    ),
    Row(
        "onnx-reference",
        "backends.onnx.reference_evaluator:OnnxReference",
        "pip install 'evenbench[onnx]'",
        role="golden",
    ),
)

IMPLEMENTATIONS: tuple[Row, ...] = (
    Row("pillow", "backends.preprocessing.pillow_preprocessor:Pillow", "pip install evenbench"),
    Row(
        "opencv",
        "backends.preprocessing.opencv_preprocessor:OpenCv",
        "pip install 'evenbench[opencv]'",
    ),
    Row(
        "opencv-area",
        "backends.preprocessing.opencv_preprocessor:OpenCvArea",
        "pip install 'evenbench[opencv]'",
    ),
    Row(
        "torchvision",
        "backends.preprocessing.torchvision_preprocessor:Torchvision",
        "pip install 'evenbench[torch]'",
    ),
    Row("numpy", "backends.preprocessing.numpy_preprocessor:NumPy", "pip install evenbench"),
    Row("cpp", "backends.cpp.preprocessor:Cpp", "install a C++ compiler such as g++"),
)
"""Libraries that run the steps of a recipe, for `Case(preprocessing=...)`."""

DESCRIBE = "backends.file_formats:describe"
"""The reader of model files of every format, for `evenbench inspect`."""

PEAKS = "backends.hardware_peaks:measure"
"""The measurement of this machine's peak speed, for the roofline of a result."""
