#!/usr/bin/env bash
# apart.sh COMMAND…: run a command in mount, network, ipc, uts and pid namespaces of its own.
# Used by tests/run and the demo. Cgroups stay the host's: v1 hierarchies have no other root.
set -euo pipefail

if [ "${1-}" != --inside ]; then
    exec unshare --mount --net --ipc --uts --pid --fork --kill-child --mount-proc \
        --propagation private "$BASH" "${BASH_SOURCE[0]}" --inside "$@"
fi
shift

# sysfs shows the network of whoever mounted it; below it, the cgroup trees must stay.
cgroups=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$cgroups"
# Not only mounted over: Podman takes what the list of mounts names below /sys for reachable.
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
mount --rbind "$cgroups" /sys/fs/cgroup
umount -l "$cgroups"
rmdir "$cgroups"
# Other runtimes keep their state here; what one leaves must not meet the next run.
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up

# Not exec: this shell is pid 1 here and reaps the processes that lost their parent.
status=0
"$@" || status=$?
exit "$status"
