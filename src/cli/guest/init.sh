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
# Devices ask for drivers, and what these find asks for more.
if [ -d /lib/modules ]; then
	for pass in 1 2 3; do
		cat /sys/bus/*/devices/*/modalias 2>/dev/null | sort -u | xargs modprobe -q -b -a 2>/dev/null
	done
fi
if [ -e /doppel/ask-for-addresses ]; then
	for card in /sys/class/net/eth*; do
		ip link set "${card##*/}" up
		udhcpc -i "${card##*/}" -n -q -f -t 3 -T 1 -s /doppel/dhcp >/dev/null 2>&1 &
	done
	wait
fi
if [ -e /doppel/shares ]; then
	while IFS= read -r tag; do
		mkdir -p "/mnt/$tag" && mount -t virtiofs "$tag" "/mnt/$tag"
	done < /doppel/shares
fi
exec /doppel/agent
