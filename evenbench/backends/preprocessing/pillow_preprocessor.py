"""Preprocessing with Pillow and NumPy: the recipe's own steps, from a file's content."""

from __future__ import annotations

import io
from typing import Any

from evenbench.harness.inputs.preprocessors import Image, Implementation
from evenbench.harness.preprocess import Decode, Layout, Normalise, Resize, ToArray


class Pillow(Implementation):
    """Pillow's steps, the reference for other implementations."""

    name = "pillow"
    requires = ("PIL",)
    distributions = ("pillow", "numpy")
    does = {
        "Decode": "Pillow, its libjpeg-turbo",
        "Resize": "Image.resize widens the filter; Image.transform samples",
        "ToArray": "NumPy",
        "Normalise": "NumPy",
        "Layout": "NumPy",
    }

    def decode(self, encoded: bytes, step: Decode) -> Image:
        from PIL import Image as pillow

        with pillow.open(io.BytesIO(encoded)) as opened:
            return opened.convert(step.mode)

    def opened(self, pixels: Any) -> Image:
        from PIL import Image as pillow

        return pillow.fromarray(pixels)

    def size(self, image: Image) -> tuple[int, int]:
        return image.width, image.height

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        return step.apply(image)

    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        return image.crop((left, top, left + size, top + size))

    def to_array(self, image: Image, step: ToArray) -> Image:
        return step.apply(image)

    def normalise(self, image: Image, step: Normalise) -> Image:
        return step.apply(image)

    def lay_out(self, image: Image, step: Layout) -> Any:
        return step.apply(image)
