/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the qcow2 format share. The format: QEMU's docs/interop/qcow2.txt; offsets below are its. */
#ifndef DOPPEL_BACKEND_BLOCK_QCOW2_IMPL_H
#define DOPPEL_BACKEND_BLOCK_QCOW2_IMPL_H

#include <endian.h>
#include "backend/block/luks.h"
#include "backend/block/qcow2.h"

#define Q2_MAGIC 0x514649fbu

/* The header, big-endian in the file; version 2 ends before incompat. */
struct q2_header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_len, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_offset, reftable_offset;
	uint32_t reftable_clusters, n_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompat, compat, autoclear;
	uint32_t refcount_order, header_len;
	uint8_t compression_type, padding[7];
};
_Static_assert(sizeof(struct q2_header) == 112, "the header as the format has it");
#define Q2_V2_HEADER_LEN 72
#define Q2_V3_HEADER_LEN 104

enum { Q2_CRYPT_NONE, Q2_CRYPT_AES, Q2_CRYPT_LUKS };
enum { Q2_COMPRESSION_ZLIB, Q2_COMPRESSION_ZSTD };

#define Q2_INCOMPAT_DIRTY       BIT(0)
#define Q2_INCOMPAT_CORRUPT     BIT(1)
#define Q2_INCOMPAT_DATA_FILE   BIT(2)
#define Q2_INCOMPAT_COMPRESSION BIT(3)
#define Q2_INCOMPAT_EXTENDED_L2 BIT(4)
#define Q2_COMPAT_LAZY          BIT(0)
#define Q2_AUTOCLEAR_BITMAPS    BIT(0)

#define Q2_EXT_END      0u
#define Q2_EXT_FORMAT   0xe2792acau
#define Q2_EXT_FEATURES 0x6803f857u
#define Q2_EXT_BITMAPS  0x23852875u
#define Q2_EXT_CRYPTO   0x0537be77u
#define Q2_EXT_DATA     0x44415441u

/* Entries of the L1 and L2 tables. */
#define Q2_COPIED     BIT(63)
#define Q2_COMPRESSED BIT(62)
#define Q2_ZERO       BIT(0)
#define Q2_OFFSET     0x00fffffffffffe00ull
#define Q2_RESERVED_L1 0x7f000000000001ffull

/* Limits, as qemu has them, so that no number of an image costs unbounded memory. */
#define Q2_MAX_L1          (32 * MiB)
#define Q2_MAX_REFTABLE    (8 * MiB)
#define Q2_MAX_SNAPSHOTS   65536u
#define Q2_MAX_SNAPSHOT_TABLE (64 * MiB)
#define Q2_MIN_CLUSTER_BITS 9
#define Q2_MAX_CLUSTER_BITS 21
#define Q2_MAX_OFFSET      BIT(56)
#define Q2_MAX_NAME        1023 /* of the backing file */
#define Q2_SECTOR          512u

struct q2_table {
	uint64_t offset;      /* in the file */
	uint8_t *data;
	uint32_t lo, hi;      /* bytes that differ from the file's; lo >= hi: none */
	bool fresh;           /* nothing in the file points to it yet */
	struct list lru, dirty;
	struct q2_table *next; /* in its hash chain */
};

struct q2_cache {
	struct list lru;      /* most recently used first */
	struct list dirty;
	struct q2_table **hash;
	unsigned n, max, mask;
	uint64_t hits, misses;
};

/* Clusters that nothing points to any more once what was written about them is stable. */
struct q2_freed {
	uint64_t offset, n;
};

struct q2_snapshot {
	uint64_t l1_offset, date_ns, clock_ns, vm_state_size, disk_size, icount;
	uint32_t l1_size;
	uint32_t date_s, date_frac;
	char *id, *name;
	uint8_t *extra;       /* what of the extra data we don't know */
	uint32_t extra_len;
};

struct q2_bitmap_ext {
	uint32_t n;
	uint64_t directory_size, directory_offset;
};

struct q2_ext {
	uint32_t type, len;
	uint8_t *data;
};

struct q2 {
	struct image base;
	struct bfile *file;
	struct q2_header h;           /* in the host's byte order */
	uint32_t cluster_size, cluster_bits, l2_bits, refblock_bits; /* entries of a table as powers of two */
	uint64_t *l1;                 /* the host's byte order */
	uint32_t l1_lo, l1_hi;        /* entries to be written */
	uint64_t *reftable;           /* the host's byte order */
	uint64_t reftable_entries;
	uint64_t rt_lo, rt_hi;        /* entries to be written */
	struct q2_cache l2, refs;
	bool lazy;                    /* refcounts are written on close */
	bool closing;
	bool corrupt_found;

	uint64_t free_hint;           /* no cluster below is free */
	uint64_t repair_at;           /* repairing: the cluster behind the file where new refcount blocks go; else 0 */
	uint64_t zero_from;           /* in the file: nothing was ever written from here on */
	uint64_t compressed_next;     /* where the next compressed cluster fits behind the last one; 0: nowhere */

	struct q2_freed *freed;       /* a queue: entries head to n, of which each has a number */
	size_t freed_head, freed_n, freed_cap;
	uint64_t freed_base;          /* the number of entry 0 */
	uint64_t freed_fence;         /* entries below this number belong to flushes under way */
	unsigned n_punch;             /* discards under way */

	struct ranges ranges;         /* by guest offset, whole clusters */
	struct list free_reqs, free_parts;
	uint8_t *unpacked;            /* the compressed cluster that was read last */
	uint64_t unpacked_entry;      /* its L2 entry; 0: none */

	struct q2_snapshot *snapshots;
	uint32_t n_snapshots;
	uint64_t snapshot_table_size; /* bytes */
	struct q2_ext *ext;           /* header extensions that we don't make ourselves */
	unsigned n_ext;
	struct q2_bitmap_ext bitmaps;
	char *backing_format;         /* as the header says; NULL: not */
	char *backing_file;           /* as the header says; NULL: none */
	uint64_t luks_offset, luks_len;
	struct luks *luks;

	uint64_t n_alloc, n_cow, n_writeback; /* statistics */
};

static inline struct q2 *q2_of(struct image *img)
{
	return CONTAINER_OF(img, struct q2, base);
}

static inline uint64_t q2_clusters(const struct q2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* qcow2.c. Note that the image contradicts itself; returns -EIO. */
int q2_corrupt(struct q2 *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool q2_is(struct image *img);

/* qcow2_header.c */
int q2_read_header(struct q2 *q, struct err *e);
int q2_write_header(struct q2 *q);        /* one sector and what follows it; no sync */
int q2_set_incompat(struct q2 *q, uint64_t set, uint64_t clear); /* written and synced */
void q2_free_header(struct q2 *q);
/* The name of the backing file and its format go into the header; NULL: none. */
int q2_set_backing(struct q2 *q, const char *file, const char *format, struct err *e);

/* qcow2_tables.c */
int q2_cache_init(struct q2 *q, struct q2_cache *c, uint64_t bytes, uint64_t wanted);
void q2_cache_release(struct q2_cache *c);
/* The table at offset; load false: it is new and its contents are zero. Valid until a few others were asked for. */
int q2_table_get(struct q2 *q, struct q2_cache *c, uint64_t offset, bool load, struct q2_table **out);
void q2_table_dirty(struct q2_cache *c, struct q2_table *t, uint32_t lo, uint32_t hi);
void q2_table_drop(struct q2 *q, struct q2_cache *c, uint64_t offset); /* forget it, changes and all */
bool q2_tables_dirty(const struct q2 *q);
/* All tables into the file, in an order that leaves the image right whenever it stops; the last are not stable yet. */
int q2_write_back(struct q2 *q);
int q2_flush_all(struct q2 *q);   /* q2_write_back, then stable; freed clusters are free then */
int q2_free_later(struct q2 *q, uint64_t offset, uint64_t n_clusters);
uint64_t q2_freed_now(struct q2 *q);          /* number for q2_freed_stable() */
void q2_freed_stable(struct q2 *q, uint64_t number, bool punch);
void q2_quiesce(struct q2 *q);    /* wait for discards under way */

/* qcow2_refcount.c */
uint64_t q2_refcount_in(const uint8_t *block, uint32_t order, uint64_t i);
void q2_refcount_put(uint8_t *block, uint32_t order, uint64_t i, uint64_t v);
uint64_t q2_max_refcount(const struct q2 *q);
int q2_refcount_get(struct q2 *q, uint64_t cluster, uint64_t *v);
int q2_refcount_set(struct q2 *q, uint64_t cluster, uint64_t v);
int q2_refcount_add(struct q2 *q, uint64_t offset, uint64_t n_clusters, int delta);
/* Clusters in a row, at least 1 and at most n; all of n if exact. Their count is 1 then. */
int q2_alloc(struct q2 *q, uint64_t n, bool exact, uint64_t *offset, uint64_t *got);
/* Give back clusters that nothing in the file has ever pointed to. */
void q2_unalloc(struct q2 *q, uint64_t offset, uint64_t n);
/* The bytes belong to the header, a table in use or the like. */
bool q2_is_metadata(struct q2 *q, uint64_t offset, uint64_t len);

/* qcow2_map.c */
enum q2_kind { Q2_NONE, Q2_ZEROES, Q2_DATA, Q2_PACKED };

struct q2_map {
	enum q2_kind kind;
	bool copied;      /* may be written in place */
	uint64_t host;    /* where the first byte is; 0: nowhere (Q2_ZEROES only) */
	uint64_t entry;   /* Q2_PACKED: the L2 entry */
	uint64_t len;     /* bytes */
};
int q2_map(struct q2 *q, uint64_t offset, uint64_t max, struct q2_map *m);
enum q2_kind q2_entry_kind(const struct q2 *q, uint64_t entry);
/* The entry of the cluster at offset, and a table that may be changed. */
int q2_l2_for_write(struct q2 *q, uint64_t offset, struct q2_table **t, unsigned *index);
/* The n clusters from offset on are at host now. What was there before is freed. */
int q2_remap(struct q2 *q, uint64_t offset, uint64_t n, uint64_t host);
/* Whole clusters: read as zero. unmap: give space back. discard: need not read as anything. */
int q2_zero_clusters(struct q2 *q, uint64_t offset, uint64_t n, bool unmap, bool discard);
int q2_free_entry(struct q2 *q, uint64_t entry); /* what it points to, later */
void q2_packed_place(const struct q2 *q, uint64_t entry, uint64_t *offset, uint64_t *len);
void q2_put_entry(struct q2 *q, struct q2_table *t, unsigned index, uint64_t entry);
static inline uint64_t q2_get_entry(const struct q2_table *t, unsigned index)
{
	uint64_t v;

	__builtin_memcpy(&v, t->data + index * 8ull, 8);
	return be64toh(v);
}

/* qcow2_io.c */
void q2_submit(struct image *img, struct bio *b);
void q2_free_pools(struct q2 *q);

/* qcow2_packed.c: the cluster behind a compressed entry, into q->unpacked. */
int q2_unpack(struct q2 *q, uint64_t entry);

/* qcow2_snapshot.c */
int q2_load_snapshots(struct q2 *q, struct err *e);
void q2_free_snapshots(struct q2 *q);
int q2_update_copied(struct q2 *q);

/* qcow2_check.c */
int q2_repair_dirty(struct q2 *q, struct err *e);

/* qcow2_resize.c */
int q2_resize(struct image *img, uint64_t size, struct err *e);
/* A new L1 table with these entries in place of the old one, whose clusters are freed. Stable afterwards. */
int q2_replace_l1(struct q2 *q, uint64_t *l1, uint32_t n, uint64_t disk_size);

#endif
