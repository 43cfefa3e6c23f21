/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intrusive doubly linked circular list. */
#ifndef DOPPEL_BASE_LIST_H
#define DOPPEL_BASE_LIST_H

#include <stdbool.h>
#include "base/bits.h"

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(l) { &(l), &(l) }

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Insert n before pos; with pos the list head, n becomes the last. */
static inline void list_add_before(struct list *pos, struct list *n)
{
	n->next = pos;
	n->prev = pos->prev;
	pos->prev->next = n;
	pos->prev = n;
}

static inline void list_add_tail(struct list *head, struct list *n)
{
	list_add_before(head, n);
}

/* Unlink n and make it an empty list of its own, so that removing twice is harmless. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(p, type, member) CONTAINER_OF(p, type, member)
#define list_for_each(it, head, member)                                          \
	for ((it) = list_entry((head)->next, __typeof__(*(it)), member);         \
	     &(it)->member != (head);                                            \
	     (it) = list_entry((it)->member.next, __typeof__(*(it)), member))
#define list_for_each_safe(it, tmp, head, member)                                \
	for ((it) = list_entry((head)->next, __typeof__(*(it)), member),         \
	    (tmp) = list_entry((it)->member.next, __typeof__(*(it)), member);    \
	     &(it)->member != (head);                                            \
	     (it) = (tmp), (tmp) = list_entry((it)->member.next, __typeof__(*(it)), member))

#endif
