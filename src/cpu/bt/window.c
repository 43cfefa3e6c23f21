/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's context and its windows (bt.h): one memory file, mapped once for each window, with the window's own tables in place.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/bt/hostgs.h"
#include "cpu/bt/jumps.h"

/* What a window has for itself, as stretches of struct bt. */
static const struct {
	size_t at, len;
} own[] = {
	{ offsetof(struct bt, jc[MMU_USER]), sizeof(((struct bt *)0)->jc[MMU_USER]) },
	{ offsetof(struct bt, jc[MMU_USER + MMU_MODES]), sizeof(((struct bt *)0)->jc[MMU_USER]) },
	{ offsetof(struct bt, jc[BT_JC_STACK]), sizeof(((struct bt *)0)->jc[BT_JC_STACK]) },
	{ offsetof(struct bt, second[MMU_USER]), sizeof(((struct bt *)0)->second[MMU_USER]) },
	{ offsetof(struct bt, second[MMU_USER + MMU_MODES]), sizeof(((struct bt *)0)->second[MMU_USER]) },
	{ offsetof(struct bt, second[BT_JC_STACK]), sizeof(((struct bt *)0)->second[BT_JC_STACK]) },
	{ offsetof(struct bt, tlb[MMU_KERNEL_AC]), sizeof(struct bt_tlb) },
	{ offsetof(struct bt, tlb[MMU_USER]), sizeof(struct bt_tlb) },
};

_Static_assert(sizeof(struct bt_tlb) % PAGE_SIZE == 0 && sizeof(((struct bt *)0)->jc[0]) % PAGE_SIZE == 0,
	       "tables are mapped by pages");

static size_t own_size(void)
{
	size_t sum = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(own); k++)
		sum += own[k].len;
	return sum;
}

static size_t file_size(void)
{
	return ALIGN_UP(sizeof(struct bt), PAGE_SIZE) + (BT_WINDOWS - 1) * own_size();
}

static struct bt *map_view(int fd)
{
	void *p = mmap(NULL, ALIGN_UP(sizeof(struct bt), PAGE_SIZE), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Window 0 is the context itself, with the tables that stand in it. */
static struct bt *map_window(int fd, unsigned n)
{
	struct bt *view = map_view(fd);
	size_t off = ALIGN_UP(sizeof(struct bt), PAGE_SIZE) + (n - 1) * own_size();

	for (unsigned k = 0; k < ARRAY_SIZE(own) && view && n; k++) {
		if (mmap((uint8_t *)view + own[k].at, own[k].len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, (off_t)off) == MAP_FAILED) {
			munmap(view, ALIGN_UP(sizeof(struct bt), PAGE_SIZE));
			return NULL;
		}
		off += own[k].len;
	}
	return view;
}

struct bt *bt_new(struct err *e)
{
	int fd = memfd_create("doppel-bt-vcpu", MFD_CLOEXEC);
	struct bt *bt = NULL, *view;

	if (fd >= 0 && ftruncate(fd, (off_t)file_size()) == 0)
		bt = map_window(fd, 0);
	for (unsigned n = 0; bt && n < BT_WINDOWS; n++) {
		view = n ? map_window(fd, n) : bt;
		bt->set[n].view = view;
		if (!view) {
			bt_delete(bt);
			bt = NULL;
		}
	}
	if (bt) {
		bt->set[BT_KERNEL_SET].view = bt;
		bt->current = &bt->set[0];
	} else {
		err_set(e, errno, "no memory for the translator's tables: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return bt;
}

void bt_delete(struct bt *bt)
{
	int saved = errno;

	for (unsigned n = 0; n < BT_WINDOWS; n++)
		bt_stack_free(&bt->set[n].stack);
	for (unsigned n = 1; n < BT_WINDOWS; n++)
		if (bt->set[n].view)
			munmap(bt->set[n].view, ALIGN_UP(sizeof(struct bt), PAGE_SIZE));
	munmap(bt, ALIGN_UP(sizeof(struct bt), PAGE_SIZE));
	errno = saved;
}

void bt_window_thread(struct bt *bt)
{
	hostgs_set(bt->current->view);
}

static void make_empty(struct bt_tlb *tlb)
{
	for (unsigned w = 0; w < 2; w++) {
		tlb->tag[w][0] = bt_no_tag(0);
		tlb->tag[w][BT_TLB_ENTRIES - 1] = bt_no_tag(BT_TLB_ENTRIES - 1);
	}
}

void bt_set_ready(struct bt *bt, struct bt_set *set)
{
	bool kernel = set == &bt->set[BT_KERNEL_SET];

	for (unsigned m = 0; m < MMU_MODES; m++)
		if ((m == MMU_KERNEL) == kernel)
			make_empty(&set->view->tlb[m]);
	bt_jc_ready(bt, set);
	set->ready = true;
}

struct bt_set *bt_window_find(struct bt *bt, uint16_t pcid)
{
	for (unsigned n = 0; n < BT_WINDOWS; n++)
		if (bt->set[n].ready && bt->set[n].pcid == pcid)
			return &bt->set[n];
	return NULL;
}

static struct bt_set *least_used(struct bt *bt)
{
	struct bt_set *set = &bt->set[0];

	for (unsigned n = 0; n < BT_WINDOWS; n++) {
		if (!bt->set[n].ready)
			return &bt->set[n];
		if (bt->set[n].used < set->used)
			set = &bt->set[n];
	}
	return set;
}

void bt_window_open(struct bt *bt, uint16_t pcid)
{
	struct bt_set *set = bt_window_find(bt, pcid);

	if (!set) {
		set = least_used(bt);
		if (set->ready)
			bt_set_flush(bt, set, true);
		else
			bt_set_ready(bt, set);
		set->pcid = pcid;
		bt->v->stats.bt_windows_made++;
	}
	set->used = ++bt->set_clock;
	if (set == bt->current)
		return;
	/* What the kernel's tables have of the address space that is left. */
	if (bt->set[BT_KERNEL_SET].nonglobal)
		bt_set_flush(bt, &bt->set[BT_KERNEL_SET], false);
	bt->current = set;
	bt->v->stats.bt_window_switches++;
	bt_window_thread(bt);
}
