#!/bin/sh
# Run a Docker daemon inside of a Debian tree, in namespaces of its own: this machine's network, mounts and
# processes stay as they are, and everything ends with this process.
# Usage, as root: unshare --net --mount --pid --fork --kill-child sh start-engine.sh TREE REPOSITORY CGROUP
set -eu
tree=$1
# A mount point of its own: the daemon looks for the mount that its root stands on.
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
mkdir -p "$tree/src" "$tree/old"
mount --bind "$2" "$tree/src"
mount -o remount,bind,ro "$tree/src"
cd "$tree"
pivot_root . old
umount -l /old
ip link set lo up
cd /src
exec dockerd --host unix:///run/docker.sock --cgroup-parent "/$3" --log-level warn
