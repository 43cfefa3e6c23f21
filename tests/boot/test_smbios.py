# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux finds of the machine: SMBIOS in /sys/class/dmi/id, the clock chip's first date, the HPET."""
from conftest import long_only

from test_boot import default_guest, guest_run  # noqa: F401

READ = "cd /sys/class/dmi/id; cat sys_vendor product_name product_uuid board_name bios_vendor; cat /sys/class/rtc/rtc0/date"


@long_only
def test_linux_reads_tables_and_clock(doppel, default_guest):
    r = guest_run(doppel, "sh", "-c", READ, options=[
        "--smbios", "type=1,product=Widget,uuid=550e8400-e29b-41d4-a716-446655440000", "--smbios", "type=2,product=Board",
        "--rtc", "2001-09-09T01:46:40"])
    assert r.out.split("\n")[:6] == ["doppel", "Widget", "550e8400-e29b-41d4-a716-446655440000", "Board", "doppel", "2001-09-09"], r


@long_only
def test_linux_counts_by_the_hpet(doppel, default_guest):
    clock = "/sys/devices/system/clocksource/clocksource0"
    r = guest_run(doppel, "sh", "-c", f"echo hpet > {clock}/current_clocksource; cat {clock}/current_clocksource; sleep 0.5; echo slept",
                  options=["--device", "hpet"])
    assert r.out.split() == ["hpet", "slept"], r
