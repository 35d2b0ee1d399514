"""The `steps-*` backends, one per library, with the clock, inputs and parity of runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from evenbench.backends.cpp import build, preprocessor, toolchain
from evenbench.backends.preprocessing import (
    numpy_preprocessor,
    opencv_preprocessor,
    pillow_preprocessor,
    torchvision_preprocessor,
)
from evenbench.backends.steps import backend, operations
from evenbench.backends.steps.operations import Operation
from evenbench.backends.torch import placement
from evenbench.harness import Cell, Source


def _refuses_threads(cell: Cell, name: str) -> str:
    """Explain a library's limit of a single thread, or return an empty string."""
    return (
        ""
        if cell.threads == 1
        else f"{name} computes in one thread, not {cell.threads}; set threads=(1,) in the case"
    )


def _codecs() -> dict[str, str]:
    """Return the versions of Pillow and the JPEG library inside."""
    import PIL
    from PIL import features

    turbo = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return {
        "Pillow": PIL.__version__,
        turbo: str(features.version("libjpeg_turbo") or features.version("jpg")),
    }


class StepsPillow(backend.StepBackend):
    """Pillow, in a single thread."""

    name = "steps-pillow"
    runtime = "Pillow"
    requires = ("PIL", "numpy")
    distributions = ("pillow", "numpy")
    pixels = pillow_preprocessor.Pillow
    after: ClassVar[Mapping[str, Operation]] = {"paste_masks": operations.pillow_paste}

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or _refuses_threads(cell, "Pillow")

    def version(self) -> str:
        import PIL

        return PIL.__version__

    def libraries(self) -> Mapping[str, str]:
        import numpy as np

        return {**_codecs(), "NumPy": np.__version__}


class StepsNumPy(backend.StepBackend):
    """NumPy; matrix products run in the threads of a BLAS, read by threadpoolctl."""

    name = "steps-numpy"
    runtime = "NumPy"
    requires = ("numpy", "PIL", "threadpoolctl")
    distributions = ("numpy", "pillow")
    pixels = numpy_preprocessor.NumPy
    after: ClassVar[Mapping[str, Operation]] = {
        "nms": operations.numpy_nms,
        "paste_masks": operations.numpy_paste,
        "argmax": operations.numpy_argmax,
    }

    def configure(self, cell: Cell) -> None:
        import numpy as np
        import threadpoolctl

        # Loads the BLAS, so that its threads can be limited.
        np.dot(np.ones(1), np.ones(1))
        threadpoolctl.threadpool_limits(cell.threads, user_api="blas")

    def version(self) -> str:
        import numpy as np

        return np.__version__

    def libraries(self) -> Mapping[str, str]:
        return {
            **_codecs(),
            **{pool["internal_api"]: str(pool["version"]) for pool in self._pools()},
        }

    def threads(self) -> int:
        return max((int(pool["num_threads"]) for pool in self._pools()), default=1)

    def _pools(self) -> list[dict[str, Any]]:
        import threadpoolctl

        return [
            pool
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
        ]


class StepsCpp(backend.StepBackend):
    """The C++ steps of native programs through ctypes, in a single thread; Pillow decodes."""

    name = "steps-cpp"
    runtime = "C++"
    requires = ("numpy", "PIL")
    distributions = ("pillow", "numpy")
    shares_artifact = True  # the library that prepare compiles is no part of the artifact
    pixels = preprocessor.Cpp
    after: ClassVar[Mapping[str, Operation]] = {}

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or _refuses_threads(cell, "this C++")

    def lacks(self, cell: Cell) -> str:
        return (
            ""
            if toolchain.compiler()
            else (
                "the C++ steps are compiled on first use, and no C++20 compiler was found; "
                "install g++ or clang++"
            )
        )

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        build.build_preprocessing()
        return super().prepare(source, cell, folder)

    def configure(self, cell: Cell) -> None:
        preprocessor.load()

    def version(self) -> str:
        return toolchain.compiler_version()

    def libraries(self) -> Mapping[str, str]:
        import numpy as np

        return {**_codecs(), "NumPy": np.__version__, "flags": " ".join(build.FLAGS)}


class StepsOpenCv(backend.StepBackend):
    """OpenCV, with the number of threads set and read back."""

    name = "steps-opencv"
    runtime = "OpenCV"
    requires = ("cv2", "numpy")
    distributions = ("opencv-python-headless", "numpy")
    pixels = opencv_preprocessor.OpenCv
    after: ClassVar[Mapping[str, Operation]] = {
        "nms": operations.opencv_nms,
        "paste_masks": operations.opencv_paste,
        "argmax": operations.opencv_argmax,
    }

    def configure(self, cell: Cell) -> None:
        import cv2

        cv2.setNumThreads(cell.threads)

    def version(self) -> str:
        import cv2

        return cv2.__version__

    def libraries(self) -> Mapping[str, str]:
        import cv2
        import numpy as np

        lines = (line.partition(":") for line in cv2.getBuildInformation().splitlines())
        built = {
            name.strip(): value.strip()
            for name, _, value in lines
            if name.strip() in ("JPEG", "PNG", "Parallel framework")
        }
        return {**built, "NumPy": np.__version__, "optimised": str(cv2.useOptimized())}

    def threads(self) -> int:
        import cv2

        return int(cv2.getNumThreads())

    def spinning(self) -> str:
        # OpenCV's thread pool spins briefly, then sleeps; there is no switch to read.
        return "runtime default"


class StepsTorchvision(backend.StepBackend):
    """torchvision on tensors, with torch's threads."""

    name = "steps-torchvision"
    runtime = "torchvision"
    requires = ("torch", "torchvision")
    distributions = ("torchvision", "torch")
    pixels = torchvision_preprocessor.Torchvision
    after: ClassVar[Mapping[str, Operation]] = {
        "nms": operations.torchvision_nms,
        "paste_masks": operations.torchvision_paste,
        "argmax": operations.torchvision_argmax,
    }

    def configure(self, cell: Cell) -> None:

        placement.configure(cell)

    def bound(self, array: Any) -> Any:
        import numpy as np
        import torch

        # The decoder takes bytes, and the step opens a photo's pixels; only network outputs are
        # tensors.
        return torch.from_numpy(array) if array.dtype == np.float32 else array

    def on_host(self, result: Any) -> Any:
        return result.numpy() if hasattr(result, "numpy") else result

    def version(self) -> str:
        import torchvision

        return str(torchvision.__version__)

    def libraries(self) -> Mapping[str, str]:
        import torch

        return {"torch": torch.__version__, "ATen": torch.backends.cpu.get_cpu_capability()}

    def threads(self) -> int:
        import torch

        return int(torch.get_num_threads())

    def spinning(self) -> str:
        import os

        return "off" if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else "on"
