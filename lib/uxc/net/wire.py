"""Wire a container, look whether it is wired, and take everything back.

A wiring is a transaction: plan, write the journal, carry out, look again. If a step fails, or the
kernel then shows something else, what was done is undone in reverse order. If this process dies,
the next one finds the journal: ``unwire`` and ``recover`` work from it, ``wire`` goes on from it.

Nothing here needs pyroute2 before a container is really wired.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from uxc import files
from uxc.errors import SystemFailure, UxcError, system_failure
from uxc.linux import const, ns
from uxc.net import dns, journal, observe
from uxc.net.apply import carry_out
from uxc.net.explain import explain
from uxc.net.journal import BridgeJournal, Journal
from uxc.net.ledger import Ledger, divide, recorded, teardown
from uxc.net.model import Wiring
from uxc.net.ops import Op
from uxc.net.plan import Plan, is_ours, plan_bridge, plan_container
from uxc.net.undo import take_back
from uxc.net.world import StepError, World
from uxc.paths import Paths

GONE = -1


@dataclass(frozen=True, slots=True)
class WiringPlan:
    """All that is between a wiring and the kernel; ``bridges`` are those that are ours to make."""

    bridges: dict[str, tuple[Op, ...]]
    container: Plan

    def __bool__(self) -> bool:
        return bool(self.container) or any(self.bridges.values())

    @property
    def steps(self) -> tuple[Op, ...]:
        """What is added or changed, the bridges first."""
        on_bridges = (op for steps in self.bridges.values() for op in steps)
        return (*on_bridges, *self.container.steps)

    def describe(self) -> list[str]:
        """Return one line for each operation, in their order."""
        return [op.describe() for op in (*self.container.removals, *self.steps)]


class _Lock:
    """Keeps other wirings of the same prefix out: they share bridges and their journals."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._fd = -1

    def __enter__(self) -> None:
        journal.make_dirs(self._paths)
        self._fd = files.lock(f"{self._paths.net_dir}/lock")

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def wire(paths: Paths, wiring: Wiring, netns_fd: int) -> list[str]:
    """Bring the kernel to what ``wiring`` says; return what was done, one line for each step.

    ``netns_fd`` is the container's network namespace and stays the caller's. What was wired
    before and is not wanted any more is taken back. Raises UxcError, and then nothing of what
    this call added is left.
    """
    name = wiring.container
    try:
        with _Lock(paths), World(netns_fd) as world:
            before = journal.read_container(paths, name)
            plan = _plan(paths, wiring, before, world)
            done = [record.describe() for record in plan.container.removals]
            try:
                if plan.container.removals:
                    for record in plan.container.removals:
                        take_back(record, world)
                    # With an address the kernel may take others, and routes: look again.
                    plan = _plan(paths, wiring, before, world)
                if plan:
                    _apply(paths, wiring, before, plan, world)
            except BaseException as error:
                for left in _roll_back(paths, name, before, plan, world):
                    error.add_note(f"and afterwards: {explain(left).message}")
                raise
            resolver = resolver_path(paths, name)
            # Without servers none is made, but one that is mounted already must not go on lying.
            if wiring.dns or os.path.exists(resolver):
                _write_in_place(resolver, dns.resolv_conf(wiring.dns))
            return done + [step.describe() for step in plan.steps]
    except (StepError, UxcError) as failure:
        raise _explained(name, failure) from None
    except OSError as error:
        raise system_failure(f"wire {name}", error) from None


def plan(paths: Paths, wiring: Wiring, netns_fd: int) -> WiringPlan:
    """Return what ``wire`` would do; an empty plan says that the kernel has what is wanted.

    Raises UxcError, also for what would make ``wire`` fail beforehand.
    """
    try:
        with _Lock(paths), World(netns_fd) as world:
            before = journal.read_container(paths, wiring.container)
            return _plan(paths, wiring, before, world)
    except OSError as error:
        raise system_failure(f"look at the wiring of {wiring.container}", error) from None


def unwire(paths: Paths, container: str, netns_fd: int = GONE) -> None:
    """Take back everything that was done for ``container``, as its journal says.

    ``netns_fd`` is negative for a namespace that is gone. Works after a crash between any two
    steps, and again; what is gone already is fine. Raises UxcError for what cannot be taken
    back; the rest is, and the journal keeps what is left.
    """
    try:
        with _Lock(paths):
            done = journal.read_container(paths, container)
            if done == Journal():
                journal.remove(resolver_path(paths, container))
                return
            with World(netns_fd) as world:
                failures = _take_down(paths, container, done, world)
        for failure in failures[1:]:
            failures[0].add_note(f"and {explain(failure).message}")
        if failures:
            raise failures[0]
    except StepError as failure:
        raise _explained(container, failure) from None
    except OSError as error:
        raise system_failure(f"take back the wiring of {container}", error) from None


def recover(paths: Paths, wanted: Collection[str]) -> dict[str, UxcError]:
    """Unwire every container that has files here and is not ``wanted``; return what failed.

    Namespaces are found where they are pinned. Bridges of ours that nobody uses any more go too.
    """
    failed: dict[str, UxcError] = {}
    for container in journal.containers(paths):
        if container not in wanted:
            fd = open_pinned(paths, container)
            try:
                unwire(paths, container, fd)
            except UxcError as error:
                failed[container] = error
            finally:
                if fd != GONE:
                    os.close(fd)
    try:
        with _Lock(paths):
            journal.sweep(paths)
            left = journal.bridges(paths)
            if left:
                with World(GONE) as world:
                    for bridge in left:
                        _leave(paths, bridge, "", world)
    except StepError as failure:
        failed[failure.op.link] = explain(failure)
    except OSError as error:
        failed["bridges"] = system_failure("look for bridges that nobody uses", error)
    return failed


def open_pinned(paths: Paths, container: str) -> int:
    """Return an fd of the pinned namespace of ``container``, GONE when there is none; OSError."""
    try:
        fd = os.open(f"{paths.netns_dir}/{container}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return GONE
    try:
        alive = ns.kind(fd) == const.CLONE_NEWNET
    except OSError:
        # ENOTTY: an empty file, on which the namespace is mounted no longer.
        alive = False
    if alive:
        return fd
    os.close(fd)
    return GONE


def resolver_path(paths: Paths, container: str) -> str:
    """Return the file that ``container`` sees as its /etc/resolv.conf."""
    return f"{paths.net_dir}/{container}{journal.RESOLVER_SUFFIX}"


def _explained(name: str, failure: StepError | UxcError) -> UxcError:
    """Return the error for a user; what went wrong on the way back is told in the same line."""
    error = explain(failure) if isinstance(failure, StepError) else failure
    more = getattr(failure, "__notes__", ())
    return type(error)("; ".join((f"{name}: {error.message}", *more)), error.hint)


def _plan(paths: Paths, wiring: Wiring, before: Journal, world: World) -> WiringPlan:
    """Look at the kernel and return what is missing."""
    ledger = before.records
    have = world.look(wiring, ledger)
    alias = bridge_alias(paths)
    bridges = {}
    for bridge in wiring.bridges:
        there = have.host.links.get(bridge.name)
        if there is None or is_ours(there, alias):
            bridges[bridge.name] = plan_bridge(bridge, have.host, alias)
        else:
            # Somebody else's: joined as it is, if it is a bridge at all.
            plan_bridge(bridge, have.host, alias)
    alias = paths.link_alias(wiring.container)
    return WiringPlan(bridges, plan_container(wiring, have, ledger, alias))


def bridge_alias(paths: Paths) -> str:
    """Return the alias of the bridges that we make; no container is the only owner of one."""
    return f"{paths.alias_prefix}bridge"


def _apply(paths: Paths, wiring: Wiring, before: Journal, plan: WiringPlan, world: World) -> None:
    """Write the journals, carry the plan out, look again."""
    name = wiring.container
    done = recorded(before.records, plan.container.steps)
    # The container's journal names the bridges first: whoever unwires it looks after them.
    announced = Journal(done, _union(before.bridges, plan.bridges))
    if announced != before:
        journal.write_container(paths, name, announced)
    for bridge, steps in plan.bridges.items():
        entry = journal.read_bridge(paths, bridge)
        joined = BridgeJournal(recorded(entry.records, steps), _union(entry.users, [name]))
        if joined != entry:
            journal.write_bridge(paths, bridge, joined)
        carry_out(steps, world)
    carry_out(plan.container.steps, world)
    kept = Journal(divide(wiring, done)[0], tuple(plan.bridges))
    left = _plan(paths, wiring, kept, world).describe()
    if left:
        raise SystemFailure(
            f"wired, but the kernel shows something else; still to do: {left[0]}",
            "another program changes these links too: keep it away from them",
        )
    for bridge in announced.bridges:
        if bridge not in kept.bridges:
            _leave(paths, bridge, name, world)
    if kept != announced:
        _keep(paths, name, kept)


def _roll_back(
    paths: Paths, name: str, before: Journal, plan: WiringPlan, world: World
) -> list[StepError]:
    """Undo what ``_apply`` may have done; return what could not be undone, which stays journaled.

    The kernel decides what there is to undo, so it does not matter how far ``_apply`` came.
    """
    left, failures = _take_all_back(recorded((), plan.container.steps), world)
    bridges = before.bridges
    for bridge in plan.bridges:
        if bridge not in bridges:
            try:
                _leave(paths, bridge, name, world)
            except StepError as failure:
                failures.append(failure)
                bridges = (*bridges, bridge)
    _keep(paths, name, Journal((*before.records, *left), bridges))
    return failures


def _take_down(paths: Paths, name: str, done: Journal, world: World) -> list[StepError]:
    """Undo everything that a container's journal holds; return what could not be undone."""
    left, failures = _take_all_back(done.records, world)
    bridges: tuple[str, ...] = ()
    for bridge in done.bridges:
        try:
            _leave(paths, bridge, name, world)
        except StepError as failure:
            failures.append(failure)
            bridges = (*bridges, bridge)
    if not failures:
        # Before the journal, which is what leads here again if we die in between.
        journal.remove(resolver_path(paths, name))
    _keep(paths, name, Journal(left, bridges))
    return failures


def _take_all_back(records: Ledger, world: World) -> tuple[Ledger, list[StepError]]:
    """Carry out undo records, last first; return those that the kernel refused, and its reasons."""
    left: Ledger = ()
    failures: list[StepError] = []
    for record in teardown(records):
        try:
            take_back(record, world)
        except StepError as failure:
            failures.append(failure)
            left = (record, *left)
    return left, failures


def _leave(paths: Paths, bridge: str, user: str, world: World) -> None:
    """Note that ``user`` plugs nothing into ``bridge``; the last one undoes what made it.

    StepError; the journal of the bridge then stays, and with it the chance to try again.
    """
    entry = journal.read_bridge(paths, bridge)
    left = journal.living_users(paths, entry, user)
    if left.users:
        if left != entry:
            journal.write_bridge(paths, bridge, left)
        return
    (link,) = observe.find_links(world.host, [bridge])
    # A bridge of that name that is not ours was made after ours had been removed by others.
    if link is not None and is_ours(link, bridge_alias(paths)):
        for record in teardown(entry.records):
            take_back(record, world)
    journal.remove(journal.bridge_path(paths, bridge))


def _keep(paths: Paths, name: str, left: Journal) -> None:
    """Write the journal of a container, or remove it when there is nothing in it."""
    if left == Journal():
        journal.remove(journal.container_path(paths, name))
    else:
        journal.write_container(paths, name, left)


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _write_in_place(path: str, text: str) -> None:
    """Write a file that may be bind-mounted somewhere: a rename would not be seen there."""
    data = text.encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        files.write_all(fd, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
