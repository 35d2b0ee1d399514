"""C++ programs that pass whole frames: decoded pixels go in, every later stage runs and is timed
there (`cpp/line.hpp`, `passage.hpp`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from backends.cpp import session
from backends.cpp.preprocessor import FILTERS, tall_first
from harness import Unsupported
from harness.pipeline.frame_spec import (
    CropSpec,
    FrameResult,
    FrameSpec,
    LayoutSpec,
    ResizeSpec,
    StreamProcessor,
    StreamResult,
)
from harness.pipeline.stages import PipelineRun

STAGES = ("preprocess", "infer", "postprocess", "draw")
"""In the order in which the program tells their times."""

BYTE_EXACT = ("pillow", "cpp")
"""The libraries whose levels the program's steps make, to the byte; of Pillow's not the bilinear
sampling without antialias.
"""


class FrameSession(session.ProgramSession, StreamProcessor):
    """A program that is told what to do with frames, and then gets them one by one, or all at once
    to have several in flight.
    """

    draws_letters = False

    def configure_frames(self, spec: FrameSpec) -> None:
        import numpy as np

        refused = refuses(spec)
        if refused:
            raise Unsupported(refused)
        palette = f"{self.folder.name}/palette.npy"
        np.save(palette, spec.palette)
        self.program.ask("line", f"palette={palette}", *program_options(spec))

    def process_frame(self, pixels: Any, keep: bool) -> FrameResult:
        import numpy as np

        file = f"{self.folder.name}/frame.npy"
        np.save(file, pixels)
        taken, _ = self.program.ask("frame", file, *([self.folder.name] if keep else []))
        stages = dict(zip(STAGES, _numbers(taken), strict=True))
        return self._kept(stages, "") if keep else FrameResult(stages)

    def preload_frames(self, shape: tuple[int, int, int, int], frames: Iterable[Any]) -> None:
        import numpy as np

        file = Path(self.folder.name) / "frame.npy"
        self.program.ask("hold", *shape[:3])
        for pixels in (
            frames
        ):  # singly: all of them would fill a temporary folder, which may lie in memory itself
            np.save(file, pixels)
            self.program.ask("held", file)

    def stream_frames(self, in_flight: int, period_ns: int, keep: Collection[int]) -> StreamResult:
        answer = self.program.ask(
            "passage", in_flight, period_ns, self.folder.name, ",".join(map(str, keep))
        )
        wall, *taken, dropped, delays, most = map(_numbers, answer)
        stages = dict(zip(STAGES, taken, strict=True))
        drawn, lost = len(stages["draw"]), set(dropped)
        passage = PipelineRun(wall[0], stages, drawn, tuple(dropped), tuple(delays), most[0])
        numbers = [number for number in range(drawn + len(lost)) if number not in lost]
        each = {
            number: {stage: times[place] for stage, times in stages.items()}
            for place, number in enumerate(numbers)
            if number in keep
        }
        return StreamResult(
            passage, {number: self._kept(times, f"{number}_") for number, times in each.items()}
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
    """An empty string, or why the program would not make the levels that are wanted, in words."""
    if spec.implementation not in BYTE_EXACT:
        return (
            f"C++ has no steps by {spec.implementation}; it has those of {' and '.join(BYTE_EXACT)}"
        )
    sampled = any(
        isinstance(step, ResizeSpec) and not step.antialias and step.filter != "nearest"
        for step in spec.steps
    )
    if sampled and spec.implementation != "cpp":
        return f"{spec.implementation} samples without antialias to levels that C++ only comes near to; name the model with +cpp"
    return ""


def program_options(spec: FrameSpec) -> list[str]:
    """What the program is told, as words of name=value."""
    view = spec.view
    told: dict[str, object] = {
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
    return [f"{name}={value}" for name, value in told.items()]


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
    """The nearest float32, which its decimal digits name exactly: rounded once, as NumPy does."""
    return ctypes.c_float(value).value


def _join(values: tuple[object, ...]) -> str:
    return " ".join(map(str, values))
