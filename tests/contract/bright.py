"""A detector of a page: every bright square of an image is an object with a mask. It calls no
operator of torchvision's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness import ANY, Case, Model, Recipe, TensorSpec
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Resize, ToArray

if TYPE_CHECKING:
    import torch

SIDE, SQUARE = 32, 8
ACROSS = SIDE // SQUARE
COUNTS = (3, 1, 0, 5, 2)
"""How many squares of each image are bright."""

RECIPE = Recipe(
    "pixels_32",
    (Decode("RGB"), Resize(SIDE, antialias=True), CenterCrop(SIDE), ToArray(), Layout("CHW")),
)
TRACED = {"exporter": "torchscript", "opset": 17}


def build() -> torch.nn.Module:
    """[3, 32, 32] in; boxes, labels (1 for red squares, 2 for blue ones), scores and masks
    [objects, 1, 32, 32] out.
    """
    import torch

    class Bright(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look = torch.nn.Conv2d(3, 3, SQUARE, stride=SQUARE)
            with torch.no_grad():
                weights = torch.tensor([[16 / 3] * 3, [1.0, 0, 0], [0, 0, 1.0]]) / SQUARE**2
                self.look.weight.copy_(weights[:, :, None, None].expand(3, 3, SQUARE, SQUARE))
                self.look.bias.copy_(torch.tensor([-8.0, 0, 0]))
            corners = torch.tensor(
                [[SQUARE * (at % ACROSS), SQUARE * (at // ACROSS)] for at in range(ACROSS**2)]
            )
            self.register_buffer("boxes", torch.cat([corners, corners + SQUARE], 1).float())
            inside = torch.eye(ACROSS**2).reshape(-1, 1, ACROSS, ACROSS)
            self.register_buffer(
                "inside", inside.repeat_interleave(SQUARE, 2).repeat_interleave(SQUARE, 3)
            )

        def forward(self, image: torch.Tensor) -> Any:
            seen = self.look(image[None])[0].flatten(1)
            scores = seen[0].sigmoid()
            found = torch.nonzero(scores > 0.05)[:, 0]
            return (
                self.boxes[found],
                seen[1:].argmax(0)[found] + 1,
                scores[found],
                self.inside[found] * image.mean(0),
            )

    return Bright()


def images(model: Model) -> dict[str, Any]:
    """Dim noise with as many bright squares as `COUNTS` says, red and blue in turn."""
    generator = np.random.default_rng(0)
    made = generator.uniform(0, 0.2, (len(COUNTS), 3, SIDE, SIDE)).astype(np.float32)
    for image, count in zip(made, COUNTS, strict=True):
        for turn, place in enumerate(generator.permutation(ACROSS**2)[:count]):
            top, left = SQUARE * (place // ACROSS), SQUARE * (place % ACROSS)
            image[:, top : top + SQUARE, left : left + SQUARE] += 0.6
            image[2 * (turn % 2), top : top + SQUARE, left : left + SQUARE] += 0.1
    return {"image": made}


BRIGHT = Model(
    name="bright",
    build=build,
    inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
    outputs=(
        *(
            TensorSpec("boxes", (ANY, 4)),
            TensorSpec("labels", (ANY,), "int64"),
            TensorSpec("scores", (ANY,)),
        ),
        TensorSpec("masks", (ANY, 1, SIDE, SIDE)),
    ),
    recipe=RECIPE,
    inputs_from=images,
    task="detection",
    labels=("nothing", "red", "blue"),
)

OPTIONS = dict.fromkeys(("ort", "openvino", "cpp-ort", "ctypes-ort", "cpp-openvino"), (TRACED,))

objects = Case(
    (BRIGHT,), (*OPTIONS, "torch-script", "cpp-libtorch", "ctypes-libtorch"), options=OPTIONS
)
