/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes and open files of a shared directory.
 *
 * A node is a name in a directory, not an inode: it takes no descriptor, so a guest can look at any number of
 * files. The price: two hard links are two nodes, and what the host renames behind our back the guest looks up anew.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "virtio/fs_node.h"

#define MAX_DEPTH 1024 /* a path can't have more parts that fit into PATH_MAX and are worth the walk */

/* -- Nodes ---------------------------------------------------------------------------------------------- */

static struct fs_node **bucket(struct fs_table *t, const struct fs_node *dir, const char *name)
{
	uint32_t h = dir->id * 0x9e3779b1u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x01000193u;
	return &t->hash[(h >> 16 ^ h) % FS_NODE_HASH];
}

static struct fs_node *find(struct fs_table *t, const struct fs_node *dir, const char *name)
{
	struct fs_node *n = *bucket(t, dir, name);

	while (n && (n->parent != dir || strcmp(n->name, name)))
		n = n->next_hash;
	return n;
}

static void link_node(struct fs_table *t, struct fs_node *n)
{
	struct fs_node **at = bucket(t, n->parent, n->name);

	n->next_hash = *at;
	*at = n;
	n->linked = true;
}

static void unlink_node(struct fs_table *t, struct fs_node *n)
{
	struct fs_node **at = bucket(t, n->parent, n->name);

	while (*at != n)
		at = &(*at)->next_hash;
	*at = n->next_hash;
	n->linked = false;
}

static bool grow(struct fs_table *t)
{
	uint32_t room = t->room ? t->room * 2 : 64;
	struct fs_node **node;

	if (t->n_nodes < t->room)
		return true;
	if (t->room >= FS_MAX_NODES)
		return false;
	node = realloc(t->node, room * sizeof(struct fs_node *));
	if (!node)
		return false;
	t->node = node;
	t->room = room;
	return true;
}

static struct fs_node *node_new(struct fs_table *t)
{
	struct fs_node *n = t->free;

	if (n) {
		t->free = n->next_free;
		*n = (struct fs_node){ .id = n->id };
		return n;
	}
	if (!grow(t))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->id = t->n_nodes;
	t->node[t->n_nodes++] = n;
	return n;
}

/* Free what nothing refers to any more, and then perhaps its parent. */
static void put(struct fs_table *t, struct fs_node *n)
{
	while (n && n->id != FS_ROOT && n->name && !n->lookups && !n->children && !n->files) {
		struct fs_node *parent = n->parent;

		if (n->linked)
			unlink_node(t, n);
		free(n->name);
		n->name = NULL;
		n->next_free = t->free;
		t->free = n;
		parent->children--;
		n = parent;
	}
}

struct fs_node *fs_node_get(struct fs_table *t, uint64_t id)
{
	struct fs_node *n = id >= FS_ROOT && id < t->n_nodes ? t->node[id] : NULL;

	return n && n->name ? n : NULL;
}

struct fs_node *fs_node_enter(struct fs_table *t, struct fs_node *dir, const char *name, uint64_t ino)
{
	struct fs_node *n = find(t, dir, name);

	if (n && n->ino != ino) {
		unlink_node(t, n);
		n = NULL;
	}
	if (!n) {
		n = node_new(t);
		if (!n)
			return NULL;
		n->name = strdup(name);
		BUG_ON(!n->name);
		n->ino = ino;
		n->parent = dir;
		dir->children++;
		link_node(t, n);
	}
	n->lookups++;
	return n;
}

void fs_node_forget(struct fs_table *t, struct fs_node *n, uint64_t lookups)
{
	n->lookups -= MIN(lookups, n->lookups);
	put(t, n);
}

void fs_node_unlinked(struct fs_table *t, struct fs_node *dir, const char *name)
{
	struct fs_node *n = find(t, dir, name);

	if (n)
		unlink_node(t, n);
}

/* Into another directory, under another name; it is not linked meanwhile. */
static void move(struct fs_table *t, struct fs_node *n, struct fs_node *to, const char *name)
{
	struct fs_node *before = n->parent;
	char *copy = strdup(name);

	BUG_ON(!copy);
	free(n->name);
	n->name = copy;
	n->parent = to;
	to->children++;
	link_node(t, n);
	before->children--;
	put(t, before);
}

void fs_node_renamed(struct fs_table *t, struct fs_node *from, const char *old, struct fs_node *to, const char *name, bool exchange)
{
	struct fs_node *n = find(t, from, old), *other = find(t, to, name);

	if (n == other)
		return;
	if (other)
		unlink_node(t, other);
	if (n)
		unlink_node(t, n);
	if (other && exchange)
		move(t, other, from, old);
	if (n)
		move(t, n, to, name);
}

static bool good_name(const char *name)
{
	return *name && strlen(name) <= FS_MAX_NAME && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

int fs_node_path(const struct fs_node *n, const char *name, char *buf, size_t len)
{
	const struct fs_node *part[MAX_DEPTH];
	unsigned depth = 0;
	size_t at = 0;

	if (name && !good_name(name))
		return strlen(name) > FS_MAX_NAME ? -ENAMETOOLONG : -EINVAL;
	for (; n->id != FS_ROOT; n = n->parent) {
		if (!n->linked || depth == MAX_DEPTH)
			return -ESTALE;
		part[depth++] = n;
	}
	while (depth || name) {
		const char *s = depth ? part[--depth]->name : name;
		size_t l = strlen(s);

		if (s == name)
			name = NULL;
		if (at + l + 2 > len)
			return -ENAMETOOLONG;
		if (at)
			buf[at++] = '/';
		memcpy(buf + at, s, l);
		at += l;
	}
	buf[at] = 0;
	return 0;
}

/* -- Files ---------------------------------------------------------------------------------------------- */

int fs_file_add(struct fs_table *t, struct fs_node *n, struct share_file *file, uint64_t *handle)
{
	for (unsigned i = 0; i < FS_MAX_FILES; i++) {
		if (t->file[i].file)
			continue;
		t->file[i] = (struct fs_file){ n, file };
		n->files++;
		*handle = i;
		return 0;
	}
	share_file_close(file);
	return -ENFILE;
}

struct share_file *fs_file_get(struct fs_table *t, uint64_t handle, const struct fs_node *n)
{
	if (handle >= FS_MAX_FILES || (n && t->file[handle].node != n))
		return NULL;
	return t->file[handle].file;
}

void fs_file_close(struct fs_table *t, uint64_t handle)
{
	struct fs_file f;

	if (!fs_file_get(t, handle, NULL))
		return;
	f = t->file[handle];
	t->file[handle] = (struct fs_file){ 0 };
	share_file_close(f.file);
	f.node->files--;
	put(t, f.node);
}

struct share_file *fs_file_any(struct fs_table *t, const struct fs_node *n)
{
	for (unsigned i = 0; n->files && i < FS_MAX_FILES; i++)
		if (t->file[i].file && t->file[i].node == n)
			return t->file[i].file;
	return NULL;
}

/* -- Life ----------------------------------------------------------------------------------------------- */

void fs_table_init(struct fs_table *t)
{
	struct fs_node *root;

	memset(t, 0, sizeof(*t));
	node_new(t); /* 0 is nobody's id, and has no name */
	root = node_new(t);
	BUG_ON(!root);
	root->name = strdup("");
	BUG_ON(!root->name);
	root->linked = true;
}

void fs_table_release(struct fs_table *t)
{
	for (unsigned i = 0; i < FS_MAX_FILES; i++)
		if (t->file[i].file)
			share_file_close(t->file[i].file);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		free(t->node[i]->name);
		free(t->node[i]);
	}
	free(t->node);
}

void fs_table_clear(struct fs_table *t)
{
	fs_table_release(t);
	fs_table_init(t);
}
