"""A small convolutional network with real weights, trained on scikit-learn's handwritten digits."""

from typing import Any

HELD_OUT_EVERY = 5
"""Every fifth digit is held out: 360 of 1,797, never seen in training."""


def build() -> Any:
    """Two convolutions with batch norm, two linear layers: [batch, 1, 8, 8] in, 10 logits out."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def _split(held_out: bool) -> tuple[Any, Any]:
    """Images (float32 [count, 1, 8, 8] in 0..1) and labels of held-out or training digits."""
    import numpy as np
    from sklearn.datasets import load_digits

    loaded = load_digits()
    chosen = (np.arange(len(loaded.target)) % HELD_OUT_EVERY == 0) == held_out
    return (loaded.images[chosen, None] / 16).astype(np.float32), loaded.target[chosen]


def held_out() -> tuple[Any, Any]:
    """The digits and labels for measuring accuracy."""
    return _split(held_out=True)


def samples(model: Any) -> dict[str, Any]:
    """The timed inputs: the first ten held-out digits."""
    return {"image": held_out()[0][:10]}


def calibration(model: Any) -> dict[str, Any]:
    """The calibration samples of int8-static: a hundred training digits, evenly spread."""
    return {"image": _split(held_out=False)[0][::14][:100]}


def train(module: Any, seed: int) -> None:
    """Train ten epochs with Adam: some seconds, with reproducible weights."""
    import torch

    torch.set_num_threads(1)  # more threads would change the order of additions, and the weights
    images, labels = (torch.from_numpy(array) for array in _split(held_out=False))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    module.train()
    for _ in range(10):
        for indices in torch.randperm(len(images), generator=generator).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(images[indices]), labels[indices]).backward()
            optimiser.step()
    module.eval()
