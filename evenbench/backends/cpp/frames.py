"""Frames in C++ programs: each program preprocesses, infers, postprocesses and draws.

Frames arrive decoded; see `src/frame_pipeline.hpp` and `src/frame_stream.hpp`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from evenbench.backends.cpp import session
from evenbench.backends.cpp.preprocessor import FILTERS, tall_first
from evenbench.harness import Unsupported
from evenbench.harness.pipeline.frame_spec import (
    CropSpec,
    FrameResult,
    FrameSpec,
    LayoutSpec,
    ResizeSpec,
    StreamProcessor,
    StreamResult,
)
from evenbench.harness.pipeline.stages import PipelineRun

STAGES = ("preprocess", "infer", "postprocess", "draw")
"""Stages in the order of the program's reported times."""

BYTE_EXACT = ("pillow", "cpp")
"""Libraries reproduced to the byte by the C++ steps, except Pillow's sampling without antialias."""


class FrameSession(session.ProgramSession, StreamProcessor):
    """A program configured for frames: processed singly, or as a stream with several in flight."""

    draws_letters = False

    def configure_frames(self, spec: FrameSpec) -> None:
        import numpy as np

        reason = refuses(spec)
        if reason:
            raise Unsupported(reason)
        palette = f"{self.folder.name}/palette.npy"
        np.save(palette, spec.palette)
        self.program.ask("pipeline", f"palette={palette}", *program_options(spec))

    def process_frame(self, pixels: Any, keep: bool) -> FrameResult:
        import numpy as np

        file = f"{self.folder.name}/frame.npy"
        np.save(file, pixels)
        times, _ = self.program.ask("frame", file, *([self.folder.name] if keep else []))
        stages = dict(zip(STAGES, _numbers(times), strict=True))
        return self._kept(stages, "") if keep else FrameResult(stages)

    def preload_frames(self, shape: tuple[int, int, int, int], frames: Iterable[Any]) -> None:
        import numpy as np

        file = Path(self.folder.name) / "frame.npy"
        self.program.ask("hold", *shape[:3])
        # One at a time: all frames would fill a temporary folder, perhaps in memory.
        for pixels in frames:
            np.save(file, pixels)
            self.program.ask("add", file)

    def stream_frames(self, in_flight: int, period_ns: int, keep: Collection[int]) -> StreamResult:
        fields = self.program.ask(
            "stream", in_flight, period_ns, self.folder.name, ",".join(map(str, keep))
        )
        wall, *stage_times, dropped, delays, most = map(_numbers, fields)
        stages = dict(zip(STAGES, stage_times, strict=True))
        drawn, missing = len(stages["draw"]), set(dropped)
        run = PipelineRun(wall[0], stages, drawn, tuple(dropped), tuple(delays), most[0])
        numbers = [number for number in range(drawn + len(missing)) if number not in missing]
        times_by_frame = {
            number: {stage: times[place] for stage, times in stages.items()}
            for place, number in enumerate(numbers)
            if number in keep
        }
        return StreamResult(
            run,
            {number: self._kept(times, f"{number}_") for number, times in times_by_frame.items()},
        )

    def _kept(self, stages: dict[str, int], prefix: str) -> FrameResult:
        import numpy as np

        files = [Path(f"{self.folder.name}/{prefix}{name}.npy") for name in ("tensor", "drawn")]
        tensor, drawn = (np.load(file) for file in files)
        for file in files:
            file.unlink()
        return FrameResult(stages, tensor, self._read(prefix), drawn)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def refuses(spec: FrameSpec) -> str:
    """Explain why the C++ steps cannot reproduce the preprocessing, or return an empty string."""
    if spec.implementation not in BYTE_EXACT:
        return (
            f"C++ cannot reproduce {spec.implementation}; supported are {' and '.join(BYTE_EXACT)}"
        )
    samples = any(
        isinstance(step, ResizeSpec) and not step.antialias and step.filter != "nearest"
        for step in spec.steps
    )
    if samples and spec.implementation != "cpp":
        return (
            f"C++ cannot reproduce {spec.implementation}'s sampling without antialias "
            "exactly; add +cpp to the model's name"
        )
    return ""


def program_options(spec: FrameSpec) -> list[str]:
    """Return the program's options as words of name=value."""
    view = spec.view
    options: dict[str, object] = {
        **{f"step {number}": _step(step) for number, step in enumerate(spec.steps)},
        "input": spec.input,
        "shape": _join(spec.shape),
        "task": spec.task,
        **spec.reads,
        "threshold": repr(spec.threshold),
        "mask_level": repr(spec.mask_level),
        "opacity": spec.opacity,
        "view": _join((view.left, view.top, view.right, view.bottom, view.width, view.height)),
        "box": _join(view.box),
    }
    return [f"{name}={value}" for name, value in options.items()]


def _step(step: ResizeSpec | CropSpec | LayoutSpec) -> str:
    if isinstance(step, ResizeSpec):
        return _join(
            (
                "resize",
                step.width,
                step.height,
                FILTERS.index(step.filter),
                int(step.antialias),
                int(tall_first()),
            )
        )
    if isinstance(step, CropSpec):
        return _join(("crop", step.left, step.top, step.size))
    pairs = [_float32(value) for pair in zip(step.mean, step.std, strict=True) for value in pair]
    return _join(("lay_out", int(step.order == "CHW"), _float32(step.scale), *pairs))


def _float32(value: float) -> float:
    """Round to the nearest float32 once, as NumPy does; decimal digits then are exact."""
    return ctypes.c_float(value).value


def _join(values: tuple[object, ...]) -> str:
    return " ".join(map(str, values))
