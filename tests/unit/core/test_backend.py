"""A backend that changes `prepare` of another writes no artifact under the other's key."""

from __future__ import annotations

from evenbench.harness import Backend
from evenbench.harness.core import registry


class Base(Backend):
    name = "base"

    def artifact_key(self, cell):
        return {"by": "base"}

    def prepare(self, source, cell, folder):
        return {}

    def load(self, folder, cell):
        raise NotImplementedError


class Changed(Base):
    def prepare(self, source, cell, folder):
        return {"changed": True}


class Further(Changed):
    name = "further"


class Sharing(Changed):
    shares_artifact = True


class WithKey(Changed):
    def artifact_key(self, cell):
        return {"by": "with key"}


class Named(Backend):
    name = "named"
    load = Base.load

    def prepare(self, source, cell, folder):
        return {}


def test_the_class_that_prepares_is_known_where_an_inherited_key_is_not() -> None:
    assert Base().maker == WithKey().maker == Sharing().maker == Named().maker == ""
    assert Changed().maker == Further().maker == f"{__name__}:Changed"


def test_no_backend_of_this_tree_needs_it_so_all_keys_stay() -> None:
    assert not [name for name in registry.rows() if registry.find(name).maker]
