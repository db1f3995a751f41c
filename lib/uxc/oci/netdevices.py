"""linux.netDevices: network devices of the runtime's namespace that the container gets.

Moved once, and never moved back by delete (config-linux.md, "Network Devices"): with the namespace
the kernel returns the physical ones and destroys the others. Only a create that fails gives back.
"""

import errno
import posix

from uxc.errors import ConflictError, InvalidError, NotFoundError, system_failure
from uxc.linux import const, ns
from uxc.linux import rtnetlink as rtnl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.linux.rtnetlink import Address, Link

_WHERE = "config.json: linux.netDevices"
# Attributes of an address that make it what it is; its label holds the device's old name.
_KEPT = (rtnl.IFA_ADDRESS, rtnl.IFA_LOCAL, rtnl.IFA_BROADCAST, rtnl.IFA_RT_PRIORITY)
_AF_INET6 = 10


class _Moved:
    """One device on its way: what it was, and where it is."""

    __slots__ = ("addresses", "index", "link")

    def __init__(self, link: "Link", addresses: "list[Address]") -> None:
        self.link = link
        self.addresses = addresses
        # In the container; 0: not there yet.
        self.index = 0


class NetDevices:
    """The devices that a container gets, and the way back for as long as this is not closed."""

    __slots__ = ("_away", "_home", "_home_fd", "_moved", "_netns_fd")

    def __init__(self, netns: str) -> None:
        """Connect to the caller's namespace and to the one that is at the path ``netns``.

        Raises InvalidError when they are one, SystemFailure. The caller has one thread.
        """
        self._moved: list[_Moved] = []
        opened: list[int] = []
        try:
            for path in (netns, "/proc/thread-self/ns/net"):
                opened.append(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC))
            self._netns_fd, self._home_fd = opened
            if ns.is_own(self._netns_fd, "net"):
                raise InvalidError(f"{_WHERE}: the container shares the runtime's network")
            with ns.entered(self._netns_fd, "net"):
                self._away = rtnl.Netlink()
            self._home = rtnl.Netlink()
        except BaseException as error:
            for fd in opened:
                posix.close(fd)
            if isinstance(error, OSError):
                raise system_failure("look into the container's network", error) from None
            raise

    def close(self) -> None:
        """Leave the devices where they are."""
        self._home.close()
        self._away.close()
        posix.close(self._home_fd)
        posix.close(self._netns_fd)

    def move(self, devices: "dict[str, str]") -> None:
        """Move the ``devices``, name here → name there (empty: the same), and set them up there.

        A name with ``%d`` is completed by the kernel. Permanent addresses of global scope go with
        their device. Raises UxcError; ``take_back`` then returns those that were moved.
        """
        for name, wanted in devices.items():
            self._move(name, wanted or name)

    def _move(self, name: str, wanted: str) -> None:
        where = f"{_WHERE}.{name}"
        try:
            link = self._home.link(name)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise system_failure(f"find network device {name}", error) from None
            raise NotFoundError(
                f"{where}: there is no such network device",
                "ip link shows those of the runtime's namespace",
            ) from None
        try:
            before = {found.index: found.name for found in self._away.links()}
            if wanted in before.values():
                raise ConflictError(f"{where}: the container has a device called {wanted} already")
            device = _Moved(link, self._home.addresses(link.index))
            self._moved.append(device)
            # At once, by its index: nobody can meet the device under its old name there.
            attributes = [
                rtnl.number_attribute(rtnl.IFLA_NET_NS_FD, self._netns_fd),
                rtnl.name_attribute(wanted),
            ]
            try:
                self._home.set_link(link.index, name, attributes)
            finally:
                # Also when only the last part failed: the device may be there all the same.
                new = [found for found in self._away.links() if found.index not in before]
                device.index = new[0].index if new else 0
            # Before it is up: no packet goes out with an address that is not the right one.
            for address in device.addresses:
                _give(self._away, device.index, address, wanted)
            self._away.set_flag(device.index, wanted, const.IFF_UP, True)
        except OSError as error:
            hint = ""
            if error.errno == errno.EINVAL:
                hint = "loopback, bridges and some tunnels belong to one namespace for ever"
            raise system_failure(f"move network device {name}", error, hint) from None

    def take_back(self) -> "list[str]":
        """Move all devices back, the last one first, with name, addresses and state.

        Returns a sentence for each that does not come.
        """
        failed = []
        while self._moved:
            device = self._moved.pop()
            try:
                self._take_back(device)
            except OSError as error:
                what = f"move network device {device.link.name} back"
                failed.append(system_failure(what, error).message)
        return failed

    def _take_back(self, device: _Moved) -> None:
        name = device.link.name
        if device.index:
            before = {found.index for found in self._home.links()}
            attributes = [
                rtnl.number_attribute(rtnl.IFLA_NET_NS_FD, self._home_fd),
                rtnl.name_attribute(name),
            ]
            self._away.set_link(device.index, name, attributes)
            index = next(found.index for found in self._home.links() if found.index not in before)
            for address in device.addresses:
                _give(self._home, index, address, name)
        else:
            index = device.link.index
        if device.link.master:
            master = rtnl.number_attribute(rtnl.IFLA_MASTER, device.link.master)
            self._home.set_link(index, name, [master])
        if device.link.flags & const.IFF_UP:
            self._home.set_flag(index, name, const.IFF_UP, True)


def _give(where: rtnl.Netlink, index: int, address: "Address", name: str) -> None:
    """Give a device the address again that it lost with the move, if it is one that stays."""
    lasting = address.flags & rtnl.IFA_F_PERMANENT and address.scope == rtnl.RT_SCOPE_UNIVERSE
    if not lasting:
        return
    flags = address.flags & rtnl.IFA_F_NOPREFIXROUTE
    if address.family == _AF_INET6:
        # Nobody else took it on the same link meanwhile, and it is usable at once.
        flags |= rtnl.IFA_F_NODAD
    attributes = [(kind, value) for kind, value in address.attributes if kind in _KEPT]
    attributes.append(rtnl.number_attribute(rtnl.IFA_FLAGS, flags))
    where.add_address(index, address, name, attributes)
