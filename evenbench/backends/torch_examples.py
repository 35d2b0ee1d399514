"""The name of `backends.torch.example_inputs` in cell keys.

A stable name keeps the keys of users' own models unchanged.
"""

from evenbench.backends.torch.example_inputs import calibration, samples

__all__ = ["calibration", "samples"]
