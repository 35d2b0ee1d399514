"""A model of one's own from an exported program or a TorchScript archive: through the runtimes, or
refused in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import tensor_specs
from evenbench.backends.torch.files import exported_files
from evenbench.harness import BATCH, Cell, Model, TensorSpec, UsageError
from evenbench.harness.cli import main
from evenbench.harness.collection import user_models
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.inputs import standard_normal

torch = pytest.importorskip("torch")

SIZE = (3, 16, 16)


class Network(torch.nn.Module):
    """A constant that is neither parameter nor buffer, a convolution and a batch norm."""

    converts = False

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1)
        layers = (
            torch.nn.Conv2d(3, 8, 3),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
        )
        self.body, self.head = torch.nn.Sequential(*layers), torch.nn.Linear(8, 4)

    def forward(self, image: Any) -> Any:
        centred = image - self.mean
        return self.head(self.body(centred.to(torch.float32) if self.converts else centred))


class Converting(Network):
    """The same with a conversion to float32, which changes nothing but in float64."""

    converts = True


def network(kind: type[Network] = Network) -> Any:
    torch.manual_seed(0)
    return kind().eval()


def save_program(file: Path, open_batch: bool = False) -> Path:
    sizes = ({0: torch.export.Dim("batch")},) if open_batch else None
    example = torch.randn(2 if open_batch else 1, *SIZE, generator=torch.Generator().manual_seed(0))
    torch.export.save(
        torch.export.export(network(Converting), (example,), dynamic_shapes=sizes), file
    )
    return file


def save_script(file: Path, frozen: bool = False, kind: type[Network] = Network) -> Path:
    with torch.no_grad():
        traced = torch.jit.trace(network(kind), torch.zeros(1, *SIZE))
    torch.jit.save(torch.jit.freeze(traced) if frozen else traced, str(file))
    return file


def model_of(file: Path, **arguments: str) -> Model:
    return Model("own", build=f"{file}:model", arguments=arguments)


def lines_of(
    target: Path, folder: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, dict[str, Any]]:
    capsys.readouterr()  # exporters print, too
    main(["run", str(target), "--plan", "quick", "--results", str(folder), "--json", *more])
    return {
        line["cell"]["backend"]: line for line in json.loads(capsys.readouterr().out)["outcomes"]
    }


def outcomes(lines: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: f"{line['outcome']} {line['reason']}".strip() for name, line in lines.items()}


RUNTIMES = ("torch-eager", "torch-script", "ort", "openvino")


@pytest.mark.slow
def test_an_exported_program_goes_through_the_runtimes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save_program(tmp_path / "net.pt2", open_batch=True)
    found = lines_of(file, tmp_path / "r", capsys, "--backends", ",".join(RUNTIMES), "--batch", "2")
    assert outcomes(found) == dict.fromkeys(RUNTIMES, "ok")
    assert {line["parity"]["golden"] for line in found.values()} == {"float64 torch eager"}
    assert {line["cell"]["id"] for line in found.values()} == {
        f"net-{name}-fp32-cpu-b2" for name in RUNTIMES
    }


@pytest.mark.slow
def test_torchscript_goes_through_what_traces_and_is_refused_by_what_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exporting = ("torch-compile", "torch-aot", "tvm")
    file = save_script(tmp_path / "net.pt")
    found = lines_of(
        file,
        tmp_path / "r",
        capsys,
        "--shape",
        "1x3x16x16",
        "--backends",
        ",".join((*RUNTIMES, *exporting)),
    )
    refused = f"unsupported {exported_files.NO_TRACER.format('net')}"
    assert outcomes(found) == {**dict.fromkeys(RUNTIMES, "ok"), **dict.fromkeys(exporting, refused)}


def test_the_module_of_a_file_answers_as_the_one_that_was_saved(tmp_path: Path) -> None:
    values = torch.from_numpy(
        standard_normal(Model("n", build="a:b", inputs=(TensorSpec("x", (BATCH, *SIZE)),)))["x"]
    )
    for file in (
        save_program(tmp_path / "net.pt2", open_batch=True),
        save_script(tmp_path / "net.pt"),
    ):
        with torch.no_grad():
            torch.testing.assert_close(torch_model.build(model_of(file))(values), network()(values))
            widened = torch_model.build(model_of(file)).double()(values.double())
            torch.testing.assert_close(
                widened, network().double()(values.double()), rtol=1e-6, atol=1e-7
            )
        assert widened.dtype == torch.float64, (
            f"{file.name}: weights and constants are cast, and nothing holds them to their type"
        )


def test_torchscript_that_names_a_type_cannot_be_judged_and_says_so(tmp_path: Path) -> None:
    module = torch_model.build(model_of(save_script(tmp_path / "net.pt", kind=Converting)))
    assert module(torch.zeros(1, *SIZE)).shape == (1, 4)
    with pytest.raises(
        UsageError,
        match=r"net\.pt does not run in float64, the precision of the golden \(.*\); "
        "trace the model without",
    ):
        module.double()(torch.zeros(1, *SIZE, dtype=torch.float64))


def test_the_batch_is_open_where_the_program_says_so(tmp_path: Path) -> None:
    for open_batch, first in ((True, BATCH), (False, 1)):
        model = model_of(save_program(tmp_path / "net.pt2", open_batch))
        (image,), (answer,) = tensor_specs.describe(model)
        assert (image, answer.shape) == (TensorSpec("image", (first, *SIZE)), (first, 4))
        assert torch_model.module_and_examples(model)[1][0].shape == (1, *SIZE), "one sample"


def test_torchscript_is_described_by_the_shape_that_is_given(tmp_path: Path) -> None:
    (image,), (answer,) = tensor_specs.describe(
        model_of(save_script(tmp_path / "net.pt"), shape="1x3x16x16")
    )
    assert (image.shape, answer.shape) == ((BATCH, *SIZE), (BATCH, 4))


def other_name(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save = save_script if name.endswith(".pt2") else save_program
        return save(folder / "saved").rename(folder / name)

    return write


def cut(folder: Path) -> Path:
    file = save_program(folder / "cut.pt2")
    file.write_bytes(file.read_bytes()[:-300])
    return file


def weights(folder: Path) -> Path:
    torch.save(network().state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def of_keywords(folder: Path) -> Path:
    program = torch.export.export(network(), (), {"image": torch.zeros(1, *SIZE)})
    torch.export.save(program, folder / "keywords.pt2")
    return folder / "keywords.pt2"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: folder / "absent.pt2", "absent.pt2: no such file"),
        (cut, r"cut\.pt2 is a truncated or damaged archive"),
        (weights, r"weights\.pt holds tensors and no program; name the function"),
        (other_name("net.pt2"), r"net\.pt2 is TorchScript; rename the file to \.pt"),
        (
            other_name("net.pt"),
            r"net\.pt is an exported program; rename the file to \.pt2",
        ),
        (
            lambda folder: save_script(folder / "frozen.pt", frozen=True),
            "save the module before freezing",
        ),
        (
            lambda folder: save_script(folder / "net.pt"),
            r"net\.pt does not record the shapes of its inputs; give --shape",
        ),
        (of_keywords, "export it with positional tensors alone"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    write: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        tensor_specs.describe(model_of(write(tmp_path)))


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("absent.pt", ModelFlags(), "no such file"),
        ("net.pt2", ModelFlags(shape="1x3x16x16"), "leave --shape out"),
    ],
)
def test_what_is_asked_is_checked_before_torch_is_imported(
    name: str, asked: ModelFlags, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        user_models.find(str(tmp_path / name), asked, 60)


def test_a_file_that_changed_is_another_cell(tmp_path: Path) -> None:
    file = save_program(tmp_path / "net.pt2")
    before = user_models.find(str(file), ModelFlags(), 60)
    assert "image float32[1, 3, 16, 16]" in before.summary
    torch.export.save(
        torch.export.export(network().double().float(), (torch.ones(1, *SIZE),)), file
    )
    after = user_models.find(str(file), ModelFlags(), 60)
    assert Cell(before.case.models[0], "ort").key != Cell(after.case.models[0], "ort").key


def test_photos_become_the_inputs_of_a_file(tmp_path: Path) -> None:
    from PIL import Image

    Image.effect_noise((300, 260), 60).convert("L").save(tmp_path / "grey.png")
    torch.jit.save(torch.jit.script(torch.nn.Flatten()), str(tmp_path / "flat.pt"))
    found = user_models.find(
        str(tmp_path / "flat.pt"),
        ModelFlags(photos=(str(tmp_path / "grey.png"),), recipe="imagenet_224"),
        60,
    )
    (model,) = found.case.models
    assert model.inputs[0].shape == (BATCH, 3, 224, 224)
    assert {"file_sha256", "files", "recipe"} <= set(model.arguments)
    assert np.dtype(model.inputs[0].dtype) == np.float32
