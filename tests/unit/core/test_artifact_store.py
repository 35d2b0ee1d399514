"""A cache that cannot lie: any change of what decides the content is a miss, and damage is never
served.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import UsageError
from evenbench.harness.commands import doctor
from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import StoreError
from evenbench.harness.core.measurements import Artifact

PARTS = {
    "weights": "ab" * 32,
    "precision": "fp32",
    "by": {"exporter": "dynamo", "opset": 20, "flags": {"optimize": True}},
}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_user_without_a_home_is_pointed_at_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose uid has no name."""
    monkeypatch.delenv(artifact_store.VARIABLE)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does without a name
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(StoreError, match=f"no home folder.*set {artifact_store.VARIABLE} to"):
        artifact_store.root()
    assert doctor.cache()["advice"].endswith("to a folder of yours")
    assert doctor.environments() == []


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def put(parts: dict[str, Any] = PARTS, **files: str) -> Artifact:
    folder = artifact_store.stage("artifacts")
    for name, content in (files or {"model": "graph"}).items():
        (folder / name).write_text(content)
    return artifact_store.commit(folder, "artifacts", parts, 1.5, {"format": "test"})


def test_what_was_stored_is_found_with_its_facts() -> None:
    stored, found = put(model="graph", data="weights"), artifact_store.find("artifacts", PARTS)
    assert found is not None
    assert (stored.cached, found.cached) == (False, True)
    assert (found.path, found.sha256, found.bytes, found.seconds, found.facts) == (
        stored.path,
        stored.sha256,
        12,
        1.5,
        {"format": "test"},
    )
    assert (Path(found.path) / "model").read_text() == "graph"


def test_an_equal_entry_stays_in_place_for_its_readers() -> None:
    first = put()
    before = (Path(first.path) / "model").stat().st_ino
    again = put()
    assert (Path(first.path) / "model").stat().st_ino == before
    assert (again.path, again.sha256, again.cached) == (first.path, first.sha256, False)
    other = put(model="another graph")
    assert (Path(other.path) / "model").read_text() == "another graph"


def test_nothing_is_found_before_it_is_stored_or_under_another_kind() -> None:
    assert artifact_store.find("artifacts", PARTS) is None
    put()
    assert artifact_store.find("goldens", PARTS) is None


@pytest.mark.parametrize(
    "changed",
    [
        {**PARTS, "weights": "ab" * 31 + "ac"},
        {**PARTS, "precision": "fp16"},
        {**PARTS, "by": {**PARTS["by"], "opset": 21}},
        {**PARTS, "by": {**PARTS["by"], "flags": {"optimize": False}}},
        {**PARTS, "by": {**PARTS["by"], "flags": {"optimize": True, "more": 0}}},
        {key: PARTS[key] for key in ("weights", "precision")},
    ],
    ids=["one weight", "precision", "opset", "one flag", "a new flag", "no exporter"],
)
def test_any_change_is_a_miss(changed: dict[str, Any]) -> None:
    put()
    assert artifact_store.find("artifacts", PARTS) is not None
    assert artifact_store.find("artifacts", changed) is None


def test_a_raised_layout_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    monkeypatch.setattr(artifact_store, "LAYOUT", artifact_store.LAYOUT + 1)
    assert artifact_store.find("artifacts", PARTS) is None


def test_the_digest_is_of_names_and_bytes_wherever_they_lie() -> None:
    digests = [
        put({"n": 1}, a="x").sha256,
        put({"n": 2}, a="y").sha256,
        put({"n": 3}, b="x").sha256,
        put({"n": 4}, a="x", b="").sha256,
    ]
    assert len(set(digests)) == 4
    assert put({"n": 5}, a="x").sha256 == digests[0]


def truncate(folder: Path) -> None:
    (folder / "model").write_text("grap")


def flip(folder: Path) -> None:
    (folder / "model").write_text("grapi")


def remove(folder: Path) -> None:
    (folder / "model").unlink()


def add(folder: Path) -> None:
    (folder / "more").write_text("")


def garble(folder: Path) -> None:
    (folder / artifact_store.MANIFEST).write_text("{")


def empty(folder: Path) -> None:
    (folder / artifact_store.MANIFEST).write_text("{}")


def foreign(folder: Path) -> None:
    (folder / artifact_store.MANIFEST).write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [truncate, flip, remove, add, garble, empty, foreign],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_entry_is_no_entry_and_is_removed(damage: Any) -> None:
    entry = put()
    damage(Path(entry.path))
    assert artifact_store.find("artifacts", PARTS) is None
    assert not Path(entry.path).exists()
    assert put().sha256 == entry.sha256, "it cannot be made again"


def test_files_of_the_manifests_name_further_down_are_content() -> None:
    folder = artifact_store.stage("artifacts")
    (folder / "package").mkdir()
    (folder / "package" / artifact_store.MANIFEST).write_text("of the runtime's own")
    entry = artifact_store.commit(folder, "artifacts", PARTS, 0.0, {})
    assert entry.bytes == len("of the runtime's own")
    (Path(entry.path) / "package" / artifact_store.MANIFEST).write_text("changed")
    assert artifact_store.find("artifacts", PARTS) is None


def test_a_torn_stage_is_invisible(root: Path) -> None:
    folder = artifact_store.stage("artifacts")
    (folder / "model").write_text("half")
    assert artifact_store.find("artifacts", PARTS) is None
    assert put(model="whole").bytes == 5
    assert folder.exists(), "another process may still be filling it"
    artifact_store.discard(folder)
    assert [path.name for path in (root / "artifacts").iterdir()] == [artifact_store.key_of(PARTS)]


def test_two_stages_never_share_a_folder() -> None:
    assert artifact_store.stage("artifacts") != artifact_store.stage("artifacts")


def test_an_entry_made_meanwhile_is_replaced() -> None:
    put(model="first")
    put(model="second")
    found = artifact_store.find("artifacts", PARTS)
    assert found is not None
    assert (Path(found.path) / "model").read_text() == "second"


def test_the_manifest_keeps_what_decided_the_content() -> None:
    assert json.loads((Path(put().path) / artifact_store.MANIFEST).read_text())["parts"] == PARTS


def test_an_unwritable_cache_says_how_to_go_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(
        UsageError,
        match=f"cannot be written .*; set {artifact_store.VARIABLE} to a folder of yours",
    ):
        artifact_store.stage("artifacts")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_says_how_to_go_on(root: Path) -> None:
    (root / "artifacts").mkdir(parents=True)
    (root / "artifacts").chmod(0o500)
    try:
        with pytest.raises(UsageError, match="cannot be written"):
            artifact_store.stage("artifacts")
    finally:
        (root / "artifacts").chmod(0o700)


def test_the_cache_lies_in_the_users_own_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(artifact_store.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert artifact_store.root().name == "evenbench"
    monkeypatch.setenv(artifact_store.VARIABLE, "~/mine")
    assert artifact_store.root() == Path.home() / "mine"


def _change(folder: Path, **values: Any) -> None:
    file = folder / artifact_store.MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _without(key: str) -> Any:
    def damage(folder: Path) -> None:
        file = folder / artifact_store.MANIFEST
        kept = {name: value for name, value in json.loads(file.read_text()).items() if name != key}
        file.write_text(json.dumps(kept))

    return damage


def _manifest_as(make: Any) -> Any:
    def damage(folder: Path) -> None:
        (folder / artifact_store.MANIFEST).unlink()
        make(folder / artifact_store.MANIFEST)

    return damage


def _entry_as(make: Any) -> Any:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return damage


DAMAGES = {
    "forged facts": lambda folder: _change(folder, facts={"format": "forged"}),
    "no facts": lambda folder: _change(folder, facts=None),
    **{f"lacks {key}": _without(key) for key in ("sha256", "bytes", "facts", "seconds", "seal")},
    "manifest is a list": _manifest_as(lambda file: file.write_text("[]")),
    "manifest is deep": _manifest_as(lambda file: file.write_text("[" * 100_000)),
    "manifest is no text": _manifest_as(lambda file: file.write_bytes(b"\xff\xfe{}")),
    "manifest is a pipe": _manifest_as(os.mkfifo),
    "manifest is a folder": _manifest_as(Path.mkdir),
    "manifest is a dangling link": _manifest_as(lambda file: file.symlink_to("/nowhere")),
    "entry is a file": _entry_as(lambda folder: folder.write_text("x")),
    "entry is a pipe": _entry_as(os.mkfifo),
    "entry is a dangling link": _entry_as(lambda folder: folder.symlink_to("/nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_damage_is_a_miss_that_is_made_anew(damage: Any) -> None:
    damage(Path(put().path))
    assert artifact_store.find("artifacts", PARTS) is None
    again = put()
    found = artifact_store.find("artifacts", PARTS)
    assert found is not None
    assert (found.facts, found.sha256) == ({"format": "test"}, again.sha256)


def test_a_link_in_place_of_an_entry_costs_its_target_nothing(tmp_path: Path) -> None:
    folder, precious = Path(put().path), tmp_path / "precious"
    folder.rename(precious)
    folder.symlink_to(precious)
    assert artifact_store.find("artifacts", PARTS) is None
    put()
    assert (precious / "model").read_text() == "graph"


def test_facts_with_keys_that_are_no_text_are_found_again() -> None:
    folder = artifact_store.stage("artifacts")
    (folder / "model").write_text("graph")
    artifact_store.commit(folder, "artifacts", PARTS, 1.5, {1: (2, float("inf"))})  # type: ignore[dict-item]
    assert artifact_store.find("artifacts", PARTS) is not None
