/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filling and flushing of the paging-structure cache: a flush is a new epoch, whatever it drops. */
#include <string.h>

#include "mmu/pscache.h"

void pscache_init(struct pscache *c)
{
	memset(c, 0, sizeof(*c));
	pscache_flush(c);
}

const struct pscache_entry *pscache_find(struct pscache *c, uint64_t la, uint64_t pcid)
{
	const struct pscache_entry *e = pscache_slot(c, la, pcid);

	if (e->tag == pscache_tag(la, pcid) && e->epoch == c->epoch[pcid % PSCACHE_EPOCHS]) {
		c->stats.hits++;
		return e;
	}
	c->stats.misses++;
	return NULL;
}

void pscache_fill(struct pscache *c, uint64_t la, uint64_t pcid, const struct pscache_entry *e)
{
	struct pscache_entry *slot = pscache_slot(c, la, pcid);

	*slot = *e;
	slot->tag = pscache_tag(la, pcid);
	slot->epoch = c->epoch[pcid % PSCACHE_EPOCHS];
	c->global[la >> 63] = c->global[la >> 63] || e->global;
}

void pscache_flush(struct pscache *c)
{
	c->stats.flushes++;
	c->next_epoch++;
	for (unsigned i = 0; i < PSCACHE_EPOCHS; i++)
		c->epoch[i] = c->next_epoch;
	c->global[0] = c->global[1] = false;
}

void pscache_flush_pcid(struct pscache *c, uint64_t pcid)
{
	c->stats.flushes++;
	c->epoch[pcid % PSCACHE_EPOCHS] = ++c->next_epoch;
}

void pscache_flush_page(struct pscache *c, uint64_t la, uint64_t pcid)
{
	if (c->global[la >> 63])
		pscache_flush(c);
	else
		pscache_flush_pcid(c, pcid);
}
