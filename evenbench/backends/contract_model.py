"""The backend contract's small network: convolutions, batch norm, a residual, two linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenbench.harness import BATCH, Model, TensorSpec, seeded

if TYPE_CHECKING:
    import torch


def build() -> torch.nn.Module:
    """[batch, 3, 16, 16] in, 10 logits out; a few milliseconds to export, microseconds to run."""
    from torch import nn

    class Residual(nn.Module):
        """x + norm(conv(x)), a branch in the graph."""

        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image + self.norm(self.convolution(image))

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Residual(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.GELU(),
        nn.Linear(32, 10),
    )


TINY_CNN = Model(
    name="tiny_cnn",
    build=build,
    inputs=(TensorSpec("image", (BATCH, 3, 16, 16)),),
    outputs=(TensorSpec("logits", (BATCH, 10)),),
    inputs_from="harness.inputs:standard_normal",
    calibration_from="harness.inputs:standard_normal_calibration",
    weights=seeded(0),
)
