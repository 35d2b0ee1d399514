"""Backends that look over their own shoulder: what their process imported, and which bytes were
really bound.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenbench.backends.controls.null import Null
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.openvino.backend import OpenVino
from evenbench.backends.torch.eager import TorchEager
from evenbench.harness import Attestation, Backend, Cell, Session
from tests.unit.builders import Product, Twin

WATCHED = ("torch", "onnxruntime", "openvino", "onnx", "tensorrt", "tvm")


def watch(session: Session) -> Session:
    """Notes the digest of everything that is bound, and adds it and the imported runtimes to what
    the session attests.
    """
    bound: dict[str, None] = {}
    bind, attest = session.bind, session.attest

    def noting_bind(inputs: Mapping[str, Any]) -> None:
        bind(inputs)
        whole = hashlib.sha256()
        for name, array in sorted(inputs.items()):
            whole.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
        bound[whole.hexdigest()] = None

    def noting_attest() -> Attestation:
        found = attest()
        seen = {
            "imported": [name for name in WATCHED if name in sys.modules],
            "bound": sorted(bound),
        }
        return replace(found, details={**found.details, **seen})

    session.bind, session.attest = noting_bind, noting_attest  # type: ignore[method-assign]
    return session


class Spy(Backend):
    """Mixed into a backend before it: the same artifact, the same session, watched."""

    def load(self, folder: Path, cell: Cell) -> Session:
        return watch(super().load(folder, cell))  # type: ignore[safe-super]


class SpyOrt(Spy, OnnxRuntime):
    name = "spy-ort"


class SpyOpenVino(Spy, OpenVino):
    name = "spy-openvino"


class SpyTorch(Spy, TorchEager):
    name = "spy-torch"


class SpyProduct(Spy, Product):
    name = "spy-product"


class SpyTwin(Spy, Twin):
    name = "spy-twin"


class SpyNull(Spy, Null):
    name = "spy-null"


ROWS = ",".join(
    f"{kind.name}=tests.meta.spies:{kind.__name__}"
    for kind in (SpyOrt, SpyOpenVino, SpyTorch, SpyProduct, SpyTwin, SpyNull)
)
