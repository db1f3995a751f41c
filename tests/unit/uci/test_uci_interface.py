"""What ``uxc.uci`` itself offers: pyuci's names."""

import importlib.util

import pytest

from uxc import uci
from uxc.uci import exceptions, files


def test_the_room_offers_the_names_of_pyuci() -> None:
    """Code written for pyuci changes its import and nothing else."""
    from uxc.uci import Uci, UciException, UciExceptionInvalidInput, UciExceptionNotFound

    assert callable(Uci)
    assert issubclass(UciExceptionNotFound, UciException)
    assert UciExceptionInvalidInput is exceptions.UciExceptionInvalidInput
    with pytest.raises(AttributeError, match="has no attribute 'Ucx'"):
        _ = uci.Ucx


def test_a_prefix_is_served_by_our_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where libuci is, it serves the host; its built-in folders cannot be moved below a prefix."""
    monkeypatch.setenv("UXC_PREFIX", "/nowhere")
    assert uci.Uci is files.Uci

    monkeypatch.delenv("UXC_PREFIX")
    ours = importlib.util.find_spec("uci") is None
    assert (uci.Uci is files.Uci) == ours
