"""Where in the hierarchies a container's cgroup is: what ``linux.cgroupsPath`` means here; pure."""

from uxc.errors import InvalidError


def relative_path(container_id: str, cgroups_path: str, parent: str) -> str:
    """Return the path of the container's cgroup below every hierarchy's mount point.

    An absolute ``cgroups_path`` is taken as it is, a relative one lies below ``parent``, and none
    at all means ``<parent>/c/<container_id>``. A systemd triple ``slice:prefix:name`` is put where
    systemd would put that unit. Raises InvalidError for a path that names no cgroup of its own.
    """
    if not cgroups_path:
        return f"{parent}/c/{container_id}"
    if cgroups_path[0] != "/" and cgroups_path.count(":") == 2 and "/" not in cgroups_path:
        return _unit_path(cgroups_path)
    parts = [part for part in cgroups_path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        _refuse(f"'{cgroups_path}' is no cgroup that a container can have")
    if cgroups_path[0] != "/":
        parts.insert(0, parent)
    return "/".join(parts)


def _unit_path(triple: str) -> str:
    group, prefix, name = triple.split(":")
    if not name:
        _refuse(f"'{triple}' has no unit name")
    unit = name
    if not name.endswith(".slice"):
        unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return "/".join([*_slices(group or "system.slice"), unit])


def _slices(group: str) -> "list[str]":
    """Return the nested directories of a slice: ``a-b.slice`` lies in ``a.slice``."""
    if group == "-.slice":
        return []
    name = group.removesuffix(".slice")
    parts = name.split("-")
    if name == group or "" in parts:
        _refuse(f"'{group}' is no systemd slice")
    return ["-".join(parts[: depth + 1]) + ".slice" for depth in range(len(parts))]


def _refuse(message: str) -> None:
    raise InvalidError(f"config.json: linux.cgroupsPath: {message}")
