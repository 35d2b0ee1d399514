"""One small file per runtime, and this table: names known without imports, the install hint beside the name.

To add a backend in this tree: one file, one row here, one extra in `pyproject.toml`. A package of your own adds one with an
entry point in the group `harness.backends` instead.
"""

from harness.registry import Row

TABLE: tuple[Row, ...] = (
    Row("torch-eager", "backends.torch_eager:TorchEager", "pip install 'evenbench[torch]'"),
    Row("torch-script", "backends.torch_script:TorchScript", "pip install 'evenbench[torch]'"),
    Row("torch-compile", "backends.torch_compile:TorchCompile", "pip install 'evenbench[torch]', and a C++ compiler (g++)"),
    Row("torch-aot", "backends.torch_aot:TorchAot", "pip install 'evenbench[torch]', and a C++ compiler (g++)"),
    Row("ort", "backends.ort:OnnxRuntime", "pip install 'evenbench[ort]'"),
    Row("ort-openvino", "backends.ort_openvino:OrtOpenVino", "evenbench environments build ort-openvino", environment="openvino"),
    Row("openvino", "backends.openvino_native:OpenVino", "pip install 'evenbench[openvino]'"),
    Row("cpp-ort", "backends.native_runtimes:CppOrt", "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)"),
    Row("cpp-openvino", "backends.native_runtimes:CppOpenVino", "pip install 'evenbench[openvino,cpp]', and a C++ compiler (g++)"),
    Row("cpp-libtorch", "backends.native_libtorch:CppLibtorch", "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)"),
    Row("ctypes-ort", "backends.native_runtimes:CtypesOrt", "pip install 'evenbench[ort,cpp]', and a C++ compiler (g++)"),
    Row("ctypes-libtorch", "backends.native_libtorch:CtypesLibtorch", "pip install 'evenbench[torch,cpp]', and a C++ compiler (g++)"),
    Row("tvm", "backends.tvm_relax:Tvm", "pip install 'evenbench[tvm]'"),
    Row("tensorrt", "backends.tensorrt_engine:TensorRt", "pip install 'evenbench[tensorrt]', on a machine with an NVIDIA GPU"),
    Row("tensorrt-rtx", "backends.tensorrt_engine:TensorRtRtx", "pip install 'evenbench[tensorrt-rtx]', on a machine with an NVIDIA GPU"),
    Row("steps-pillow", "backends.step_runners:StepsPillow", "pip install evenbench", runs="steps"),
    Row("steps-opencv", "backends.step_runners:StepsOpenCv", "pip install 'evenbench[opencv]'", runs="steps"),
    Row("steps-torchvision", "backends.step_runners:StepsTorchvision", "pip install 'evenbench[torch]'", runs="steps"),
    Row("steps-numpy", "backends.step_runners:StepsNumPy", "pip install 'evenbench[photographs]'", runs="steps"),
    Row("steps-cpp", "backends.step_runners:StepsCpp", "install a C++ compiler such as g++", runs="steps"),
    Row("null", "backends.null:Null", "nothing to install", role="control"),
    Row("negative-weight", "backends.negative:OneWeight", "pip install 'evenbench[ort]'", role="negative"),
    Row("negative-channels", "backends.negative:SwappedChannels", "pip install 'evenbench[ort]'", role="negative"),
    Row("negative-permuted", "backends.negative:PermutedInputs", "pip install 'evenbench[ort]'", role="negative"),
    Row("negative-stale", "backends.negative:StaleAnswer", "pip install 'evenbench[ort]'", role="negative"),
    Row("negative-bf16", "backends.negative:DefaultPrecision", "pip install 'evenbench[openvino]'", role="negative"),
    Row("reference", "backends.reference:Reference", "pip install 'evenbench[torch]'", role="golden"),
    Row("steps-reference", "backends.step_golden:StepReference", "pip install evenbench", role="golden"),
    Row("onnx-evaluator", "backends.onnx_reference:OnnxEvaluator", "pip install 'evenbench[onnx]'", role="control"),
    Row("onnx-reference", "backends.onnx_reference:OnnxReference", "pip install 'evenbench[onnx]'", role="golden"),
)

IMPLEMENTATIONS: tuple[Row, ...] = (
    Row("pillow", "backends.pixels_pillow:Pillow", "pip install evenbench"),
    Row("opencv", "backends.pixels_opencv:OpenCv", "pip install 'evenbench[opencv]'"),
    Row("opencv-area", "backends.pixels_opencv:OpenCvArea", "pip install 'evenbench[opencv]'"),
    Row("torchvision", "backends.pixels_torchvision:Torchvision", "pip install 'evenbench[torch]'"),
    Row("numpy", "backends.pixels_numpy:NumPy", "pip install evenbench"),
    Row("cpp", "backends.pixels_cpp:Cpp", "install a C++ compiler such as g++"),
)
"""Libraries that do the steps of a recipe, for `Case(preprocessing=...)`."""

DESCRIBE = "backends.model_files:describe"
"""What reads model files of every format, for `evenbench inspect`."""

PEAKS = "backends.peaks:measure"
"""What measures how fast this machine can be at most, for the roofline of a result."""
