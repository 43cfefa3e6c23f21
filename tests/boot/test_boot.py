# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: an unmodified Debian kernel boots to a shell, and what it prints is true."""
import os
import re
import signal
import time

import pytest

from conftest import BOOT_LIMIT, ENGINE, PATIENCE, SHORT, cpu_seconds, long_only, memory_kib

PROMPT = r"\n[^\n]*# (\x1b\[6n)?$"  # the shell may ask where the cursor is
KIB_PER_GIB = 1 << 20


def guest_run(doppel, *command, options=(), stdin=b""):
    return doppel("run", *options, "--", *command, stdin=stdin, limit=BOOT_LIMIT)


@pytest.fixture(scope="module")
def default_guest(doppel):
    """Fetch it once, outside of any test's time limit."""
    if SHORT:
        return
    r = guest_run(doppel, "true")
    assert r.status == 0, r


@pytest.mark.parametrize("cpus", [2] if SHORT else [1, 2])
def test_cpuinfo_and_status(doppel, cpus):
    """The issue's own example."""
    r = guest_run(doppel, "sh", "-c", "cat /proc/cpuinfo; exit 7", options=["--cpus", cpus])
    assert r.status == 7, r
    assert re.findall(r"^processor\s*: (\d+)$", r.out, re.M) == [str(i) for i in range(cpus)], r
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        host = f.read()
    for field in ("vendor_id", "cpu family", "model", "stepping", "model name"):
        pattern = rf"^{field}\s*: (.*)$"
        assert re.search(pattern, r.out, re.M)[1].strip() == re.search(pattern, host, re.M)[1].strip()
    flags = set(re.search(r"^flags\s*: (.*)$", r.out, re.M)[1].split())
    assert {"fpu", "sse2", "lm", "nx", "hypervisor"} <= flags


@long_only
def test_statuses(doppel, default_guest):
    assert guest_run(doppel, "true").status == 0
    assert guest_run(doppel, "false").status == 1
    assert guest_run(doppel, "sh", "-c", "exit 255").status == 255
    assert guest_run(doppel, "sh", "-c", "kill -9 $$").status == 137
    assert guest_run(doppel, "no-such-command").status == 127


@long_only
@pytest.mark.parametrize("memory,kib", [("256M", 256 << 10), ("1G", KIB_PER_GIB), ("5G", 5 * KIB_PER_GIB)])
def test_memory_size(doppel, default_guest, memory, kib):
    """MemTotal is what was asked for without what the kernel keeps to itself."""
    r = guest_run(doppel, "cat", "/proc/meminfo", options=["--memory", memory])
    total = int(re.search(r"^MemTotal:\s+(\d+) kB", r.out, re.M)[1])
    assert 0.85 * kib - 65536 < total <= kib, (total, kib)


@long_only
def test_arguments_arrive_as_they_are(doppel, default_guest):
    words = ["a b", "", "'quoted'", '"double"', "$HOME", "back\\slash", "*", "tab\there", "ünï"]
    r = guest_run(doppel, "sh", "-c", 'for i; do printf "[%s]" "$i"; done', "sh", *words)
    assert (r.status, r.out.strip()) == (0, "".join(f"[{w}]" for w in words)), r


@long_only
def test_large_output_is_complete(doppel, default_guest):
    """A megabyte and more through the serial port, byte for byte."""
    count = 160000
    r = guest_run(doppel, "sh", "-c", f"seq 1 {count} | cat")
    assert r.status == 0, r
    assert r.out.replace("\r", "") == "".join(f"{i}\n" for i in range(1, count + 1))


@long_only
def test_piped_input(doppel, default_guest):
    r = guest_run(doppel, "sh", "-c", "read a; read b; echo \"<$a><$b>\"; cat; echo end", stdin=b"first\nsecond\nthird\n")
    assert r.status == 0, r
    assert re.search(r"<first><second>\r?\n", r.out) and re.search(r"third\r?\n.*end", r.out, re.S), r


@long_only
def test_script_on_standard_input(doppel, default_guest):
    r = doppel("run", stdin=b"word='a  b'\necho \"<$word>\" $((40 + 2))\nexit 3\n", limit=BOOT_LIMIT)
    assert (r.status, r.out) == (3, "<a  b> 42\n"), r
    r = doppel("run", limit=BOOT_LIMIT)
    assert (r.status, r.out) == (0, ""), r


@long_only
def test_both_cpus_work(doppel, default_guest):
    busy = "i=0; while [ $i -lt 24000 ]; do i=$((i+1)); done"
    r = guest_run(doppel, "sh", "-c", f"({busy}) & ({busy}) & wait; cat /proc/stat", options=["--cpus", "2"])
    assert r.status == 0, r
    for cpu in (0, 1):
        user = int(re.search(rf"^cpu{cpu} (\d+)", r.out, re.M)[1])
        print(f"cpu{cpu}: {user} ticks of user time")
        assert user >= 5, r


@pytest.fixture(scope="module", params=[1] if SHORT else [1, 2], ids=lambda n: f"{n}cpus")
def shell(request, doppel, default_guest):
    """A guest with an interactive shell, shared by the tests below; its own test is that it gets there."""
    from conftest import Terminal

    t = Terminal(doppel.path, "run", "--cpus", request.param)
    start = time.monotonic()
    t.expect(PROMPT, BOOT_LIMIT)
    print(f"default guest with {request.param} CPUs: {time.monotonic() - start:.1f} s to the shell")
    t.cpus = request.param
    yield t
    t.close()


def test_shell(shell):
    n = shell.command("echo $((6*7)) processors: $(nproc)", r"42 processors: (\d+)\n")[1]
    assert int(n) == shell.cpus
    shell.command("uname -sm", r"Linux x86_64\n")
    assert shell.is_raw()


def test_clock(shell):
    """The guest's clock goes as the host's, within 1 % over 5 seconds, and shows the same time."""
    def guest_uptime():
        up = float(shell.command("cut -d' ' -f1 /proc/uptime", r"\n(\d+\.\d+)\n")[1])
        return up, time.monotonic()

    guest_uptime()
    for _ in range(3): # an answer that comes late, on a loaded host, is no fault of the clock
        g0, h0 = guest_uptime()
        time.sleep(5)
        g1, h1 = guest_uptime()
        print(f"guest {g1 - g0:.3f} s, host {h1 - h0:.3f} s")
        if abs((g1 - g0) / (h1 - h0) - 1) < 0.01:
            break
    else:
        pytest.fail("the guest's clock goes wrong")
    now = int(shell.command("date +%s", r"\n(\d{9,})\n")[1])
    assert abs(now - time.time()) < 3


def test_sleep_lasts(shell):
    start = time.monotonic()
    shell.command("sleep 2; echo slept", r"\nslept\n")
    assert 1.9 < time.monotonic() - start < 4 * PATIENCE


def test_idle_guest_is_idle(shell, record_property):
    """SPECIFICATION.md promises under 2 % of a core; the bound here only catches a guest that does not sleep."""
    time.sleep(2)
    seconds = 3 if SHORT else 10
    before = cpu_seconds(shell.p.pid)
    time.sleep(seconds)
    share = (cpu_seconds(shell.p.pid) - before) / seconds
    record_property("idle_share", share)
    print(f"idle guest with {shell.cpus} CPUs: {share:.2%} of a core")
    assert share < 0.2


@long_only
def test_own_memory(shell, record_property):
    """The VMM's own memory is what it takes over the guest's pages, which are the shared mapping."""
    m = memory_kib(shell.p.pid)
    own = m["RssAnon"] + m["RssFile"]
    record_property("own_kib", own)
    print(f"VMM's own memory: {own / 1024:.1f} MiB; guest touched {m['RssShmem'] / 1024:.1f} MiB")
    assert own < (30 if ENGINE == "interp" else 40) * 1024 # the translator keeps code


def test_power_off(shell):
    """The last test of the shared guest."""
    shell.send("poweroff -f\n")
    assert shell.wait(BOOT_LIMIT) == 0
    assert shell.restored()


@long_only
def test_leave_the_shell_by_exit(terminal, default_guest):
    t = terminal("run")
    t.expect(PROMPT, BOOT_LIMIT)
    t.send("exit\n")
    assert t.wait(BOOT_LIMIT) == 0
    assert t.restored()


@long_only
def test_leave_by_escape(terminal, default_guest):
    t = terminal("run", "--", "sleep", "1000")
    time.sleep(3)
    t.send("\x01x")
    assert t.wait(30) in (0, 1)
    assert t.restored()


@long_only
def test_reboot(terminal, default_guest):
    """The same kernel again; and with --no-reboot the end."""
    t = terminal("run")
    t.expect(PROMPT, BOOT_LIMIT)
    t.command("echo before", r"\nbefore\n")
    since = len(t.text())
    t.send("reboot -f\n")
    t.expect(PROMPT, BOOT_LIMIT, since + len("reboot -f\n"))
    up = float(t.command("cut -d' ' -f1 /proc/uptime", r"\n(\d+\.\d+)\n")[1])
    assert up < BOOT_LIMIT
    t.send("\x01x")
    assert t.wait() == 0
    t = terminal("run", "--no-reboot")
    t.expect(PROMPT, BOOT_LIMIT)
    t.send("reboot -f\n")
    assert t.wait(BOOT_LIMIT) == 0


@long_only
def test_panic_ends(doppel, default_guest):
    """A kernel that dies does not leave the command's caller waiting."""
    r = guest_run(doppel, "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 100")
    assert r.status == 1, r


@long_only
def test_cpu_models(doppel, default_guest):
    r = guest_run(doppel, "cat", "/proc/cpuinfo", options=["--cpu", "x86-64-v2,-popcnt"])
    flags = set(re.search(r"^flags\s*: (.*)$", r.out, re.M)[1].split())
    assert "sse4_2" in flags and not flags & {"avx2", "avx512f", "popcnt"}


@long_only
def test_signal_during_boot(doppel, default_guest):
    with doppel.start("run", "--", "sleep", "1000") as p:
        time.sleep(1)
        p.send_signal(signal.SIGTERM)
        assert p.wait(30) == 143


def test_doctor_knows_the_default_guest(doppel, default_guest):
    r = doppel("doctor")
    assert re.search(r"default guest +\S*vmlinuz-\d", r.out), r


@long_only
def test_deleted_cache_is_made_again(doppel, default_guest, tmp_path):
    """Debian's kernel from /boot or from the archive; only where one of them can be had."""
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path))
    r = doppel("run", "--", "echo", "fresh", limit=BOOT_LIMIT + 120, env=env)
    assert r.status == 0 and "fresh" in r.out, r
