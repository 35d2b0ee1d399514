"""Hypothesis without deadlines (two shared cores) and with the same examples every time (a red
build is never a coin toss).
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "evenbench",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("evenbench")
