/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM clock as a guest reads it: rate, agreement of vCPUs, pauses, its version protocol, hostile addresses. */
#include <pthread.h>
#include <time.h>
#include "base/endian.h"
#include "base/log.h"
#include "cpu/msr.h"
#include "one_cpu.h"

#define PAGE_OF(cpu) (0x10000ull + (cpu) * 0x1000)
#define WALL 0x20000ull
#define MS 1000000ull

static struct one_cpu *m;

static int setup(void **state)
{
	m = one_cpu_new(NULL, "host", 2);
	log_set_level(LOG_ERROR);
	return 0;
}

static int teardown(void **state)
{
	one_cpu_free(m);
	return 0;
}

static void enable(unsigned cpu)
{
	assert_true(msr_write(m->vcpus[cpu], MSR_KVM_SYSTEM_TIME_NEW, PAGE_OF(cpu) | 1));
}

/* The guest's side of the ABI: what Linux's pvclock_clocksource_read() computes. */
static uint64_t guest_read(unsigned cpu, uint64_t guest_tsc)
{
	const uint8_t *p = m->ram->base + PAGE_OF(cpu);
	uint64_t delta = guest_tsc - get_le64(p + 8);
	int8_t shift = (int8_t)p[28];

	delta = shift < 0 ? delta >> -shift : delta << shift;
	return get_le64(p + 16) + (uint64_t)(((unsigned __int128)delta * get_le32(p + 24)) >> 32);
}

static uint64_t guest_now(unsigned cpu)
{
	return guest_read(cpu, vcpu_tsc(m->vcpus[cpu]));
}

static void nap(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	nanosleep(&ts, NULL);
}

static void test_layout(void **state)
{
	const uint8_t *p = m->ram->base + PAGE_OF(0);
	uint64_t val;

	memset(m->ram->base + PAGE_OF(0), 0xee, 64);
	put_le32(m->ram->base + PAGE_OF(0), 7);
	enable(0);
	assert_int_equal(get_le32(p) & 1, 0);
	assert_int_equal(get_le32(p), 8);
	assert_int_equal(p[29], 1); /* TSC_STABLE */
	assert_int_equal(p[32], 0xee); /* and not a byte more */
	assert_true(msr_read(m->v, MSR_KVM_SYSTEM_TIME_NEW, &val));
	assert_int_equal(val, PAGE_OF(0) | 1);
	pvclock_update(m->v);
	assert_int_equal(get_le32(p), 10);
	/* Off: nothing is written. */
	memset(m->ram->base + PAGE_OF(0), 0, 32);
	assert_true(msr_write(m->v, MSR_KVM_SYSTEM_TIME_NEW, PAGE_OF(0)));
	pvclock_update(m->v);
	assert_int_equal(get_le32(p), 0);
}

/* The factors of many frequencies are right to 1 part in 10^8, and 32 bits hold them. */
static void test_scale(void **state)
{
	for (uint64_t hz = 100000; hz < 20000000000ull; hz += hz / 7 + 12345) {
		uint32_t mul;
		int8_t shift;
		double ns;

		pvclock_scale(hz, &mul, &shift);
		ns = (double)mul / 4294967296.0 * (shift < 0 ? 1.0 / (double)(1 << -shift) : (double)(1 << shift));
		if (ns * (double)hz < 1e9 * (1 - 1e-8) || ns * (double)hz > 1e9 * (1 + 1e-8))
			fail_msg("%lu Hz: mul %u shift %d", (unsigned long)hz, mul, shift);
		assert_true(mul >= 0x7fffffffu);
	}
}

static void test_rate(void **state)
{
	uint64_t g0, g1, h0, h1;

	enable(0);
	g0 = guest_now(0);
	h0 = clock_now(m->clock);
	nap(200 * MS);
	g1 = guest_now(0);
	h1 = clock_now(m->clock);
	/* 0.5 %: the promise is 1 % over 5 s, and the two clocks are not read at one moment. */
	assert_in_range(g1 - g0, (h1 - h0) * 995 / 1000, (h1 - h0) * 1005 / 1000);
	assert_in_range(g1, h1 - 5 * MS, h1 + 5 * MS);
}

/* Two vCPUs, even with different TSCs and structures of different age, read one clock. */
static void test_never_backwards_across_vcpus(void **state)
{
	uint64_t last = 0;

	enable(0);
	nap(20 * MS);
	enable(1);
	assert_true(msr_write(m->vcpus[1], MSR_TSC, 12345));
	nap(5 * MS);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t now = guest_now(i & 1);

		/* the offsets are exact, and a shift of one loses at most a tick */
		if (now + 1 < last)
			fail_msg("%lu after %lu", (unsigned long)now, (unsigned long)last);
		last = now;
		if (i % 5000 == 0)
			pvclock_update(m->vcpus[i / 5000 % 2]);
	}
	assert_true(msr_write(m->vcpus[1], MSR_TSC_ADJUST, 0));
	assert_in_range(guest_now(1), last, last + 1000 * MS);
}

/* Guest time stands while the machine is paused, and goes on from where it stood. */
static void test_pause(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before, after;

		enable(0);
		enable(1);
		before = guest_now(0);
		pvclock_stop(&m->group);
		clock_pause(m->clock, true);
		nap(60 * MS);
		clock_pause(m->clock, false);
		pvclock_update(m->vcpus[0]);
		pvclock_update(m->vcpus[1]);
		after = guest_now(1);
		assert_true(after >= before);
		assert_in_range(after - before, 0, 40 * MS);
	}
}

/* The clock never falls below what was read, even when guest time is set back a little. */
static void test_stop_is_a_floor(void **state)
{
	uint64_t before, after;

	enable(0);
	before = guest_now(0);
	pvclock_stop(&m->group);
	clock_set(m->clock, clock_now(m->clock) - 30 * MS);
	pvclock_update(m->v);
	after = guest_now(0);
	assert_true(after >= before);
	assert_in_range(after - before, 0, 20 * MS);
}

static void test_wall_clock(void **state)
{
	const uint8_t *p = m->ram->base + WALL;
	struct timespec now;
	uint64_t wall, host;

	memset(m->ram->base + WALL, 0xee, 32);
	put_le32(m->ram->base + WALL, 0);
	assert_true(msr_write(m->v, MSR_KVM_WALL_CLOCK_NEW, WALL));
	enable(0);
	assert_int_equal(get_le32(p), 2);
	assert_int_equal(p[12], 0xee);
	wall = get_le32(p + 4) * 1000000000ull + get_le32(p + 8) + guest_now(0);
	clock_gettime(CLOCK_REALTIME, &now);
	host = (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
	assert_in_range(wall, host - 100 * MS, host + 100 * MS);
}

static void test_hostile_addresses(void **state)
{
	static const uint64_t addresses[] = {
		ONE_CPU_RAM, ONE_CPU_RAM - 4, ONE_CPU_RAM - 28, 0x10002, 0x1000e, ~0ull, ~1ull, ~3ull, 1ull << 52,
		0xfee00000, 0xfffffffffffffff0, 0xc0000000,
	};
	uint8_t *copy = malloc(ONE_CPU_RAM);

	assert_non_null(copy);
	memset(m->ram->base, 0, ONE_CPU_RAM);
	memcpy(copy, m->ram->base, ONE_CPU_RAM);
	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		assert_true(msr_write(m->v, MSR_KVM_SYSTEM_TIME_NEW, addresses[i] | 1));
		pvclock_update(m->v);
		assert_true(msr_write(m->v, MSR_KVM_WALL_CLOCK_NEW, addresses[i]));
		/* Only a version word that is in RAM may have been touched. */
		if (addresses[i] < ONE_CPU_RAM && addresses[i] % 4 == 0)
			memset(m->ram->base + addresses[i], 0, MIN(32, ONE_CPU_RAM - addresses[i]));
		assert_memory_equal(m->ram->base, copy, ONE_CPU_RAM);
	}
	assert_true(msr_write(m->v, MSR_KVM_SYSTEM_TIME_NEW, 0));
	free(copy);
}

/*
 * A reader on another CPU (Linux's vDSO reads CPU 0's page everywhere) never takes a mixture for a
 * structure. Time and TSC jump ahead by an hour with every update, so that the old half of one and
 * the new half of the other are an hour apart.
 */
#define HOUR 3600000000000ull
#define ROUNDS 3000

static _Atomic bool reader_stop;

__attribute__((no_sanitize("thread"))) static void *reader(void *arg)
{
	const volatile uint32_t *version = (const volatile uint32_t *)(m->ram->base + PAGE_OF(0));
	const volatile uint64_t *tsc = (const volatile uint64_t *)(version + 2), *ns = tsc + 1;
	uint64_t hour_ticks = m->cpuid.tsc_hz * 3600, valid = 0;
	uint64_t base_tsc = *tsc, base_ns = *ns;

	while (!reader_stop) {
		uint32_t v = *version;
		uint64_t t = *tsc - base_tsc, n = *ns - base_ns;

		if ((v & 1) || *version != v)
			continue;
		/* The nearest hour of both. */
		if ((t + hour_ticks / 2) / hour_ticks != (n + HOUR / 2) / HOUR)
			return NULL;
		valid++;
	}
	return (void *)(valid + 1);
}

static void test_versions(void **state)
{
	pthread_t t;
	void *valid;

	reader_stop = false;
	enable(0);
	assert_int_equal(pthread_create(&t, NULL, reader, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 300 == 0)
			nap(2 * MS); /* on one CPU the reader must have its turn */
		pvclock_stop(&m->group);
		clock_set(m->clock, clock_now(m->clock) + HOUR);
		m->v->s.msr.tsc_offset += m->cpuid.tsc_hz * 3600;
		pvclock_update(m->v);
	}
	reader_stop = true;
	pthread_join(t, &valid);
	assert_non_null(valid); /* NULL: a mixture */
	m->v->s.msr.tsc_offset = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_never_backwards_across_vcpus),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_stop_is_a_floor),
		cmocka_unit_test(test_wall_clock),
		cmocka_unit_test(test_hostile_addresses),
		cmocka_unit_test(test_versions),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
