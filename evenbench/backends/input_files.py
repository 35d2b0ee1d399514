"""Files with inputs of a model: .npz, .npy, .safetensors, .pt, and folders of ONNX test data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness import UsageError
from evenbench.harness.core import import_strings
from evenbench.harness.inputs.given_samples import Given

DATA_SET = "test_data_set_*"
"""The folders of ONNX test data beside a model, each with input_*.pb and output_*.pb."""

EXPECTED = ".npz, .npy, .safetensors, .pt, or a folder of ONNX test data (input_0.pb, ...)"

Arrays = Mapping[str, Any]


def read(paths: Sequence[Path]) -> Given:
    """The samples of files and folders, in order. Raises UsageError for unreadable files."""
    samples: list[Arrays] = []
    expected: list[Arrays] = []
    for path in paths:
        for inputs, outputs in _read(path):
            samples.append(inputs)
            expected.append(outputs)
    return Given(tuple(samples), tuple(expected))


def _read(path: Path) -> list[tuple[Arrays, Arrays]]:
    if path.is_dir():
        return [_data_set(folder) for folder in data_sets(path)]
    reader = READERS.get(path.suffix)
    if reader is None or not path.is_file():
        problem = "no such file" if not path.exists() else "unknown format"
        raise UsageError(f"--inputs {path}: {problem}; expected {EXPECTED}")
    try:
        return [(reader(path), {})]
    except UsageError:
        raise
    except ImportError as error:
        raise UsageError(
            f"--inputs {path}: reading it needs {error.name}; pip install {error.name}"
        ) from error
    except Exception as error:  # damaged files raise errors of many types
        raise UsageError(
            f"--inputs {path} cannot be read: {type(error).__name__}: {error}; write the file again"
        ) from error


def data_sets(folder: Path) -> list[Path]:
    """The folders of test data in a folder, or the folder itself. Raises UsageError if none."""
    inner = sorted(folder.glob(DATA_SET), key=_number)
    chosen = inner or [folder]
    if not any(next(each.glob("input_*.pb"), None) for each in chosen) and not inner:
        raise UsageError(f"--inputs {folder}: no input_0.pb in the folder; expected {EXPECTED}")
    return chosen


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else 0, path.name)


def _data_set(folder: Path) -> tuple[Arrays, Arrays]:
    read_tensors = import_strings.resolve("evenbench.backends.onnx.file_inputs.test_data:read")
    inputs, outputs = (
        [
            value
            for file in sorted(folder.glob(f"{kind}_*.pb"), key=_number)
            for value in [read_tensors(file)]
        ]
        for kind in ("input", "output")
    )
    return _by_name(inputs, "input"), _by_name(outputs, "output")


def _by_name(values: Sequence[tuple[str, Any]], kind: str) -> dict[str, Any]:
    """Values by the names in the files, or by number; a sequence becomes its elements."""
    arrays: dict[str, Any] = {}
    for index, (name, value) in enumerate(values):
        plain = name or f"{kind}_{index}"
        if isinstance(value, list):
            arrays |= {f"{plain}[{place}]": array for place, array in enumerate(value)}
        elif value is not None:
            arrays[plain] = value
    return arrays


# -- single files ----------------------------------------------------------------------------------


def _npz(path: Path) -> Arrays:
    import numpy as np

    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def _npy(path: Path) -> Arrays:
    import numpy as np

    return {path.stem: np.load(path)}


def _safetensors(path: Path) -> Arrays:
    from safetensors.numpy import load_file

    return dict(load_file(path))


def _torch(path: Path) -> Arrays:
    """Tensors of a file by torch.save: one, a list, or a dictionary. No code of the file runs."""
    import torch

    value = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(value, torch.Tensor):
        value = {path.stem: value}
    if isinstance(value, (list, tuple)):
        value = {f"input_{index}": item for index, item in enumerate(value)}
    if not isinstance(value, Mapping) or not all(
        isinstance(item, torch.Tensor) for item in value.values()
    ):
        raise UsageError(
            f"--inputs {path} holds a {type(value).__name__}; expected a tensor, a list of tensors "
            "or a dictionary of tensors"
        )
    return {str(name): _array(tensor) for name, tensor in value.items()}


def _array(tensor: Any) -> Any:
    import torch

    from evenbench.harness.inputs import element_types

    plain = tensor.detach().cpu().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    if not name.startswith(("bfloat16", "float8")):
        return plain.numpy()
    bits = torch.int16 if plain.element_size() == 2 else torch.uint8
    return plain.view(bits).numpy().view(element_types.dtype_of(name))


READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
"""The reader of each kind of file."""
