"""Videos: the packaged one is the same every time, and what is no video says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenbench.harness.core.errors import UsageError
from evenbench.harness.pipeline import video as videos

pytest.importorskip("av")


def pictures(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return [
        np.stack([(across * 3 + 9 * number) % 256, (down * 5) % 256, across * 0 + 40], -1).astype(
            np.uint8
        )
        for number in range(count)
    ]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    file = tmp_path / "small.mp4"
    videos.encode(pictures(12), file)
    return file


def test_what_was_encoded_is_decoded(video: Path) -> None:
    found = list(videos.frames(video, 99))
    assert len(found) == 12
    assert found[0].shape == (48, 64, 3)
    errors = [
        float(np.abs(made.astype(int) - right).mean())
        for made, right in zip(found, pictures(12), strict=True)
    ]
    assert max(errors) < 12, "lossy, and the same pictures in the same order"


def test_the_same_frames_are_the_same_bytes(video: Path, tmp_path: Path) -> None:
    """Every time: an encoder that reads what it has not written agrees with itself in most runs."""
    for _ in range(20):
        videos.encode(pictures(12), tmp_path / "again.mp4")
        assert (tmp_path / "again.mp4").read_bytes() == video.read_bytes()


def test_no_more_frames_than_asked_are_decoded(video: Path) -> None:
    assert len(list(videos.frames(video, 5))) == 5


def test_a_video_is_described(video: Path) -> None:
    found = videos.describe(video, 99)
    assert {
        "codec": "h264",
        "width_pixels": 64,
        "height_pixels": 48,
        "frames": 12,
        "frames_per_second": 30.0,
    }.items() <= found.items()


def test_the_packaged_video_shows_every_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    monkeypatch.setattr(videos, "SHOT", 2)
    facts = videos.make(tmp_path)
    found = list(videos.frames(tmp_path / videos.FILE, 99))
    assert facts["frames"] == len(found) == 20
    assert found[0].shape == (videos.HEIGHT, videos.WIDTH, 3)
    apart = [
        float(np.abs(one.astype(int) - other).mean())
        for one, other in zip(found[::2], found[2::2], strict=False)
    ]
    assert min(apart) > 10, "one photograph is no other"
    moved = [
        float(np.abs(one.astype(int) - other).mean())
        for one, other in zip(found[::2], found[1::2], strict=True)
    ]
    assert min(moved) > 1, "and within a shot the window moves"


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(90, 6, [0, 15, 30, 45, 60, 75]), (3, 6, [0, 1, 2]), (1, 6, [0]), (7, 3, [0, 2, 4])],
)
def test_judged_frames_are_spread(count: int, most: int, expected: list[int]) -> None:
    assert videos.spread(count, most) == expected


def empty(file: Path, good: bytes) -> None:
    videos.encode([], file)


def corrupt(file: Path, good: bytes) -> None:
    file.write_bytes(good[: len(good) // 2])


def scribbled(file: Path, good: bytes) -> None:
    middle = good.index(b"mdat") + 700
    file.write_bytes(good[:middle] + b"\x5a" * 400 + good[middle + 400 :])


def text(file: Path, good: bytes) -> None:
    file.write_text("this is a letter and no film\n" * 20)


def nothing(file: Path, good: bytes) -> None:
    file.write_bytes(b"")


def sound(file: Path, good: bytes) -> None:
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2048), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (corrupt, "no video that FFmpeg can open"),
        (text, "no video that FFmpeg can open"),
        (nothing, "no video that FFmpeg can open"),
        (empty, "no video|without frames"),
        (sound, "no video stream"),
        (scribbled, r"the data after \d+ frames cannot be decoded"),
    ],
)
def test_what_is_no_video_says_so(spoil: object, said: str, tmp_path: Path) -> None:
    good = tmp_path / "good.mp4"
    videos.encode(pictures(60), good)
    bad = tmp_path / "bad.mp4"
    spoil(bad, good.read_bytes())  # type: ignore[operator]
    with pytest.raises(UsageError, match=said) as found:
        videos.describe(bad, 99)
    assert "bad.mp4" in str(found.value)
    assert "give" in str(found.value), "what to do next"


def test_a_camera_is_recorded(tmp_path: Path) -> None:
    """FFmpeg's test picture stands in for a camera, which nobody has here: another input, the same
    code.
    """
    videos.record("testsrc=size=65x49:rate=25", tmp_path / "recording.mp4", 5, format="lavfi")
    found = videos.describe(tmp_path / "recording.mp4", 99)
    assert (
        found["frames"],
        found["width_pixels"],
        found["height_pixels"],
        found["frames_per_second"],
    ) == (5, 64, 48, 25.0)


def test_a_camera_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="camera /dev/video97 cannot be recorded"):
        videos.record("/dev/video97", tmp_path / "recording.mp4", 5)


@pytest.mark.parametrize(
    ("said", "device"),
    [("0", Path("/dev/video0")), ("12", Path("/dev/video12")), ("street.mp4", None), ("", None)],
)
def test_a_number_is_a_camera(said: str, device: Path | None) -> None:
    assert videos.camera_of(said) == device
