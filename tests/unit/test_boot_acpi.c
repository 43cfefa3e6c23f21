/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables: checksums, lengths and links as a guest follows them; AML; iasl's opinion, if installed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/bits.h"
#include "base/endian.h"
#include "boot/acpi.h"

#define BASE 0xe0000u

static const struct acpi_platform pc = {
	.cpus = 2, .lapic_addr = 0xfee00000, .ioapic_addr = 0xfec00000, .ioapic_id = 7, .has_8259 = true,
	.overrides = { { 0, 2, 0 } }, .n_overrides = 1,
	.sci_irq = 9, .pm1_evt_port = 0x600, .pm1_cnt_port = 0x604, .pm_timer_port = 0x608,
	.pm_timer_32bit = true,
	.s5_type = 5, .power_button = true, .reset_port = 0xcf9, .reset_value = 6,
	.uart = { { 0x3f8, 4 }, { 0x2f8, 3 } }, .n_uarts = 2,
	.rtc_port = 0x70, .rtc_irq = 8, .rtc_century = true,
	.i8042_data_port = 0x60, .i8042_cmd_port = 0x64, .keyboard_irq = 1, .mouse_irq = 12,
	.has_pci = true, .pci_config_port = 0xcf8, .vga = { 0xa0000, 0x20000 },
	.pci_mmio = { 0xc0000000, 0x3e000000 }, .pci_mmio64 = { 0x100000000000, 0x10000000000 },
	.pci_gsi = { 10, 10, 11, 11 },
};

static const uint8_t *at(const struct strbuf *t, uint64_t gpa)
{
	assert_true(gpa >= BASE && gpa - BASE < t->len);
	return (const uint8_t *)t->buf + (gpa - BASE);
}

static unsigned sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* A table at gpa: signature and checksum are right; its length. */
static uint32_t check_table(const struct strbuf *t, uint64_t gpa, const char *signature)
{
	const uint8_t *p = at(t, gpa);
	uint32_t len = get_le32(p + 4);

	assert_memory_equal(p, signature, 4);
	assert_true(len >= 36 && gpa - BASE + len <= t->len);
	assert_int_equal(sum(p, len), 0);
	return len;
}

static void build(const struct acpi_platform *p, struct strbuf *t)
{
	struct err e = { "" };

	if (acpi_build(p, BASE, 0x10000, t, &e))
		fail_msg("%s", e.msg);
}

/* The nth entry of the XSDT. */
static uint64_t xsdt_entry(const struct strbuf *t, unsigned n)
{
	uint64_t xsdt = get_le64(at(t, BASE) + 24);

	assert_true(check_table(t, xsdt, "XSDT") >= 36 + 8 * (n + 1));
	return get_le64(at(t, xsdt) + 36 + 8 * n);
}

static void root_pointer(void **state)
{
	struct strbuf t = STRBUF_INIT;
	const uint8_t *r;

	build(&pc, &t);
	r = at(&t, BASE);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(r[15], 2);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, 36), 0);
	assert_int_equal(get_le32(r + 20), 36);
	check_table(&t, xsdt_entry(&t, 0), "FACP");
	check_table(&t, xsdt_entry(&t, 1), "APIC");
	strbuf_release(&t);
}

static void fixed_table(void **state)
{
	struct strbuf t = STRBUF_INIT;
	const uint8_t *f;

	build(&pc, &t);
	f = at(&t, xsdt_entry(&t, 0));
	assert_int_equal(get_le32(f + 4), 276);
	assert_memory_equal(at(&t, get_le32(f + 36)), "FACS", 4);
	assert_int_equal(get_le32(f + 36) % 64, 0);
	assert_int_equal(get_le32(f + 40), get_le64(f + 140));
	check_table(&t, get_le64(f + 140), "DSDT");
	assert_int_equal(get_le16(f + 46), 9);
	assert_int_equal(get_le32(f + 48), 0); /* no SMI_CMD: always ACPI */
	assert_int_equal(get_le32(f + 56), 0x600);
	assert_int_equal(get_le64(f + 148 + 4), 0x600);
	assert_int_equal(f[148], 1);
	assert_int_equal(f[149], 32);
	assert_int_equal(get_le32(f + 64), 0x604);
	assert_int_equal(get_le32(f + 76), 0x608);
	/* No reduced hardware; timer of 32 bits; fixed power button; reset register */
	assert_int_equal(get_le32(f + 112) & (1u << 20 | 1u << 10 | 1u << 8 | 1u << 4), 1u << 10 | 1u << 8);
	assert_int_equal(get_le64(f + 116 + 4), 0xcf9);
	assert_int_equal(f[128], 6);
	assert_int_equal(get_le16(f + 109) & 0x23, 3);
	assert_int_equal(f[108], 0x32);
	strbuf_release(&t);
}

static void interrupts(void **state)
{
	struct strbuf t = STRBUF_INIT;
	const uint8_t *m, *p, *end;
	unsigned cpus = 0, ioapics = 0, timer = 0, sci = 0;

	build(&pc, &t);
	m = at(&t, xsdt_entry(&t, 1));
	end = m + get_le32(m + 4);
	assert_int_equal(get_le32(m + 36), 0xfee00000);
	assert_int_equal(get_le32(m + 40), 1);
	for (p = m + 44; p < end; p += p[1]) {
		assert_true(p[1] >= 6 && p + p[1] <= end);
		if (p[0] == 0) {
			assert_int_equal(p[3], cpus);
			cpus += get_le32(p + 4) == 1;
		} else if (p[0] == 1) {
			assert_int_equal(p[2], 7);
			assert_int_equal(get_le32(p + 4), 0xfec00000);
			ioapics++;
		} else if (p[0] == 2 && p[3] == 0) {
			timer = get_le32(p + 4);
		} else if (p[0] == 2 && p[3] == 9) {
			sci = get_le16(p + 8);
		}
	}
	assert_ptr_equal(p, end);
	assert_int_equal(cpus, 2);
	assert_int_equal(ioapics, 1);
	assert_int_equal(timer, 2);
	assert_int_equal(sci, ACPI_POLARITY_HIGH | ACPI_TRIGGER_LEVEL);
	strbuf_release(&t);
}

static void many_processors(void **state)
{
	struct acpi_platform p = pc;
	struct strbuf t = STRBUF_INIT;
	const uint8_t *m, *e;
	unsigned narrow = 0, wide = 0;
	struct err err;

	p.cpus = 300;
	build(&p, &t);
	m = at(&t, xsdt_entry(&t, 1));
	for (e = m + 44; e < m + get_le32(m + 4); e += e[1]) {
		narrow += e[0] == 0;
		if (e[0] == 9)
			assert_int_equal(get_le32(e + 4), 255 + wide++);
	}
	assert_int_equal(narrow, 255);
	assert_int_equal(wide, 45);
	strbuf_release(&t);
	p.cpus = 100000;
	assert_int_equal(acpi_build(&p, BASE, 0x10000, &t, &err), -E2BIG);
	strbuf_release(&t);
}

/* -- A walk through the AML that dsdt.c uses ------------------------------------------------------- */

struct walk {
	unsigned devices, packages, ints[1024], n_ints;
	char names[2048]; /* all names, in order, separated by blanks */
	struct strbuf crs;
};

static const uint8_t *term_list(struct walk *w, const uint8_t *p, const uint8_t *end);

static const uint8_t *pkg_end(const uint8_t **p, const uint8_t *end)
{
	const uint8_t *start = *p;
	unsigned extra = *start >> 6;
	size_t len = extra ? *start & 0xf : *start & 0x3f;

	assert_true(start + extra < end);
	for (unsigned i = 0; i < extra; i++)
		len |= (size_t)start[1 + i] << (4 + 8 * i);
	*p = start + 1 + extra;
	assert_true(len > extra && len <= (size_t)(end - start));
	return start + len;
}

static const uint8_t *name(struct walk *w, const uint8_t *p, const uint8_t *end)
{
	size_t n = *p == '\\' ? 5 : 4;

	assert_true(p + n <= end);
	snprintf(w->names + strlen(w->names), sizeof(w->names) - strlen(w->names), "%.*s ", (int)n,
		 (const char *)p);
	return p + n;
}

static const uint8_t *data(struct walk *w, const uint8_t *p, const uint8_t *end)
{
	static const uint8_t sizes[] = { [0x0a] = 1, [0x0b] = 2, [0x0c] = 4, [0x0e] = 8 };
	const uint8_t *stop;
	uint64_t v = 0;
	uint8_t op = *p++;

	if (op <= 1) {
		v = op;
	} else if (op < sizeof(sizes) && sizes[op]) {
		memcpy(&v, p, sizes[op]);
		p += sizes[op];
	} else if (op == 0x11) {
		stop = pkg_end(&p, end);
		unsigned before = w->n_ints;

		p = data(w, p, stop);
		assert_int_equal(w->ints[before], stop - p);
		w->n_ints = before;
		strbuf_add(&w->crs, p, (size_t)(stop - p));
		return stop;
	} else if (op == 0x12) {
		stop = pkg_end(&p, end);
		unsigned n = *p++;

		w->packages++;
		while (n--)
			p = data(w, p, stop);
		assert_ptr_equal(p, stop);
		return stop;
	} else {
		fail_msg("opcode %#x is no data", op);
	}
	if (w->n_ints < ARRAY_SIZE(w->ints))
		w->ints[w->n_ints++] = (unsigned)v;
	return p;
}

static const uint8_t *term_list(struct walk *w, const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		const uint8_t *stop;

		if (*p == 0x08) {
			p = data(w, name(w, p + 1, end), end);
			continue;
		}
		if (*p == 0x5b && p[1] == 0x82) {
			w->devices++;
			p++;
		} else {
			assert_int_equal(*p, 0x10);
		}
		p++;
		stop = pkg_end(&p, end);
		p = term_list(w, name(w, p, stop), stop);
		assert_ptr_equal(p, stop);
	}
	return p;
}

/* Resource descriptors end exactly at their end tag. */
static void check_resources(const struct strbuf *r)
{
	const uint8_t *p = (const uint8_t *)r->buf, *end = p + r->len;
	unsigned tags = 0;

	while (p < end) {
		size_t n = *p & 0x80 ? 3u + get_le16(p + 1) : 1u + (*p & 7);

		tags += (*p & 0xf8) == 0x78;
		p += n;
	}
	assert_ptr_equal(p, end);
	assert_int_equal(tags, 6);
}

static void definition_block(void **state)
{
	struct strbuf t = STRBUF_INIT;
	struct walk w = { 0 };
	const uint8_t *d;

	build(&pc, &t);
	d = at(&t, get_le64(at(&t, xsdt_entry(&t, 0)) + 140));
	term_list(&w, d + 36, d + get_le32(d + 4));
	assert_int_equal(w.devices, 6);
	assert_int_equal(w.packages, 1 + 1 + 128);
	assert_string_equal(w.names,
			    "\\_S5_ \\_SB_ PCI0 _HID _UID _CRS _PRT COM1 _HID _UID _CRS COM2 _HID _UID _CRS "
			    "RTC_ _HID _UID _CRS KBD_ _HID _UID _CRS MOU_ _HID _UID _CRS ");
	assert_int_equal(w.ints[0], 5); /* SLP_TYPa */
	assert_int_equal(w.ints[4], 0x030ad041); /* PNP0A03 */
	/* _PRT: slot 1, pin 1 (fifth and following entry) goes to pci_gsi[2] */
	assert_int_equal(w.ints[6 + 5 * 4], 0x1ffff);
	assert_int_equal(w.ints[6 + 5 * 4 + 1], 1);
	assert_int_equal(w.ints[6 + 5 * 4 + 3], 11);
	check_resources(&w.crs);
	strbuf_release(&w.crs);
	strbuf_release(&t);
}

static void without_anything(void **state)
{
	const struct acpi_platform p = { .cpus = 1, .pm1_evt_port = 0x600, .pm1_cnt_port = 0x604 };
	struct strbuf t = STRBUF_INIT;
	struct walk w = { 0 };
	const uint8_t *f, *d;

	build(&p, &t);
	f = at(&t, xsdt_entry(&t, 0));
	assert_int_equal(get_le32(f + 112) & 1u << 10, 0);
	assert_int_equal(get_le64(f + 116 + 4), 0);
	d = at(&t, get_le64(f + 140));
	term_list(&w, d + 36, d + get_le32(d + 4));
	assert_int_equal(w.devices, 0);
	strbuf_release(&w.crs);
	strbuf_release(&t);
}

static void nonsense_is_refused(void **state)
{
	struct acpi_platform bad[6];
	struct strbuf t = STRBUF_INIT;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = pc;
	bad[0].cpus = 0;
	bad[1].n_uarts = 5;
	bad[2].uart[1].irq = 16;
	bad[3].s5_type = 8;
	bad[4].pci_mmio.size = 0x40000001;
	bad[5].pm1_cnt_port = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(acpi_build(&bad[i], BASE, 0x10000, &t, &e), -EINVAL);
	strbuf_release(&t);
}

/* Disassembled by iasl: no errors, and what it reads is what was meant. */
static void iasl(void **state)
{
	char dir[] = "/tmp/test-acpi-XXXXXX", cmd[256], line[512];
	struct strbuf t = STRBUF_INIT, out = STRBUF_INIT;
	const uint8_t *d;
	FILE *f;

	if (system("command -v iasl >/dev/null 2>&1"))
		skip();
	assert_non_null(mkdtemp(dir));
	build(&pc, &t);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t gpa = i < 2 ? xsdt_entry(&t, i) : get_le64(at(&t, xsdt_entry(&t, 0)) + 140);

		d = at(&t, gpa);
		snprintf(cmd, sizeof(cmd), "%s/%.4s.dat", dir, (const char *)d);
		f = fopen(cmd, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(d, 1, get_le32(d + 4), f), get_le32(d + 4));
		fclose(f);
	}
	snprintf(cmd, sizeof(cmd),
		 "cd %s && for i in *.dat; do iasl -d $i; done >log 2>&1; iasl -tc DSDT.dsl >>log 2>&1; "
		 "cat log *.dsl",
		 dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		strbuf_add(&out, line, strlen(line));
	pclose(f);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
	if (!strstr(out.buf, "Compilation successful. 0 Errors, 0 Warnings") ||
	    strstr(out.buf, "ncorrect checksum") || !strstr(out.buf, "EisaId (\"PNP0501\")") ||
	    !strstr(out.buf, "0xFDFFFFFF"))
		fail_msg("%s", out.buf);
	strbuf_release(&t);
	strbuf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_pointer),
		cmocka_unit_test(fixed_table),
		cmocka_unit_test(interrupts),
		cmocka_unit_test(many_processors),
		cmocka_unit_test(definition_block),
		cmocka_unit_test(without_anything),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(iasl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
