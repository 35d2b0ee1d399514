"""Real photographs from scikit-learn's and scikit-image's wheels, each with its sha256."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from evenbench.harness.core.errors import Unavailable
from evenbench.harness.core.types import Photograph

PHOTOGRAPHS: tuple[Photograph, ...] = (
    Photograph(
        "china",
        "sklearn",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    Photograph(
        "flower",
        "sklearn",
        "datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
    Photograph(
        "astronaut",
        "skimage",
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    Photograph(
        "chelsea",
        "skimage",
        "data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    Photograph(
        "coffee",
        "skimage",
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    Photograph(
        "rocket",
        "skimage",
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    Photograph(
        "motorcycle",
        "skimage",
        "data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    ),
    Photograph(
        "retina",
        "skimage",
        "data/retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    ),
    Photograph(
        "hubble",
        "skimage",
        "data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    Photograph(
        "ihc",
        "skimage",
        "data/ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    ),
)
"""Different colour photographs: people, animals, food, buildings, a launch, galaxies, tissue."""


CALIBRATION: tuple[Photograph, ...] = (
    Photograph(
        "camera",
        "skimage",
        "data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    Photograph(
        "brick",
        "skimage",
        "data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    Photograph(
        "grass",
        "skimage",
        "data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    ),
    Photograph(
        "gravel",
        "skimage",
        "data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
    Photograph(
        "coins",
        "skimage",
        "data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    ),
    Photograph(
        "moon",
        "skimage",
        "data/moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    ),
    Photograph(
        "clock_motion",
        "skimage",
        "data/clock_motion.png",
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
    ),
    Photograph(
        "cell",
        "skimage",
        "data/cell.png",
        "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    ),
    Photograph(
        "color",
        "skimage",
        "data/color.png",
        "7d2df993de2b4fa2a78e04e5df8050f49a9c511aa75e59ab3bd56ac9c98aef7e",
    ),
    Photograph(
        "page",
        "skimage",
        "data/page.png",
        "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    ),
)
"""Ten other photographs, for int8-static's ranges: judged inputs stay unseen.

Nearly all are grey, like most images in wheels; another choice moves the ranges too little to
change an outcome (`docs/explanation/fairness.md`).
"""


def locate(photograph: Photograph) -> Path:
    """The file on disk. Raises Unavailable for an absent package or another sha256."""
    spec = importlib.util.find_spec(photograph.package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise Unavailable(
            f"photograph {photograph.name}: package {photograph.package} is not installed; pip "
            "install 'evenbench[photographs]'"
        )
    file = Path(folders[0]) / photograph.path
    if not file.is_file():
        raise Unavailable(
            f"photograph {photograph.name}: {photograph.package} has no {photograph.path}; "
            "install the pinned version"
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != photograph.sha256:
        raise Unavailable(
            f"photograph {photograph.name}: sha256 of {photograph.path} is {digest[:12]}, "
            f"expected {photograph.sha256[:12]}; "
            f"install the pinned version of {photograph.package}"
        )
    return file
