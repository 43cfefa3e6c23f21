/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest knows of a shared directory: nodes by number, each a name in another; and open files by number. */
#ifndef DOPPEL_VIRTIO_FS_NODE_H
#define DOPPEL_VIRTIO_FS_NODE_H

#include "backend/share/share.h"
#include "base/strbuf.h"

#define FS_ROOT       1          /* FUSE_ROOT_ID */
#define FS_MAX_NODES  (1u << 20) /* names that a guest can make us remember: some 128 MiB */
#define FS_MAX_FILES  1024       /* open files: below what a process may have by default */
#define FS_NODE_HASH  4096
#define FS_MAX_NAME   255

struct fs_node {
	struct fs_node *parent, *next_hash, *next_free;
	uint64_t lookups;        /* of the guest, which it gives back by FORGET */
	unsigned children, files; /* that refer to this node */
	uint64_t ino;            /* of the host's file when it was looked up */
	uint32_t id;
	bool linked;             /* still has its name, as far as we know */
	char *name;
};

struct fs_file {
	struct fs_node *node;
	struct share_file *file;
};

struct fs_table {
	struct fs_node **node;   /* by id */
	uint32_t n_nodes, room;
	struct fs_node *free;
	struct fs_node *hash[FS_NODE_HASH];
	struct fs_file file[FS_MAX_FILES];
};

void fs_table_init(struct fs_table *t);
void fs_table_clear(struct fs_table *t); /* closes files, forgets all nodes but the root */
void fs_table_release(struct fs_table *t);

/* A node that the guest may name, or NULL. */
struct fs_node *fs_node_get(struct fs_table *t, uint64_t id);

/*
 * The node of a name in a directory, made if need be: with one more look-up. Another inode of the host's than before is
 * another node. NULL: there are too many.
 */
struct fs_node *fs_node_enter(struct fs_table *t, struct fs_node *dir, const char *name, uint64_t ino);
void fs_node_forget(struct fs_table *t, struct fs_node *n, uint64_t lookups);

/* The name has gone, or is another now (with flags of renameat2(2): exchanged). */
void fs_node_unlinked(struct fs_table *t, struct fs_node *dir, const char *name);
void fs_node_renamed(struct fs_table *t, struct fs_node *from, const char *old, struct fs_node *to, const char *name, bool exchange);

/* The path of a node, or of a name in it (NULL: itself), for share.h. -ESTALE when it has no path, -EINVAL for a bad name. */
int fs_node_path(const struct fs_node *n, const char *name, char *buf, size_t len);

/* An open file gets a number; -ENFILE when there are too many. The file by its number (for a node), or NULL. */
int fs_file_add(struct fs_table *t, struct fs_node *n, struct share_file *file, uint64_t *handle);
struct share_file *fs_file_get(struct fs_table *t, uint64_t handle, const struct fs_node *n);
void fs_file_close(struct fs_table *t, uint64_t handle);
/* Any open file of the node, or NULL: what has no name any more can still be looked at. */
struct share_file *fs_file_any(struct fs_table *t, const struct fs_node *n);

#endif
