"""Videos: a video of packaged photographs, recordings of a camera, and the frames of any file.

PyAV (the wheel brings FFmpeg) encodes and decodes. A single thread decodes, so the decoding stage's
time has no hidden parallel work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import photographs
from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Photograph
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    import numpy as np

    Image = np.ndarray[Any, Any]

FILE, RECORDING = "video.mp4", "recording.mp4"
WIDTH, HEIGHT = 640, 360
RATE = 30
"""Frames per second of the packaged video."""

SHOT = 9
"""Frames of each photograph, so that all ten take three seconds."""

ZOOM = 0.7
"""Size of the window at the end of a shot, as a share of the size at the beginning."""

VERSION = 2
"""Part of the key: raised when the frames or the encoder's settings change."""

ENCODER = {"preset": "medium", "crf": "20", "threads": "1", "x264-params": "no-asm=1"}
"""x264 writes equal bytes every time with one thread and without assembly code.

With assembly, up to half of 150 videos of equal frames differed; without, none differed.
"""

CAMERA = "v4l2"
"""FFmpeg's name for Linux's cameras."""


@dataclass(frozen=True)
class Footage:
    """The first `frames` frames of a video file, with settings for the pipeline.

    `judged` has the numbers of the frames for parity. At most `in_flight` frames are in flight. A
    `target_per_second` above 0 adds a run at a fixed rate.
    """

    file: str
    frames: int
    judged: tuple[int, ...]
    in_flight: int = 1
    target_per_second: float = 0.0


@dataclass(frozen=True)
class PipelineRequest:
    """Payload of a pipeline's worker tasks: the footage, and the plan for measuring tasks."""

    footage: Footage
    plan: Plan | None = None


def camera_of(text: str) -> Path | None:
    """The device of a camera's number (`0` is /dev/video0), or None for other text."""
    return Path(f"/dev/video{int(text)}") if text.isdecimal() else None


def key() -> dict[str, Any]:
    """The cache key of the packaged video: everything with an effect on the bytes."""
    versions = {name: batches.version_of(name) for name in ("av", "numpy", "pillow")}
    shape = [WIDTH, HEIGHT, RATE, SHOT, ZOOM, ENCODER]
    return {
        "video": VERSION,
        "photographs": photographs.PHOTOGRAPHS,
        "shape": shape,
        "versions": versions,
    }


def make(folder: Path) -> dict[str, Any]:
    """Write the packaged video into `folder`, and return facts of the video.

    Raises Unavailable for a missing photograph.
    """
    shots = (
        frame
        for number, photograph in enumerate(photographs.PHOTOGRAPHS)
        for frame in _shot(photograph, number)
    )
    encode(shots, folder / FILE)
    return describe(folder / FILE, SHOT * len(photographs.PHOTOGRAPHS))


def _shot(photograph: Photograph, number: int) -> Iterator[Image]:
    """Frames of a photograph: a moving window zooms in, or out in every other shot."""
    import numpy as np
    from PIL import Image as pillow

    with pillow.open(photographs.locate(photograph)) as opened:
        picture = opened.convert("RGB")
    width = min(picture.width, picture.height * WIDTH / HEIGHT)
    for place in range(SHOT):
        step = place / (SHOT - 1)
        step = 1 - step if number % 2 else step
        wide = width * (1 - (1 - ZOOM) * step)
        high = wide * HEIGHT / WIDTH
        left, top = (picture.width - wide) * step, (picture.height - high) * (1 - step)
        window = (left, top, left + wide, top + high)
        yield np.asarray(picture.resize((WIDTH, HEIGHT), pillow.Resampling.BILINEAR, window))


def encode(frames: Iterable[Image], file: Path, rate: int = RATE) -> None:
    """Write RGB frames, uint8 [height, width, 3] of even sizes, as H.264 in an MP4 file."""
    import av

    with av.open(str(file), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options=ENCODER)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.thread_count = 1
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None) if stream else ():
            container.mux(packet)


def record(camera: str, file: Path, count: int, format: str = CAMERA) -> None:
    """Record `count` frames of a camera into `file`.

    Raises UsageError if FFmpeg cannot open the camera, or if the recording fails.
    """
    import av

    try:
        with av.open(camera, format=format) as container:
            stream = container.streams.video[0]
            rate = round(stream.average_rate or RATE)
            pictures = (
                _even(frame.to_ndarray(format="rgb24"))
                for frame in islice(container.decode(stream), count)
            )
            encode(pictures, file, rate)
    except (av.FFmpegError, IndexError) as error:
        raise UsageError(
            f"camera {camera} cannot be recorded ({error}); close other programs with the camera, "
            "or give a video file"
        ) from error


def _even(frame: Image) -> Image:
    """The frame without an odd last row or column, because the encoder needs even sizes."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def frames(file: Path, most: int) -> Iterator[Image]:
    """Decode the first `most` frames on demand, as RGB uint8 [height, width, 3].

    Raises UsageError for a file without video, a damaged frame, or frames of several sizes.
    """
    import av

    number, opened = 0, False
    try:
        with av.open(str(file)) as container:
            stream, opened = _stream(container, file), True
            size = None
            for frame in islice(container.decode(stream), most):
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    sizes = f"{size[0]}x{size[1]} and frame {number} {frame.width}x{frame.height}"
                    raise UsageError(
                        f"{file}: its first frame is {sizes}; give a video of one size, or fewer "
                        "frames"
                    )
                yield frame.to_ndarray(format="rgb24")
                number += 1
    except av.FFmpegError as error:
        problem = (
            f"the data after {number} frames cannot be decoded"
            if opened
            else "no video that FFmpeg can open"
        )
        raise UsageError(
            f"{file}: {problem} ({error.strerror}); give another file, or fewer frames"
        ) from error


def _stream(container: Any, file: Path) -> Any:
    if not container.streams.video:
        raise UsageError(f"{file} has no video stream; give a file with pictures")
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def describe(file: Path, most: int) -> dict[str, Any]:
    """Codec, size, rate, number of frames and sha256 of a video; decodes the first `most` frames.

    Raises UsageError for a video without frames, and as `frames`.
    """
    import av

    count = sum(1 for _ in frames(file, most))
    if not count:
        raise UsageError(f"{file} is a video without frames; give another video")
    with av.open(str(file)) as container:
        stream = _stream(container, file)
        rate = stream.average_rate or Fraction(0)
        return {
            "codec": stream.codec_context.name,
            "width_pixels": stream.width,
            "height_pixels": stream.height,
            "frames_per_second": float(rate),
            "frames": count,
            "sha256": artifact_store.digest_file(file),
        }


def spread(count: int, most: int) -> list[int]:
    """The numbers of at most `most` of `count` frames, evenly spaced, from the first frame.

    Neighbours are too similar to distinguish a cached output from a correct output.
    """
    chosen = min(count, most)
    return [place * count // chosen for place in range(chosen)]
