"""Downloads: fetched once, stored by sha256, and never used without a matching sha256."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import Unavailable

TIMEOUT_SECONDS = 30


def fetch(url: str, sha256: str) -> Path:
    """The local path of `url`'s content. Raises Unavailable offline, or on another sha256."""
    kept = artifact_store.root() / "downloads" / sha256
    if kept.is_file() and artifact_store.digest_file(kept) == sha256:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=kept.parent, prefix=".part-")
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as stream,
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        ):
            shutil.copyfileobj(response, stream)
        received = artifact_store.digest_file(part)
        if received != sha256:
            raise Unavailable(
                f"{url} has sha256 {received}, expected {sha256}; the file changed, or another "
                "server replied"
            )
        part.replace(kept)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{url} could not be downloaded ({error}); connect once, or put the file with sha256 "
            f"{sha256} at {kept}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return kept
