/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranked mutexes; in debug builds each thread keeps a list of what it holds. */
#include <errno.h>
#include "base/err.h"
#include "base/lock.h"

#ifdef NDEBUG
enum { CHECK_RANKS = 0 };
#else
enum { CHECK_RANKS = 1 };
#endif

#define MAX_HELD 16 /* more than there are ranks */

static _Thread_local struct {
	const struct lock *lock[MAX_HELD]; /* in rank order, since they may only be taken so */
	unsigned n;
} held;

static void check_take(const struct lock *l)
{
	const struct lock *top = held.n ? held.lock[held.n - 1] : NULL;

	if (top && l->rank <= top->rank)
		BUG("lock of rank %d taken while one of rank %d is held", (int)l->rank, (int)top->rank);
	BUG_ON(held.n == MAX_HELD);
	held.lock[held.n++] = l;
}

static void check_drop(const struct lock *l)
{
	unsigned i = held.n;

	while (i && held.lock[i - 1] != l)
		i--;
	if (!i)
		BUG("lock of rank %d dropped by a thread that does not hold it", (int)l->rank);
	for (; i < held.n; i++)
		held.lock[i - 1] = held.lock[i];
	held.n--;
}

void lock_init(struct lock *l, enum lock_rank rank)
{
	int rc = pthread_mutex_init(&l->m, NULL);

	BUG_ON(rc != 0);
	l->rank = rank;
}

void lock_release(struct lock *l)
{
	int rc = pthread_mutex_destroy(&l->m);

	BUG_ON(rc != 0); /* EBUSY: still held */
}

void lock_take(struct lock *l)
{
	int rc;

	if (CHECK_RANKS)
		check_take(l);
	rc = pthread_mutex_lock(&l->m);
	BUG_ON(rc != 0);
}

bool lock_try(struct lock *l)
{
	int rc = pthread_mutex_trylock(&l->m);

	BUG_ON(rc != 0 && rc != EBUSY);
	if (CHECK_RANKS && !rc)
		check_take(l);
	return rc == 0;
}

void lock_drop(struct lock *l)
{
	int rc;

	if (CHECK_RANKS)
		check_drop(l);
	rc = pthread_mutex_unlock(&l->m);
	BUG_ON(rc != 0);
}
