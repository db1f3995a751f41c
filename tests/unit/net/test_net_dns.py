"""The text of resolv.conf."""

from uxc.net.dns import resolv_conf


def lines(*servers: str) -> list[str]:
    """Return the lines after the comment."""
    first, *rest = resolv_conf(servers).splitlines()
    assert first.startswith("#")
    return rest


def test_servers_in_their_order() -> None:
    """Servers are named in the order of the configuration, each once."""
    assert lines("10.0.0.1", "fd00::1", "10.0.0.1") == ["nameserver 10.0.0.1", "nameserver fd00::1"]


def test_no_more_than_the_library_reads() -> None:
    """The C library reads three; a fourth would only look as if it were used."""
    assert len(lines("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")) == 3


def test_none() -> None:
    """Without servers the file names none."""
    assert lines() == []
