"""The table of backends: names, import strings and install hints, readable without imports.

A new backend in this tree takes a file, a row in this table and an extra in `pyproject.toml`.
External packages register backends with entry points in the group `harness.backends`.
"""

from evenbench.harness.core.registry import Row

TABLE: tuple[Row, ...] = (
    Row(
        "torch-eager",
        "evenbench.backends.torch.eager:TorchEager",
        "pip install 'evenbench[torch]'",
        baseline=True,
    ),
    Row(
        "torch-script",
        "evenbench.backends.torch.torchscript:TorchScript",
        "pip install 'evenbench[torch]'",
    ),
    Row(
        "torch-compile",
        "evenbench.backends.torch.torch_compile:TorchCompile",
        "pip install 'evenbench[torch]', and a C++ compiler (g++)",
    ),
    Row(
        "torch-aot",
        "evenbench.backends.torch.aot_inductor:TorchAot",
        "pip install 'evenbench[torch]', and a C++ compiler (g++)",
    ),
    Row(
        "ort", "evenbench.backends.onnxruntime.backend:OnnxRuntime", "pip install 'evenbench[ort]'"
    ),
    Row(
        "ort-openvino",
        "evenbench.backends.onnxruntime.openvino_provider:OrtOpenVino",
        "evenbench env build ort-openvino",
        environment="openvino",
    ),
    Row(
        "openvino",
        "evenbench.backends.openvino.backend:OpenVino",
        "pip install 'evenbench[openvino]'",
    ),
    Row(
        "cpp-ort",
        "evenbench.backends.cpp.onnxruntime:CppOrt",
        "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "cpp-openvino",
        "evenbench.backends.cpp.openvino:CppOpenVino",
        "pip install 'evenbench[openvino,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "cpp-libtorch",
        "evenbench.backends.cpp.libtorch:CppLibtorch",
        "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "ctypes-ort",
        "evenbench.backends.cpp.onnxruntime:CtypesOrt",
        "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)",
    ),
    Row(
        "ctypes-libtorch",
        "evenbench.backends.cpp.libtorch:CtypesLibtorch",
        "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)",
    ),
    Row("tvm", "evenbench.backends.tvm.backend:Tvm", "pip install 'evenbench[tvm]'"),
    Row("tract", "evenbench.backends.edge.tract_backend:Tract", "pip install 'evenbench[tract]'"),
    Row(
        "opencv-dnn",
        "evenbench.backends.edge.opencv_dnn:OpenCvDnn",
        "pip install 'evenbench[opencv]'",
    ),
    Row("mnn", "evenbench.backends.edge.mnn_backend:Mnn", "pip install 'evenbench[mnn]'"),
    Row("ncnn", "evenbench.backends.edge.ncnn_backend:Ncnn", "pip install 'evenbench[ncnn]'"),
    Row(
        "executorch",
        "evenbench.backends.edge.executorch_backend:ExecuTorch",
        "pip install 'evenbench[executorch]'",
    ),
    Row("iree", "evenbench.backends.edge.iree_backend:Iree", "pip install 'evenbench[iree]'"),
    Row(
        "tensorrt",
        "evenbench.backends.tensorrt.backend:TensorRt",
        "pip install 'evenbench[tensorrt]', on a machine with an NVIDIA GPU",
    ),
    Row(
        "tensorrt-rtx",
        "evenbench.backends.tensorrt.backend:TensorRtRtx",
        "pip install 'evenbench[tensorrt-rtx]', on a machine with an NVIDIA GPU",
    ),
    Row(
        "steps-pillow",
        "evenbench.backends.steps.libraries:StepsPillow",
        "pip install evenbench",
        runs="steps",
    ),
    Row(
        "steps-opencv",
        "evenbench.backends.steps.libraries:StepsOpenCv",
        "pip install 'evenbench[opencv]'",
        runs="steps",
    ),
    Row(
        "steps-torchvision",
        "evenbench.backends.steps.libraries:StepsTorchvision",
        "pip install 'evenbench[torch]'",
        runs="steps",
    ),
    Row(
        "steps-numpy",
        "evenbench.backends.steps.libraries:StepsNumPy",
        "pip install 'evenbench[photographs]'",
        runs="steps",
    ),
    Row(
        "steps-cpp",
        "evenbench.backends.steps.libraries:StepsCpp",
        "install a C++ compiler such as g++",
        runs="steps",
    ),
    Row("null", "evenbench.backends.controls.null:Null", "nothing to install", role="control"),
    Row(
        "negative-weight",
        "evenbench.backends.controls.negative:OneWeight",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-channels",
        "evenbench.backends.controls.negative:SwappedChannels",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-permuted",
        "evenbench.backends.controls.negative:PermutedInputs",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-stale",
        "evenbench.backends.controls.negative:StaleOutput",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-bf16",
        "evenbench.backends.controls.negative:DefaultPrecision",
        "pip install 'evenbench[openvino]'",
        role="negative",
    ),
    Row(
        "negative-memory",
        "evenbench.backends.controls.dishonest:Memory",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-answers",
        "evenbench.backends.controls.dishonest:Answers",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-eager",
        "evenbench.backends.controls.dishonest:Eager",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-lazy",
        "evenbench.backends.controls.dishonest:Lazy",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-late",
        "evenbench.backends.controls.dishonest:Late",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "negative-clock",
        "evenbench.backends.controls.dishonest:Clock",
        "pip install 'evenbench[ort]'",
        role="negative",
    ),
    Row(
        "reference",
        "evenbench.backends.torch.float64_reference:Reference",
        "pip install 'evenbench[torch]'",
        role="golden",
    ),
    Row(
        "steps-reference",
        "evenbench.backends.steps.reference:StepReference",
        "pip install evenbench",
        role="golden",
    ),
    Row(
        "onnx-evaluator",
        "evenbench.backends.onnx.reference_evaluator:OnnxEvaluator",
        "pip install 'evenbench[onnx]'",
        role="control",
    ),
    Row(
        "onnx-reference",
        "evenbench.backends.onnx.reference_evaluator:OnnxReference",
        "pip install 'evenbench[onnx]'",
        role="golden",
    ),
)

IMPLEMENTATIONS: tuple[Row, ...] = (
    Row(
        "pillow",
        "evenbench.backends.preprocessing.pillow_preprocessor:Pillow",
        "pip install evenbench",
    ),
    Row(
        "opencv",
        "evenbench.backends.preprocessing.opencv_preprocessor:OpenCv",
        "pip install 'evenbench[opencv]'",
    ),
    Row(
        "opencv-area",
        "evenbench.backends.preprocessing.opencv_preprocessor:OpenCvArea",
        "pip install 'evenbench[opencv]'",
    ),
    Row(
        "torchvision",
        "evenbench.backends.preprocessing.torchvision_preprocessor:Torchvision",
        "pip install 'evenbench[torch]'",
    ),
    Row(
        "numpy",
        "evenbench.backends.preprocessing.numpy_preprocessor:NumPy",
        "pip install evenbench",
    ),
    Row("cpp", "evenbench.backends.cpp.preprocessor:Cpp", "install a C++ compiler such as g++"),
)
"""Libraries that run the steps of a recipe, for `Case(preprocessing=...)`."""

DESCRIBE = "evenbench.backends.file_formats:describe"
"""The reader of model files of every format, for `evenbench inspect`."""

INPUT_FILES = "evenbench.backends.input_files:read"
"""The reader of files with a model's inputs, for `--inputs`."""

PEAKS = "evenbench.backends.hardware_peaks:measure"
"""The measurement of this machine's peak speed, for the roofline of a result."""
