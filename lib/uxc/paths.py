"""Every fixed path of every program, below one prefix (``UXC_PREFIX``, unset means ``/``).

Paths that the user names (bundles, mounts, overlays) are taken as they are and never pass here.
"""

import binascii
import posix


class Paths:
    """The fixed paths below one prefix; a value, made once by a program's ``main``.

    ``mark`` is empty for the prefix ``/`` and a short digest for any other: it makes names in
    places that know no prefix (cgroups, link aliases) distinct, so that two prefixes run and clean
    up side by side.
    """

    def __init__(self, prefix: str = "") -> None:
        """Take ``prefix`` as an absolute path, with or without a trailing slash."""
        prefix = prefix.rstrip("/")
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"UXC_PREFIX must be an absolute path, not '{prefix}'")
        self.prefix = prefix
        self.mark = f"{binascii.crc32(prefix.encode()):08x}" if prefix else ""

        self.config_dir = prefix + "/etc/config"
        self.uci_save_dir = prefix + "/tmp/.uci"
        self.uci_conf2_dir = prefix + "/var/run/uci"
        self.rpcd_dir = prefix + "/var/run/rpcd"

        self.run = run = prefix + "/var/run/uxc"
        self.control_socket = run + "/control.sock"
        self.manager_lock = run + "/manager.lock"
        self.keeper_socket = run + "/keeper.sock"
        self.keeper_lock = run + "/keeper.lock"
        # A read-only bind mount of the interpreter (docs/security.md, "the interpreter").
        self.interpreter = run + "/interp/python3"
        self.netns_dir = run + "/netns"
        self.userns_dir = run + "/userns"
        self.net_dir = run + "/net"
        self.bundle_dir = run + "/bundles"
        self.seccomp_dir = run + "/seccomp"
        # State roots of the core: the manager's containers, and those of a bare uxc-runtime.
        self.container_root = run + "/containers"
        self.runtime_root = run + "/runtime"
        self.output_dir = run + "/output"

    @property
    def cgroup_parent(self) -> str:
        """The cgroup, relative to a hierarchy's root, that holds everything of this prefix."""
        return f"uxc-{self.mark}" if self.mark else "uxc"

    def link_alias(self, container: str) -> str:
        """Return the IFLA_IFALIAS text that marks a link as made for ``container``."""
        return f"{self.alias_prefix}{container}"

    @property
    def alias_prefix(self) -> str:
        """The part of the alias that says a link is ours."""
        return f"uxc:{self.mark}:"


def from_environment() -> Paths:
    """Return the paths for this process, as ``UXC_PREFIX`` says.

    Raises ValueError when the variable holds a relative path.
    """
    return Paths(posix.environ.get(b"UXC_PREFIX", b"").decode())
