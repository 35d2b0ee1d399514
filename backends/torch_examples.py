"""The name under which cell keys record `backends.torch.example_inputs`; it keeps the keys of
users' own models unchanged.
"""

from backends.torch.example_inputs import calibration, samples

__all__ = ["calibration", "samples"]
