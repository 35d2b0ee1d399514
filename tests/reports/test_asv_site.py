"""The report and asv's published site link to each other, wherever both are moved."""

import json
from pathlib import Path

import pytest
import synthetic

from evenbench.harness import cli
from evenbench.harness.commands import report as asv_site
from evenbench.harness.core import exit_codes
from evenbench.reports.pages import index


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """What matters of a site that `asv publish` made."""
    folder = tmp_path / "site" / "asv pages"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(
        json.dumps({"project": "evenbench", "project_url": "#", "show_commit_url": "#"})
    )
    (folder / "index.html").write_text("asv")
    return folder


def report(tmp_path: Path, asv: Path) -> int:
    (tmp_path / "results").mkdir(exist_ok=True)
    (tmp_path / "results" / "run.jsonl").write_text(json.dumps(synthetic.record()) + "\n")
    return cli.main(
        ["report", str(tmp_path / "results"), "-o", str(tmp_path / "site"), "--asv", str(asv)]
    )


def test_each_links_to_the_other_by_a_relative_address(tmp_path: Path, published: Path) -> None:
    assert report(tmp_path, published) == 0
    assert (
        '<a href="asv%20pages/index.html">asv</a>' in (tmp_path / "site" / "index.html").read_text()
    )
    found = json.loads((published / "index.json").read_text())
    assert found == {"project": "evenbench", "project_url": "../index.html", "show_commit_url": "#"}
    assert sorted(file.name for file in published.iterdir()) == ["index.html", "index.json"]


def test_without_a_site_of_asv_there_is_no_link() -> None:
    assert ">asv</a>" not in index.render([synthetic.record()])


@pytest.mark.parametrize("text", [None, "not json", "[]", "{}"])
def test_a_folder_that_is_no_site_of_asv_is_refused_before_anything_is_written(
    text: str | None, tmp_path: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (published / "index.json").unlink() if text is None else (published / "index.json").write_text(
        text
    )
    assert report(tmp_path, published) == exit_codes.USAGE
    assert "run `asv publish`" in capsys.readouterr().err
    assert not (tmp_path / "site" / "index.html").exists()


def test_folders_side_by_side(published: Path, tmp_path: Path) -> None:
    assert (
        asv_site.address(published, tmp_path / "elsewhere" / "deep")
        == "../../site/asv%20pages/index.html"
    )
