"""A stranger's exported program runs no code: what torch would run is found without running it."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.torch.files import archive_safety
from evenbench.harness import UsageError, cli

SIZE = "Symbol('s77', positive=True, integer=True)"


class Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.file}'",)


def archive(folder: Path, size: str = SIZE, samples: bytes = b"", **more: Any) -> Path:
    """The members of an exported program that hold text and pickles, as torch 2.15 names them."""
    graph = {"graph": {"sizes": [{"as_expr": {"expr_str": size}}]}, **more}
    file = folder / "model.pt2"
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("m/models/model.json", json.dumps(graph))
        weights = {"config": {"w": {"path_name": "weight_0", "use_pickle": "pickled" in more}}}
        target.writestr("m/data/weights/model_weights_config.json", json.dumps(weights))
        target.writestr("m/data/weights/weight_0", b"\x80\x02anything")
        target.writestr("m/data/sample_inputs/model.pt", samples or pickle.dumps([], 2))
        target.writestr("m/archive_format", "pt2")
    return file


@pytest.mark.parametrize(
    "size", [SIZE, "2*s0 + 1", "Max(1, FloorDiv(s1, 2))", "s0**2", "1.5e3*u1", f"Mul({SIZE}, 2)"]
)
def test_sizes_as_torch_writes_them_pass(size: str, tmp_path: Path) -> None:
    archive_safety.check(archive(tmp_path, size))


@pytest.mark.parametrize(
    "size",
    [
        "__import__('os').system('x')",
        "s0.__class__",
        "open('x')",
        "(lambda: 0)()",
        "[x for x in s0]",
        "exec",
        "'a'.join",
    ],
)
def test_a_size_that_is_a_program_is_refused(size: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can run code of its own.*--trust"):
        archive_safety.check(archive(tmp_path, size))


@pytest.mark.parametrize("protocol", range(6))
def test_no_pickle_is_loaded_and_calls_in_it_are_named(protocol: int, tmp_path: Path) -> None:
    evil = pickle.dumps(Touches(tmp_path / "owned"), protocol)
    for samples in (evil, _saved(evil)):
        with pytest.raises(UsageError, match="a pickle"):
            archive_safety.check(archive(tmp_path, samples=samples))
    assert not (tmp_path / "owned").exists()


def test_pickled_weights_and_guards_are_refused(tmp_path: Path) -> None:
    for more in ({"pickled": True}, {"guards_code": ["__import__('os')"]}):
        with pytest.raises(UsageError, match="can run code"):
            archive_safety.check(archive(tmp_path, **more))
    archive_safety.check(archive(tmp_path, guards_code=["L['x'].size()[0] >= 2"]))


def test_the_command_refuses_and_trust_passes_the_file_on_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = archive(tmp_path, "__import__('os')")
    assert cli.main(["inspect", str(file)]) == 4
    assert "can run code of its own" in capsys.readouterr().err
    monkeypatch.setenv(archive_safety.TRUST, "1")
    archive_safety.check(file)


def test_a_file_that_is_no_archive_is_left_to_torch(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"PK\x03\x04 torn")
    archive_safety.check(tmp_path / "m.pt2")


def _saved(pickled: bytes) -> bytes:
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("archive/data.pkl", pickled)
    return buffer.getvalue()


def _graph_with(target: str) -> dict[str, Any]:
    return {"nodes": [{"target": target, "inputs": [], "outputs": [], "name": "n"}]}


@pytest.mark.parametrize(
    "target",
    [
        *("torch.ops.aten.relu.default", "torch.ops.torchvision.nms.default", "_operator.mul"),
        *("torch.sym_max", "math.trunc", "torch.ops.higher_order.cond", "_operator.getitem"),
    ],
)
def test_operators_on_tensors_and_sizes_pass(target: str, tmp_path: Path) -> None:
    archive_safety.check(archive(tmp_path, **_graph_with(target)))


@pytest.mark.parametrize(
    "target",
    [
        *("torch.serialization.os.system", "torch.hub.load", "_operator.methodcaller"),
        *("torch.ops.aten.save.default", "torch.ops.aten.from_file.default"),
        *("torch.ops.load_library", "torch.ops.import_module", "torch.ops.aten.__class__"),
        *("torch.ops.higher_order.aoti_call_delegate", "#anything", "math.os.system"),
    ],
)
def test_a_node_that_calls_anything_else_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.json: a node .*--trust"):
        archive_safety.check(archive(tmp_path, **_graph_with(target)))


def test_a_constant_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    for name in ("custom_obj_0", "opaque_obj_0", "../tensor_0"):
        with pytest.raises(UsageError, match="a constant is the object"):
            archive_safety.check(archive(tmp_path, constants={"c": {"path_name": name}}))
    archive_safety.check(archive(tmp_path, constants={"c": {"path_name": "tensor_0"}}))


def _script(folder: Path, code: str, constants: bytes = b"") -> Path:
    file = folder / "model.pt"
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("m/code/__torch__.py", code)
        target.writestr("m/constants.pkl", constants or pickle.dumps((), 2))
    return file


@pytest.mark.parametrize(
    "code",
    [
        *('torch.save(y, "x")', 'ops.aten.save(y, "x")', 'torch.from_file("x", True, 4)'),
        *('t.save(y, "x")', 'getattr(torch, "sa" "ve")(y)', 'getattr(torch, "\\x73ave")(y)'),
        "a : __torch__.torch.classes.aoti.Runner",
    ],
)
def test_torchscript_that_reaches_files_or_libraries_is_refused(code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"code/__torch__\.py: .*--trust"):
        archive_safety.check(_script(tmp_path, code))


def test_objects_of_unknown_classes_in_torchscript_are_refused(tmp_path: Path) -> None:
    known = b"c__torch__.torch.classes.quantized\nLinearPackedParamsBase\n"
    unknown = b"c__torch__.torch.classes.aoti.Runner\nmake\n."
    code = 'y = getattr(self, "0")\nsaved = torch.relu(y)\n'
    archive_safety.check(_script(tmp_path, code, known))
    with pytest.raises(UsageError, match=r"constants\.pkl: an object of the C\+\+ class 'aoti"):
        archive_safety.check(_script(tmp_path, code, unknown))


@pytest.mark.parametrize("command", ["inspect", "run"])
def test_torchscript_from_a_stranger_writes_no_file(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Real TorchScript, whose code would write where the user may write."""
    torch = pytest.importorskip("torch")

    class Writes(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            torch.save(x, "owned")
            return x

    monkeypatch.chdir(tmp_path)
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 4)).save("honest.pt")
    torch.jit.script(Writes().eval()).save("model.pt")
    archive_safety.check(tmp_path / "honest.pt")
    assert cli.main([command, "model.pt", "--shape", "1x4"]) == 4
    assert "the code reads or writes files" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()
