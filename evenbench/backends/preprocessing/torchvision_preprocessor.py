"""Preprocessing with torchvision on tensors: own decoders and kernels, without Pillow."""

from __future__ import annotations

from typing import Any

from evenbench.harness.inputs.preprocessors import Image, Implementation
from evenbench.harness.preprocess import Decode, Layout, Normalise, Resize, ToArray


class Torchvision(Implementation):
    """torchvision's steps; an image is a uint8 tensor [channels, height, width]."""

    name = "torchvision"
    requires = ("torch", "torchvision")
    distributions = ("torchvision", "torch")
    does = {
        "Decode": "torchvision.io.decode_image",
        "Resize": "transforms.v2.functional.resize on uint8",
        "ToArray": "torch",
        "Normalise": "transforms.v2.functional.normalize",
        "Layout": "torch",
    }

    def refuses(self, step: Any) -> str:
        if isinstance(step, Resize) and step.filter == "bicubic" and not step.antialias:
            return (
                "torch's bicubic filter without antialias differs (a = -0.75, the recipe's is -0.5)"
            )
        return super().refuses(step)

    def decode(self, encoded: bytes, step: Decode) -> Image:
        import torch
        from torchvision import io
        from torchvision.transforms.v2 import functional

        # A copy: torch warns about read-only bytes.
        content = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        image = io.decode_image(content, mode=io.ImageReadMode.RGB, apply_exif_orientation=False)
        return image if step.mode == "RGB" else functional.rgb_to_grayscale(image)

    def opened(self, pixels: Any) -> Image:
        import torch

        return torch.from_numpy(pixels).permute(2, 0, 1)

    def size(self, image: Image) -> tuple[int, int]:
        return image.shape[-1], image.shape[-2]

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        from torchvision.transforms.v2 import InterpolationMode, functional

        interpolation = (
            InterpolationMode.NEAREST_EXACT
            if step.filter == "nearest"
            else InterpolationMode(step.filter)
        )
        return functional.resize(
            image, [height, width], interpolation=interpolation, antialias=step.antialias
        )

    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        return image[:, top : top + size, left : left + size]

    def to_array(self, image: Image, step: ToArray) -> Image:
        import torch

        return image.to(torch.float32).mul_(step.scale)

    def normalise(self, image: Image, step: Normalise) -> Image:
        from torchvision.transforms.v2 import functional

        return functional.normalize(image, list(step.mean), list(step.std))

    def lay_out(self, image: Image, step: Layout) -> Any:
        import numpy as np

        laid_out = image if step.order == "CHW" else image.permute(1, 2, 0)
        return np.ascontiguousarray(laid_out.numpy(), dtype=step.dtype)
