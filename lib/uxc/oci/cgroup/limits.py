"""All limits of a ``resources`` object as writes, each to the version with its controller; pure.

On a hybrid machine a controller is bound to v1 or to v2, never to both: the two mix freely.
"""

from uxc.errors import InvalidError
from uxc.oci.cgroup import limits_v1, limits_v2
from uxc.oci.cgroup.values import Limit
from uxc.oci.spec_fields import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.oci.cgroup.layout import Layout
    from uxc.oci.spec_resources import CPU, Resources


def plan(resources: "Resources", layout: "Layout") -> "tuple[list[Limit], list[str]]":
    """Return the writes in their order, and warnings about settings that have no effect.

    Raises InvalidError, with the JSON path, for a limit that contradicts itself or that this
    machine cannot enforce.
    """
    where = resources.where
    warnings: list[str] = []
    writes: list[Limit] = []
    if resources.memory is not None:
        path = member(where, "memory")
        table = limits_v1 if layout.version_of("memory") == 1 else limits_v2
        writes += table.memory(resources.memory, path, warnings)
    if resources.cpu is not None:
        writes += _cpu(resources.cpu, member(where, "cpu"), layout, warnings)
    if resources.pids_limit is not None:
        table = limits_v1 if layout.version_of("pids") == 1 else limits_v2
        writes += table.pids(resources.pids_limit, member(where, "pids"))
    if resources.block_io is not None:
        table = limits_v1 if layout.version_of("io") == 1 else limits_v2
        writes += table.block_io(resources.block_io, member(where, "blockIO"))
    if resources.hugepage_limits:
        table = limits_v1 if layout.version_of("hugetlb") == 1 else limits_v2
        writes += table.hugetlb(resources.hugepage_limits, member(where, "hugepageLimits"))
    if resources.rdma:
        version = layout.version_of("rdma") or 2
        writes += limits_v2.rdma(resources.rdma, member(where, "rdma"), version)
    if resources.network is not None:
        old = "net_cls" in layout.v1 or "net_prio" in layout.v1
        table = limits_v1 if old else limits_v2
        writes += table.network(resources.network, member(where, "network"))
    if resources.unified:
        writes += limits_v2.unified(resources.unified, member(where, "unified"))
    return [limit for limit in writes if _is_possible(limit, layout)], warnings


def _cpu(wanted: "CPU", where: str, layout: "Layout", warnings: "list[str]") -> "list[Limit]":
    # cpu and cpuset are two controllers: one may be bound to v1 while the other is not.
    time = limits_v1 if layout.version_of("cpu") == 1 else limits_v2
    version = 1 if layout.version_of("cpuset") == 1 else 2
    writes: list[Limit] = time.cpu(wanted, where, warnings)
    for key, value in (("cpus", wanted.cpus), ("mems", wanted.mems)):
        if value:
            writes.append(Limit(version, "cpuset", f"cpuset.{key}", value, f"{where}.{key}"))
    return writes


def _is_possible(limit: "Limit", layout: "Layout") -> bool:
    """Tell whether the limit must be written; InvalidError when the machine cannot enforce it."""
    # cgroup.max.depth and its kin belong to the tree itself.
    if limit.controller == "cgroup" and layout.unified:
        return True
    version = layout.version_of(limit.controller)
    if version == limit.version:
        return True
    if not version and limit.value in ("max", "-1"):
        # Unlimited is what a machine without the controller does.
        return False
    raise InvalidError(
        f"{limit.origin}: this machine's kernel has no controller"
        f" '{limit.controller}' of cgroup v{limit.version}"
    )
