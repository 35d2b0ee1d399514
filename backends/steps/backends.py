"""Libraries that do what lies before and after a network, as backends: the same clock, the same
inputs, and parity like any runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backends.cpp import build, preprocessor
from backends.preprocessing import (
    numpy_preprocessor,
    opencv_preprocessor,
    pillow_preprocessor,
    torchvision_preprocessor,
)
from backends.steps import operations, reference
from harness import Attestation, Backend, Cell, Model, Session, Source
from harness.inputs import batches
from harness.inputs.preprocessors import Implementation, chain
from harness.preprocess import Decode

if TYPE_CHECKING:
    from harness.core.session import Arrays

Operation = Callable[[Model, Any], Any]


class StepSession(Session):
    """An operation on what is bound; `backend` says how its library takes arrays and gives them
    back.
    """

    def __init__(self, operation: Operation, backend: StepBackend, cell: Cell) -> None:
        self.operation, self.backend, self.cell = operation, backend, cell
        self.inputs: Mapping[str, Any] = {}
        self.result: Any = None

    def bind(self, inputs: Arrays) -> None:
        self.inputs = {name: self.backend.bound(array) for name, array in inputs.items()}

    def step(self) -> None:
        self.result = self.operation(self.cell.model, self.inputs)

    def fetch(self) -> Arrays:
        import numpy as np

        (spec,) = self.cell.model.outputs
        made = reference.formed(self.backend.on_host(self.result), spec)
        return {
            spec.name: np.ascontiguousarray(made, dtype=spec.dtype)
            if made.dtype.kind in "iu"
            else made
        }

    def attest(self) -> Attestation:
        import numpy as np

        floats = {
            str(array.dtype).rpartition(".")[2]
            for array in (*self.inputs.values(), self.result)
            if "float" in str(array.dtype)
        }
        return Attestation(
            runtime=self.backend.runtime,
            version=self.backend.version(),
            device="cpu",
            precision={"float32": "fp32", "float64": "fp64"}.get(
                ",".join(sorted(floats)), ",".join(sorted(floats)) or "no floats"
            ),
            threads=self.backend.threads(),
            denormals="preserved" if np.float32(1e-39) * np.float32(1.0) else "flushed",
            spinning=self.backend.spinning(),
            details={
                "how": self.backend.how(self.cell.model),
                "libraries": self.backend.libraries(),
            },
        )

    def close(self) -> None:
        self.inputs, self.result = {}, None


class StepBackend(Backend):
    """What the libraries share. `after` maps the operations behind a network to this library's
    functions.
    """

    steps = True
    runtime: ClassVar[str]
    pixels: ClassVar[type[Implementation]]
    after: ClassVar[Mapping[str, Operation]]

    def supports(self, cell: Cell) -> str:
        why = super().supports(cell)
        operation = reference.operation_of(cell.model)
        if why or operation in self.after:
            return why
        if operation != "photo":
            return f"{self.runtime} has no {operation or cell.model.build}; it does photo{''.join(f', {name}' for name in self.after)}"
        library = self.pixels()
        return next(
            filter(
                None,
                (
                    library.refuses(step)
                    for step in (cell.model.recipe.steps if cell.model.recipe else ())
                ),
            ),
            "",
        )

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        versions = {name: batches.version_of(name) for name in self.distributions}
        return {"backend": cell.backend, "recipe": cell.model.recipe, "versions": versions}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        (folder / "step.txt").write_text(f"{cell.model.build}\n")
        return {"format": "step", "how": self.how(cell.model)}

    def load(self, folder: Path, cell: Cell) -> Session:
        self.configure(cell)
        operation = reference.operation_of(cell.model)
        return StepSession(
            self._photo(cell.model) if operation == "photo" else self.after[operation], self, cell
        )

    def _photo(self, model: Model) -> Operation:
        assert model.recipe is not None
        library, steps = self.pixels(), model.recipe.steps
        if isinstance(steps[0], Decode):
            return lambda model, inputs: chain(library, steps, reference.content_of(inputs))
        return lambda model, inputs: chain(library, steps, library.opened(inputs["pixels"]))

    def how(self, model: Model) -> str:
        """In words, by which functions."""
        operation = reference.operation_of(model)
        if operation != "photo":
            return " ".join((self.after[operation].__doc__ or "").split())
        named = dict.fromkeys(
            type(step).__name__ for step in (model.recipe.steps if model.recipe else ())
        )
        return "; ".join(
            f"{name}: {self.pixels.does[name]}" for name in named if name in self.pixels.does
        )

    def configure(self, cell: Cell) -> None:
        """Set the library's threads, where it has any of its own."""

    def bound(self, array: Any) -> Any:
        """A host array as the library has it."""
        return array

    def on_host(self, result: Any) -> Any:
        """A result as an array that nothing writes to again."""
        return result

    def version(self) -> str:
        """As the loaded library says it."""
        raise NotImplementedError

    def libraries(self) -> Mapping[str, str]:
        """What else took part, and its version."""
        return {}

    def threads(self) -> int:
        """As the library says them."""
        return 1

    def spinning(self) -> str:
        """Whether idle threads spin."""
        return "off"


def _alone(cell: Cell, name: str) -> str:
    """Why a library without threads cannot have those of the cell, in words, or an empty string."""
    return (
        ""
        if cell.threads == 1
        else f"{name} computes in one thread, not {cell.threads}; give the case threads=(1,)"
    )


def _codecs() -> dict[str, str]:
    """The libraries inside Pillow."""
    import PIL
    from PIL import features

    turbo = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return {
        "Pillow": PIL.__version__,
        turbo: str(features.version("libjpeg_turbo") or features.version("jpg")),
    }


class StepsPillow(StepBackend):
    """Pillow computes in one thread."""

    name = "steps-pillow"
    runtime = "Pillow"
    requires = ("PIL", "numpy")
    distributions = ("pillow", "numpy")
    pixels = pillow_preprocessor.Pillow
    after: ClassVar[Mapping[str, Operation]] = {"paste_masks": operations.pillow_paste}

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or _alone(cell, "Pillow")

    def version(self) -> str:
        import PIL

        return PIL.__version__

    def libraries(self) -> Mapping[str, str]:
        import numpy as np

        return {**_codecs(), "NumPy": np.__version__}


class StepsNumPy(StepBackend):
    """NumPy; its matrix products run in a BLAS with threads of its own, which threadpoolctl reads."""

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

        np.dot(np.ones(1), np.ones(1))  # the BLAS is loaded now, and has threads to limit
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


class StepsCpp(StepBackend):
    """The C++ by which native programs preprocess, through ctypes: one thread, and Pillow decodes."""

    name = "steps-cpp"
    runtime = "C++"
    requires = ("numpy", "PIL")
    distributions = ("pillow", "numpy")
    pixels = preprocessor.Cpp
    after: ClassVar[Mapping[str, Operation]] = {}

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or _alone(cell, "this C++")

    def lacks(self, cell: Cell) -> str:
        return (
            ""
            if build.compiler()
            else "these steps are compiled on first use, and a C++20 compiler (such as g++) is missing"
        )

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        build.built_pixels()
        return super().prepare(source, cell, folder)

    def configure(self, cell: Cell) -> None:
        preprocessor.load()

    def version(self) -> str:
        return build.compiler_version()

    def libraries(self) -> Mapping[str, str]:
        import numpy as np

        return {**_codecs(), "NumPy": np.__version__, "flags": " ".join(build.FLAGS)}


class StepsOpenCv(StepBackend):
    """OpenCV; its threads are set and read back."""

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
            name.strip(): what.strip()
            for name, _, what in lines
            if name.strip() in ("JPEG", "PNG", "Parallel framework")
        }
        return {**built, "NumPy": np.__version__, "optimised": str(cv2.useOptimized())}

    def threads(self) -> int:
        import cv2

        return int(cv2.getNumThreads())

    def spinning(self) -> str:
        return "runtime default"  # its own pthreads pool spins briefly, then sleeps; there is no switch to read


class StepsTorchvision(StepBackend):
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
        from backends.torch import placement

        placement.configure(cell)

    def bound(self, array: Any) -> Any:
        import numpy as np
        import torch

        # The decoder takes bytes and the pixels of a photo are opened by the step; only what a
        # network gives is a tensor already.
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
