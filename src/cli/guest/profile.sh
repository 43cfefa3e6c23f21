# SPDX-License-Identifier: GPL-2.0-or-later
# Read by the interactive shell of doppel's default guest.
export PS1='\h:\w\$ '
echo
echo "$(uname -sr) on $(grep -c ^processor /proc/cpuinfo) CPU(s), $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB, up $(cut -d' ' -f1 /proc/uptime) s"
echo "This is a busybox shell in memory. 'exit' powers the machine off; Ctrl-A x leaves at once, Ctrl-A h helps."
echo
