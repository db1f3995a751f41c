"""Where the manager's log lines go."""

import logging
import syslog
from collections.abc import Iterator

import pytest

from uxc import log


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


def test_syslog_gets_one_message_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the priority of the record, and without bytes that would cut it off."""
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: sent.append((priority, text)))
    log.set_up("syslog")

    logging.getLogger("x").error("one\ntwo \0 three")
    logging.getLogger("x").info("four")
    logging.getLogger("x").debug("five")

    assert sent == [
        (syslog.LOG_ERR, "one"),
        (syslog.LOG_ERR, "two \\0 three"),
        (syslog.LOG_INFO, "four"),
    ]


def test_stderr_gets_lines_with_the_programs_name(capsys: pytest.CaptureFixture[str]) -> None:
    """As other programs write them."""
    log.set_up("stderr", debug=True, ident="uxc")

    logging.getLogger("x").debug("ready")

    assert capsys.readouterr().err == "uxc: ready\n"
