"""The name under which cell keys and declarations record the operations of
`backends.steps.reference`.
"""

from backends.steps.reference import argmax, nms, paste_masks, photo

__all__ = ["argmax", "nms", "paste_masks", "photo"]
