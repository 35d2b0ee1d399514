"""The name of `backends.steps.reference` in cell keys and declarations."""

from evenbench.backends.steps.reference import argmax, nms, paste_masks, photo

__all__ = ["argmax", "nms", "paste_masks", "photo"]
