/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holds, calls, events and ends of a machine whose guest counts, and does one thing when its mailbox says so. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "cpu/engines.h"
#include "kernels.h"
#include "machine/devices.h"
#include "machine/pc.h"
#include "vm/vm_internal.h"

/* Guest-physical addresses. */
#define COUNTER 0x200000u
#define MAILBOX 0x200004u /* a port in the low half, what to write there in the high one; 0: nothing */

static const uint8_t guest_code[] = {
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00, /* loop: inc dword [COUNTER] */
	0x0f, 0xb7, 0x15, 0x04, 0x00, 0x20, 0x00, /* movzx edx, word [MAILBOX] */
	0x85, 0xd2, /* test edx, edx */
	0x74, 0xef, /* jz loop */
	0x0f, 0xb7, 0x05, 0x06, 0x00, 0x20, 0x00, /* movzx eax, word [MAILBOX + 2] */
	0xc7, 0x05, 0x04, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, /* mov dword [MAILBOX], 0 */
	0x66, 0xef, /* out dx, ax */
	0xeb, 0xda, /* jmp loop */
};

#define POWER_OFF (0x604u | 0x2000u << 16)      /* PM1a control: SLP_EN, S5 */
#define EXIT_5    (DEBUG_EXIT_PORT | 5u << 16)
#define RESET     (0x64u | 0xfeu << 16)

struct fixture {
	struct strbuf kernel;
	struct vm_config cfg;
	struct vm *vm;
	struct vm_listener listener;
	struct vm_event seen[32];
	_Atomic unsigned n_seen;
	pthread_t owner;
	enum vm_end end;
	uint32_t code;
};

static struct fixture f;

static void on_event(struct vm_listener *l, const struct vm_event *ev)
{
	unsigned n = atomic_load(&f.n_seen);

	f.seen[n % ARRAY_SIZE(f.seen)] = *ev;
	atomic_store(&f.n_seen, n + 1);
}

static void *own(void *arg)
{
	struct err e = { "" };

	for (;;) {
		f.end = vm_wait(f.vm, &f.code);
		if (f.end != VM_END_RESET || vm_reset(f.vm, &e))
			break;
	}
	vm_over(f.vm);
	return NULL;
}

static void build(bool hold_at_end)
{
	struct err e = { "" };
	struct device_config *d;

	memset(&f, 0, sizeof(f));
	make_multiboot(&f.kernel, MB_FLAT, 0);
	memcpy(f.kernel.buf + 0x200 + 0x80, guest_code, sizeof(guest_code));
	f.cfg = (struct vm_config){
		.memory = 16 * MiB, .cpus = 1, .cpu = "host", .engine = engine_choose(NULL), .append = "",
		.kernel = { .data = f.kernel.buf, .len = f.kernel.len, .name = "counter" }, .hold_at_end = hold_at_end,
	};
	d = vm_config_add_device(&f.cfg, "isa-debug-exit", &e);
	assert_int_equal(device_prop_set(d, "iobase", DEBUG_EXIT_PORT_TEXT, &e), 0);
	if (vm_new(&f.vm, &f.cfg, NULL, &e))
		fail_msg("%s", e.msg);
	f.listener.on_event = on_event;
	vm_listen(f.vm, &f.listener);
}

static void begin(bool hold_at_end, unsigned holds)
{
	struct err e = { "" };

	build(hold_at_end);
	vm_hold(f.vm, holds);
	assert_int_equal(vm_start(f.vm, &e), 0);
	pthread_create(&f.owner, NULL, own, NULL);
}

static void end(enum vm_end expected, uint32_t code)
{
	pthread_join(f.owner, NULL);
	assert_int_equal(f.end, expected);
	assert_int_equal(f.code, code);
	assert_int_equal(f.seen[f.n_seen - 1].type, VM_EVENT_SHUTDOWN);
	assert_int_equal(f.seen[f.n_seen - 1].end, expected);
	vm_free(f.vm);
	strbuf_release(&f.kernel);
}

static void look(struct vm *vm, void *out)
{
	*(uint32_t *)out = *(volatile uint32_t *)(vm->pc->ram->base + COUNTER);
}

static void post(struct vm *vm, void *what)
{
	memcpy(vm->pc->ram->base + MAILBOX, what, sizeof(uint32_t));
}

static uint32_t counter(void)
{
	uint32_t val = 0;

	assert_true(vm_call(f.vm, look, &val));
	return val;
}

static void ask_guest(uint32_t what)
{
	assert_true(vm_call(f.vm, post, &what));
}

static void wait_for_events(unsigned n)
{
	while (atomic_load(&f.n_seen) < n)
		usleep(1000);
}

static void wait_for_count(uint32_t more_than)
{
	while (counter() <= more_than)
		usleep(1000);
}

static void test_hold(void **state)
{
	uint32_t n;

	begin(false, VM_HOLD_USER);
	assert_int_equal(vm_state(f.vm), VM_PAUSED);
	assert_int_equal(counter(), 0);
	vm_unhold(f.vm, VM_HOLD_USER);
	wait_for_count(0);
	vm_hold(f.vm, VM_HOLD_USER | VM_HOLD_DEBUG);
	n = counter();
	usleep(10000);
	assert_int_equal(counter(), n);
	assert_int_equal(vm_state(f.vm), VM_PAUSED);
	vm_unhold(f.vm, VM_HOLD_DEBUG);
	assert_int_equal(counter(), n);
	assert_int_equal(vm_holds(f.vm), VM_HOLD_USER);
	vm_unhold(f.vm, VM_HOLD_USER);
	wait_for_count(n);
	assert_int_equal(vm_state(f.vm), VM_RUNNING);
	vm_stop(f.vm, 15);
	end(VM_END_STOPPED, 15);
	assert_int_equal(f.n_seen, 4);
	assert_int_equal(f.seen[0].type, VM_EVENT_RESUME);
	assert_int_equal(f.seen[1].type, VM_EVENT_STOP);
	assert_int_equal(f.seen[1].holds, VM_HOLD_USER | VM_HOLD_DEBUG);
	assert_int_equal(f.seen[2].type, VM_EVENT_RESUME);
	assert_false(f.seen[3].by_guest);
}

/* Who lets a machine go that is held before it has started hears that it goes. */
static void test_early_go(void **state)
{
	struct err e = { "" };

	build(false);
	vm_hold(f.vm, VM_HOLD_USER);
	vm_unhold(f.vm, VM_HOLD_USER);
	assert_int_equal(vm_start(f.vm, &e), 0);
	pthread_create(&f.owner, NULL, own, NULL);
	wait_for_events(1);
	assert_int_equal(f.seen[0].type, VM_EVENT_RESUME);
	wait_for_count(0);
	vm_stop(f.vm, 0);
	end(VM_END_STOPPED, 0);
}

static void test_resets(void **state)
{
	uint32_t n;

	begin(false, 0);
	wait_for_count(100000);
	vm_request_reset(f.vm);
	wait_for_events(1);
	assert_int_equal(f.seen[0].type, VM_EVENT_RESET);
	assert_false(f.seen[0].by_guest);
	wait_for_count(0);
	ask_guest(RESET);
	wait_for_events(2);
	assert_int_equal(f.seen[1].type, VM_EVENT_RESET);
	assert_true(f.seen[1].by_guest);
	/* A held machine is reset and stays where it begins. */
	vm_hold(f.vm, VM_HOLD_USER);
	wait_for_events(3);
	vm_request_reset(f.vm);
	wait_for_events(4);
	n = counter();
	assert_int_equal(n, 0);
	assert_int_equal(vm_state(f.vm), VM_PAUSED);
	vm_unhold(f.vm, VM_HOLD_USER);
	wait_for_count(0);
	ask_guest(EXIT_5);
	end(VM_END_DEBUG_EXIT, 5);
	assert_true(f.seen[f.n_seen - 1].by_guest);
}

static void test_kept_at_end(void **state)
{
	begin(true, 0);
	wait_for_count(0);
	ask_guest(POWER_OFF);
	wait_for_events(2);
	assert_int_equal(f.seen[0].type, VM_EVENT_SHUTDOWN);
	assert_int_equal(f.seen[0].end, VM_END_POWER_OFF);
	assert_int_equal(f.seen[1].type, VM_EVENT_STOP);
	assert_int_equal(vm_holds(f.vm), VM_HOLD_END);
	assert_true(counter() > 0);
	vm_request_reset(f.vm);
	wait_for_events(3);
	wait_for_count(0);
	assert_int_equal(vm_holds(f.vm), 0);
	vm_stop(f.vm, 0);
	end(VM_END_STOPPED, 0);
}

static void test_power_off(void **state)
{
	begin(false, 0);
	vm_request_powerdown(f.vm);
	wait_for_events(1);
	assert_int_equal(f.seen[0].type, VM_EVENT_POWERDOWN);
	ask_guest(POWER_OFF);
	end(VM_END_POWER_OFF, 0);
}

/* Who asks when nobody will answer any more is told so, and does not wait. */
static void test_end_calls(void **state)
{
	uint32_t val = 0;

	begin(false, 0);
	vm_end_calls(f.vm);
	assert_false(vm_call(f.vm, look, &val));
	vm_stop(f.vm, 0);
	end(VM_END_STOPPED, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hold), cmocka_unit_test(test_early_go), cmocka_unit_test(test_resets), cmocka_unit_test(test_kept_at_end),
		cmocka_unit_test(test_power_off), cmocka_unit_test(test_end_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
