"""`backends` is `evenbench.backends`, unless the project has its own package of this name."""

from evenbench import aliases

aliases.stand_in(__name__)
