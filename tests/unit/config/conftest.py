"""Fixtures of the configuration's tests: a prefix with the two files in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from uxc.config.load import Loaded, load
from uxc.paths import Paths

Load = Callable[..., Loaded]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return an empty prefix with the folders that UCI expects."""
    for folder in ("etc/config", "tmp/.uci"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def load_texts(prefix: Path) -> Load:
    """Return a function that writes the texts of both files (None: no file) and loads them."""

    def write_and_load(
        uxc: str | None = None, network: str | None = None, pending: bool = False
    ) -> Loaded:
        for name, text in (("uxc", uxc), ("network", network)):
            if text is not None:
                (prefix / "etc/config" / name).write_text(text)
        return load(Paths(str(prefix)), pending)

    return write_and_load
