#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# /init of doppel's default guest: makes a small Unix world, then leaves to the agent.
/bin/busybox --install -s
export PATH=/sbin:/bin:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
hostname doppel
ifconfig lo 127.0.0.1 up
exec /doppel/agent
