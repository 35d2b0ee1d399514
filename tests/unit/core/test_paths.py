"""A Git LFS pointer in place of a model is named as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.paths import check_content

TEXT = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.pt"])
def test_a_pointer_is_refused_with_the_command_that_fetches_the_content(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_text(TEXT)
    with pytest.raises(UsageError, match="`git lfs pull`"):
        check_content(file)
    for command in ("list", "inspect"):
        assert cli.main([command, str(file)]) == 4
        assert "Git LFS pointer" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"version", b"\x08\x08\x12"])
def test_other_files_pass(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    check_content(file)
    check_content(tmp_path / "absent.onnx")
