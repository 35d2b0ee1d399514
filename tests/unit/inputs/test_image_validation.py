"""Image files that are not what one expects, by every library: refused in the same words, or
decoded as the documentation says.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import Recipe, UsageError, preprocess
from evenbench.harness.inputs import image_validation, pixel_difference, preprocessors
from evenbench.harness.inputs.preprocessors import ImplementedRecipe
from evenbench.harness.photographs import CALIBRATION, PHOTOGRAPHS, locate
from evenbench.harness.preprocess import Decode, Layout, ToArray

PLAIN = Recipe("plain", (Decode(), ToArray(), Layout()))


def photo(mode: str = "RGB") -> Any:
    with Image.open(locate(PHOTOGRAPHS[1])) as opened:
        return opened.convert("RGB").resize((64, 48)).convert(mode)


def by(name: str, file: Path) -> Any:
    for package in preprocessors.find(name).missing():
        pytest.skip(f"{name} needs {package}")
    recipe = PLAIN if name == "pillow" else ImplementedRecipe("plain", PLAIN.steps, name)
    return preprocessors.apply(recipe, file)


def deep_png(path: Path, channels: int) -> None:
    """A PNG of 16 bits per level, which Pillow writes for one channel only."""
    rows = np.random.default_rng(0).integers(0, 65536, (8, 8 * channels)).astype(">u2")
    header = struct.pack(">IIBBBBB", 8, 8, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def cut(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        photo().save(path, kind)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])

    return write


def scrambled(path: Path) -> None:
    """A PNG whose pixels do not decompress."""
    photo().save(path, "PNG")
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT") + 4
    content[start : start + 200] = bytes(200)
    path.write_bytes(bytes(content))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty.jpg": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.png": (lambda path: path.write_text("no image"), "step Decode of recipe plain failed"),
    "cut.jpg": (cut("JPEG"), "ends in the middle of the image"),
    "cut.png": (cut("PNG"), "ends in the middle of the image"),
    "header.jpg": (
        lambda path: path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF"),
        "step Decode of recipe plain failed",
    ),
    "scrambled.png": (scrambled, "step Decode of recipe plain failed"),
    "deep-grey.png": (lambda path: deep_png(path, 1), "more than 8 bits"),
    "deep-colour.png": (lambda path: deep_png(path, 3), "more than 8 bits"),
    "deep.tif": (
        lambda path: Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(path),
        "more than 8 bits",
    ),
    "floats.tif": (
        lambda path: Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(path),
        "more than 8 bits",
    ),
}


@pytest.mark.parametrize("name", preprocessors.names())
@pytest.mark.parametrize("file", REFUSED)
def test_what_is_no_whole_image_of_8_bits_is_refused_in_words(
    file: str, name: str, tmp_path: Path
) -> None:
    write, words = REFUSED[file]
    write(tmp_path / file)
    with pytest.raises(UsageError, match=words) as raised:
        by(name, tmp_path / file)
    assert file in str(raised.value), "which file"


ALIKE: dict[str, Callable[[Path], Any]] = {
    "grey.jpg": lambda path: photo("L").save(path),
    "grey.png": lambda path: photo("L").save(path),
    "ink.jpg": lambda path: photo("CMYK").save(path),
    "palette.png": lambda path: photo("P").save(path),
    "transparent.png": lambda path: half_transparent().save(path),
    "progressive.jpg": lambda path: photo().save(path, progressive=True),
    "full-colour.jpg": lambda path: photo().save(path, subsampling=0, quality=95),
    "garbled.jpg": lambda path: garbled(path),
    "trailing.jpg": lambda path: (
        photo().save(path),
        path.write_bytes(path.read_bytes() + bytes(500)),
    ),
}


def garbled(path: Path) -> None:
    """Whole by its markers, with other bytes in the middle of its data: nothing in a JPEG tells
    them apart from the right ones.
    """
    photo().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = bytes(range(60))
    path.write_bytes(bytes(content))


def half_transparent() -> Any:
    image = photo("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))))
    return image


@pytest.mark.parametrize("name", preprocessors.names())
@pytest.mark.parametrize("file", ALIKE)
def test_what_every_library_decodes_alike(file: str, name: str, tmp_path: Path) -> None:
    """Grey becomes three equal channels, transparency is dropped and not composed, a palette is
    looked up.
    """
    ALIKE[file](tmp_path / file)
    made, wanted = by(name, tmp_path / file), preprocess.apply(PLAIN, tmp_path / file)
    assert pixel_difference.between(PLAIN, made, wanted).worst <= pixel_difference.ALLOWED
    if file.startswith("grey"):
        assert np.array_equal(made[0], made[2])


def test_transparency_is_dropped_and_not_composed(tmp_path: Path) -> None:
    half_transparent().save(tmp_path / "image.png")
    assert np.array_equal(
        by("pillow", tmp_path / "image.png"),
        np.asarray(photo(), np.float32).transpose(2, 0, 1) * np.float32(1 / 255),
    )


def test_a_folder_and_a_missing_file_are_told_by_name(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "absent.jpg"):
        for name in ("pillow", "numpy"):
            with pytest.raises(UsageError, match=file.name):
                by(name, file)


def test_an_image_of_too_many_pixels_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's DecompressionBombError is neither an OSError nor a ValueError."""
    photo().save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(
        UsageError, match=r"large\.png: recipe plain failed: DecompressionBombError"
    ):
        by("pillow", tmp_path / "large.png")


def test_nothing_speaks_against_the_photographs_that_come_along() -> None:
    for photograph in (*PHOTOGRAPHS, *CALIBRATION):
        assert image_validation.problem(locate(photograph).read_bytes()) == "", photograph.name


def test_a_thumbnail_inside_does_not_pass_for_the_end(tmp_path: Path) -> None:
    """A camera's JPEG holds a smaller one, whole, before its own scan."""
    photo().save(tmp_path / "small.jpg")
    inner = (tmp_path / "small.jpg").read_bytes()[:60_000]
    photo().save(tmp_path / "camera.jpg", comment=inner)
    content = (tmp_path / "camera.jpg").read_bytes()
    assert image_validation.problem(content) == ""
    assert "middle of the image" in image_validation.problem(content[:-40])
