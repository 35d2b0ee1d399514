"""Preprocessing with OpenCV: BGR turned to RGB, EXIF orientation left alone, and resizing that
samples, or averages areas.
"""

from __future__ import annotations

from typing import Any

from harness.inputs.preprocessors import Image, Implementation
from harness.preprocess import Decode, Layout, Normalise, Resize, ToArray


class OpenCv(Implementation):
    """An image is a uint8 array [height, width] or [height, width, 3], in RGB."""

    name = "opencv"
    requires = ("cv2", "numpy")
    distributions = ("opencv-python-headless", "numpy")
    does = {
        "Decode": "cv2.imdecode, its libjpeg-turbo, cv2.cvtColor from BGR",
        "Resize": "cv2.resize: INTER_LINEAR, INTER_NEAREST_EXACT",
        "ToArray": "NumPy",
        "Normalise": "cv2.subtract and cv2.divide",
        "Layout": "NumPy",
    }

    def refuses(self, step: Any) -> str:
        if isinstance(step, Resize) and step.filter == "bicubic":
            return "OpenCV's bicubic filter is another one (a = -0.75, where the recipe's is -0.5); use bilinear, or another library"
        if isinstance(step, Resize) and step.antialias and step.filter == "bilinear":
            return (
                "OpenCV's linear resize samples four neighbours and never widens its filter, so that it cannot do antialias=True; use "
                "opencv-area, which averages areas and is measurably another filter, or a recipe with antialias=False"
            )
        return super().refuses(step)

    def decode(self, encoded: bytes, step: Decode) -> Image:
        import cv2
        import numpy as np

        image = cv2.imdecode(
            np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
        if image is None:
            raise ValueError(
                "OpenCV cannot decode this file: it is damaged, or of a format that OpenCV does not read"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if step.mode == "RGB" else cv2.COLOR_BGR2GRAY)

    def opened(self, pixels: Any) -> Image:
        return pixels

    def size(self, image: Image) -> tuple[int, int]:
        return image.shape[1], image.shape[0]

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        import cv2

        how = cv2.INTER_NEAREST_EXACT if step.filter == "nearest" else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=how)

    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        return image[top : top + size, left : left + size]

    def to_array(self, image: Image, step: ToArray) -> Image:
        return step.apply(image)

    def normalise(self, image: Image, step: Normalise) -> Image:
        import cv2

        if (
            len(step.mean) > 3
        ):  # a cv2 scalar has four places, and arrays of four rows are taken for one
            return step.apply(image)
        made = cv2.divide(cv2.subtract(image, _scalar(step.mean)), _scalar(step.std))
        return (
            made if made.ndim == 3 else made[:, :, None]
        )  # OpenCV drops the axis of a single channel

    def lay_out(self, image: Image, step: Layout) -> Any:
        return step.apply(image)


class OpenCvArea(OpenCv):
    """As many deploy it: INTER_AREA in place of an antialiased filter. A named difference, which no
    tolerance hides.
    """

    name = "opencv-area"
    does = {
        **OpenCv.does,
        "Resize": "cv2.resize: INTER_AREA in place of an antialiased bilinear filter",
    }

    def refuses(self, step: Any) -> str:
        area = isinstance(step, Resize) and step.antialias and step.filter == "bilinear"
        return Implementation.refuses(self, step) if area else super().refuses(step)

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        import cv2

        shrinks = (
            image.shape[1] > width or image.shape[0] > height
        )  # INTER_AREA enlarges by repeating pixels
        if step.antialias and step.filter == "bilinear" and shrinks:
            return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return super().resize(image, step, width, height)


def _scalar(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    one, two, three = values if len(values) == 3 else (values[0],) * 3
    return one, two, three, 1.0
