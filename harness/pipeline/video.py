"""Videos: one made of packaged photographs by panning and zooming, what a camera showed, and the
frames of any file.

PyAV (the wheel brings FFmpeg) encodes and decodes. One thread decodes, so that the time of a stage
is the time of that stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import photographs
from harness.core import artifact_store
from harness.core.errors import UsageError
from harness.core.types import Photograph, Plan
from harness.inputs import batches

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
"""The window at the end of a shot, as a share of the one at its beginning."""

VERSION = 2
"""Part of the key: raised when the frames or the encoder's settings change."""

ENCODER = {"preset": "medium", "crf": "20", "threads": "1", "x264-params": "no-asm=1"}
"""x264 writes the same bytes every time with one thread and without its assembly: with it, up to
half of 150 videos of the same frames differed, and without it none did."""

CAMERA = "v4l2"
"""How FFmpeg calls Linux's cameras."""


@dataclass(frozen=True)
class Footage:
    """The first `frames` frames of a video file, the numbers of those whose answers are judged, and
    how they are to be passed through: at most `in_flight` at once, and where `target_per_second` is
    not 0 once more at that pace."""

    file: str
    frames: int
    judged: tuple[int, ...]
    in_flight: int = 1
    target_per_second: float = 0.0


@dataclass(frozen=True)
class PipelineRequest:
    """Payload of a pipeline's worker tasks: the footage, and the plan where something is measured."""

    footage: Footage
    plan: Plan | None = None


def camera_of(text: str) -> Path | None:
    """The device of a camera's number (`0` is /dev/video0), or None where the text is no number."""
    return Path(f"/dev/video{int(text)}") if text.isdecimal() else None


def key() -> dict[str, Any]:
    """What decides the bytes of the packaged video."""
    versions = {name: batches.version_of(name) for name in ("av", "numpy", "pillow")}
    shape = [WIDTH, HEIGHT, RATE, SHOT, ZOOM, ENCODER]
    return {
        "video": VERSION,
        "photographs": photographs.PHOTOGRAPHS,
        "shape": shape,
        "versions": versions,
    }


def make(folder: Path) -> dict[str, Any]:
    """Write the packaged video into `folder`; returns its facts. Raises Unavailable where a
    photograph is absent.
    """
    shots = (
        frame
        for number, photograph in enumerate(photographs.PHOTOGRAPHS)
        for frame in _shot(photograph, number)
    )
    encode(shots, folder / FILE)
    return describe(folder / FILE, SHOT * len(photographs.PHOTOGRAPHS))


def _shot(photograph: Photograph, number: int) -> Iterator[Image]:
    """A window of the video's shape that closes in on the photograph while it wanders; every other
    shot runs backwards.
    """
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
        made = picture.resize(
            (WIDTH, HEIGHT), pillow.Resampling.BILINEAR, (left, top, left + wide, top + high)
        )
        yield np.asarray(made)


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
    """Record so many frames of a camera into `file`. Raises UsageError where it cannot be opened or
    stops.
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
            f"camera {camera} cannot be recorded ({error}); close what else uses it, or give --video a file"
        ) from error


def _even(frame: Image) -> Image:
    """Without a last odd row or column, which the encoder's colour format cannot have."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def frames(file: Path, most: int) -> Iterator[Image]:
    """The first `most` frames as RGB, uint8 [height, width, 3]. Each is decoded when it is asked
    for.

    Raises UsageError where the file is no video, or a frame cannot be decoded.
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
                        f"{file}: its first frame is {sizes}; give a video of one size, or fewer --frames"
                    )
                yield frame.to_ndarray(format="rgb24")
                number += 1
    except av.FFmpegError as error:
        what = (
            f"what comes after {number} frames cannot be decoded"
            if opened
            else "no video that FFmpeg can open"
        )
        raise UsageError(
            f"{file}: {what} ({error.strerror}); give another file, or fewer --frames"
        ) from error


def _stream(container: Any, file: Path) -> Any:
    if not container.streams.video:
        raise UsageError(f"{file} has no video stream; give a file that has pictures")
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def describe(file: Path, most: int) -> dict[str, Any]:
    """What is known of a video and its first `most` frames, all of which are decoded once. Raises
    UsageError as `frames`, and where there are none."""
    import av

    count = sum(1 for _ in frames(file, most))
    if not count:
        raise UsageError(f"{file} is a video without frames; give one that has some")
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
    """The numbers of at most `most` frames of `count`, evenly spaced, the first one among them:
    neighbours are too alike to tell a cached answer from a right one."""
    chosen = min(count, most)
    return [place * count // chosen for place in range(chosen)]
