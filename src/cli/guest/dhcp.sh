#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What udhcpc calls with the address that a card of doppel's default guest was given.
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
for r in $router; do
	ip route add default via "$r" dev "$interface" 2>/dev/null && break
done
for s in $dns; do
	echo "nameserver $s"
done > /etc/resolv.conf
