"""The text of a container's resolv.conf, from the servers that its interfaces name."""

from collections.abc import Iterable

# resolv.conf(5): MAXNS; the C library ignores more, and musl asks all of them at once.
MAX_SERVERS = 3


def resolv_conf(servers: Iterable[str]) -> str:
    """Return the text of resolv.conf (5) for ``servers``, in their order, each once.

    Without any server the text is empty but for its first line: the container asks nobody, instead
    of whoever its image was built to ask.
    """
    lines = ["# Written by uxc from /etc/config/network; changes here are lost."]
    lines += (f"nameserver {server}" for server in list(dict.fromkeys(servers))[:MAX_SERVERS])
    return "\n".join(lines) + "\n"
