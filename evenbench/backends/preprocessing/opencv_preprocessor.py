"""Preprocessing with OpenCV: BGR to RGB, EXIF orientation ignored, resize by samples or areas."""

from __future__ import annotations

from typing import Any

from evenbench.harness.inputs.preprocessors import Image, Implementation
from evenbench.harness.preprocess import Decode, Layout, Normalise, Resize, ToArray


class OpenCv(Implementation):
    """OpenCV's steps; an image is a uint8 RGB array [height, width] or [height, width, 3]."""

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
            return (
                "OpenCV's bicubic filter differs (a = -0.75, the recipe's is -0.5); use "
                "bilinear, or another library"
            )
        if isinstance(step, Resize) and step.antialias and step.filter == "bilinear":
            return (
                "OpenCV's linear resize has no antialias=True, as it samples four neighbours; use "
                "opencv-area (another filter, measurably), or a recipe with antialias=False"
            )
        return super().refuses(step)

    def decode(self, encoded: bytes, step: Decode) -> Image:
        import cv2
        import numpy as np

        image = cv2.imdecode(
            np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
        if image is None:
            raise ValueError("OpenCV cannot decode this file: damaged, or in an unsupported format")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if step.mode == "RGB" else cv2.COLOR_BGR2GRAY)

    def opened(self, pixels: Any) -> Image:
        return pixels

    def size(self, image: Image) -> tuple[int, int]:
        return image.shape[1], image.shape[0]

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        import cv2

        interpolation = cv2.INTER_NEAREST_EXACT if step.filter == "nearest" else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=interpolation)

    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        return image[top : top + size, left : left + size]

    def to_array(self, image: Image, step: ToArray) -> Image:
        return step.apply(image)

    def normalise(self, image: Image, step: Normalise) -> Image:
        import cv2

        # A cv2 scalar has four values, and OpenCV reads an array of four rows as a scalar.
        if len(step.mean) > 3:
            return step.apply(image)
        normalised = cv2.divide(cv2.subtract(image, _scalar(step.mean)), _scalar(step.std))
        # OpenCV drops the axis of a single channel.
        return normalised if normalised.ndim == 3 else normalised[:, :, None]

    def lay_out(self, image: Image, step: Layout) -> Any:
        return step.apply(image)


class OpenCvArea(OpenCv):
    """INTER_AREA instead of an antialiased filter, a common substitute: a named, measured
    difference.
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

        # INTER_AREA enlarges by repeating pixels.
        shrinks = image.shape[1] > width or image.shape[0] > height
        if step.antialias and step.filter == "bilinear" and shrinks:
            return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return super().resize(image, step, width, height)


def _scalar(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    one, two, three = values if len(values) == 3 else (values[0],) * 3
    return one, two, three, 1.0
