/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS 1, as in the "LUKS On-Disk Format Specification" 1.2.3, with AES in XTS mode and plain64 IVs: what qemu-img
 * and cryptsetup make. Not for us: other ciphers and modes, LUKS 2, detached headers.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/block/luks.h"

#define MAGIC      "LUKS\xba\xbe"
#define N_SLOTS    8
#define SLOT_ON    0x00ac71f3u
#define SLOT_OFF   0x0000deadu
#define SALT       32
#define DIGEST     20
#define STRIPES    4000u
#define MAX_KEY    64
#define SECTOR     512u
#define MAX_SECRET 4096
/* No header may keep us busy for minutes; cryptsetup chooses a tenth of this on the fastest machines. */
#define MAX_ITERATIONS 20000000u
#define TARGET_MS  500

struct slot {
	uint32_t active, iterations;
	uint8_t salt[SALT];
	uint32_t offset, stripes; /* offset in sectors */
} __attribute__((packed));

struct header {
	uint8_t magic[6];
	uint16_t version;
	char cipher[32], mode[32], hash[32];
	uint32_t payload, key_bytes; /* payload in sectors */
	uint8_t digest[DIGEST], digest_salt[SALT];
	uint32_t digest_iterations;
	char uuid[40];
	struct slot slots[N_SLOTS];
} __attribute__((packed));
_Static_assert(sizeof(struct slot) == 48 && sizeof(struct header) == 592, "LUKS specification, figures 1 and 2");

struct luks {
	gnutls_cipher_hd_t cipher;
	uint64_t payload; /* bytes */
};

static const struct {
	const char *name;
	gnutls_mac_algorithm_t mac;
	gnutls_digest_algorithm_t digest;
} hashes[] = {
	{ "sha1", GNUTLS_MAC_SHA1, GNUTLS_DIG_SHA1 },
	{ "sha256", GNUTLS_MAC_SHA256, GNUTLS_DIG_SHA256 },
	{ "sha512", GNUTLS_MAC_SHA512, GNUTLS_DIG_SHA512 },
};

static int pbkdf2(unsigned hash, const uint8_t *secret, size_t secret_len, const uint8_t *salt, uint32_t iterations,
		  uint8_t *out, size_t len)
{
	const gnutls_datum_t key = { (uint8_t *)(uintptr_t)secret, (unsigned)secret_len };
	const gnutls_datum_t s = { (uint8_t *)(uintptr_t)salt, SALT };

	return gnutls_pbkdf2(hashes[hash].mac, &key, &s, iterations, out, len) ? -EIO : 0;
}

static int new_cipher(gnutls_cipher_hd_t *out, const uint8_t *key, uint32_t key_bytes)
{
	uint8_t iv[16] = { 0 };
	const gnutls_datum_t k = { (uint8_t *)(uintptr_t)key, key_bytes }, i = { iv, sizeof(iv) };

	return gnutls_cipher_init(out, key_bytes == 64 ? GNUTLS_CIPHER_AES_256_XTS : GNUTLS_CIPHER_AES_128_XTS, &k, &i) ? -EIO : 0;
}

static int crypt_sectors(gnutls_cipher_hd_t cipher, uint64_t offset, uint8_t *buf, uint64_t len, bool encrypt)
{
	for (uint64_t at = 0; at < len; at += SECTOR) {
		const uint64_t sector[2] = { htole64((offset + at) / SECTOR), 0 };

		gnutls_cipher_set_iv(cipher, (void *)(uintptr_t)sector, sizeof(sector));
		if (encrypt ? gnutls_cipher_encrypt(cipher, buf + at, SECTOR) : gnutls_cipher_decrypt(cipher, buf + at, SECTOR))
			return -EIO;
	}
	return 0;
}

int luks_encrypt(struct luks *l, uint64_t offset, void *buf, uint64_t len)
{
	return crypt_sectors(l->cipher, offset, buf, len, true);
}

int luks_decrypt(struct luks *l, uint64_t offset, void *buf, uint64_t len)
{
	return crypt_sectors(l->cipher, offset, buf, len, false);
}

/* The diffusion of the anti-forensic splitter: each piece of the digest's size becomes its hash. */
static int diffuse(unsigned hash, uint8_t *block, uint32_t n)
{
	const unsigned size = gnutls_hash_get_len(hashes[hash].digest);
	uint8_t out[64];

	for (uint32_t i = 0, at = 0; at < n; i++, at += size) {
		const uint32_t piece = MIN(size, n - at), be = htobe32(i);
		gnutls_hash_hd_t h;

		if (gnutls_hash_init(&h, hashes[hash].digest))
			return -EIO;
		gnutls_hash(h, &be, sizeof(be));
		gnutls_hash(h, block + at, piece);
		gnutls_hash_deinit(h, out);
		memcpy(block + at, out, piece);
	}
	return 0;
}

/* Stripes to key, or with make the last stripe from a key and the others. */
static int merge(unsigned hash, uint8_t *material, uint32_t key_bytes, uint32_t stripes, uint8_t *key, bool make)
{
	uint8_t block[MAX_KEY] = { 0 };
	int rc = 0;

	for (uint32_t s = 0; s + 1 < stripes && !rc; s++) {
		for (uint32_t i = 0; i < key_bytes; i++)
			block[i] ^= material[(uint64_t)s * key_bytes + i];
		rc = diffuse(hash, block, key_bytes);
	}
	for (uint32_t i = 0; i < key_bytes; i++) {
		uint8_t *last = &material[(uint64_t)(stripes - 1) * key_bytes + i];

		if (make)
			*last = block[i] ^ key[i];
		else
			key[i] = block[i] ^ *last;
	}
	gnutls_memset(block, 0, sizeof(block));
	return rc;
}

static int read_secret(const char *file, uint8_t *secret, size_t *len, struct err *e)
{
	ssize_t n;
	int fd;

	if (!file)
		return err_set(e, EACCES, "the image is encrypted; name a file with its passphrase (secret=FILE)");
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "%s: the passphrase: %s", file, strerror(errno));
	n = read(fd, secret, MAX_SECRET);
	close(fd);
	if (n < 0)
		return err_set(e, EIO, "%s: the passphrase can't be read", file);
	*len = (size_t)n;
	return 0;
}

static int check_header(const struct header *h, uint64_t len, unsigned *hash, struct err *e)
{
	const uint32_t key = be32toh(h->key_bytes);
	char cipher[33] = "", mode[33] = "", name[33] = "";

	memcpy(cipher, h->cipher, sizeof(h->cipher));
	memcpy(mode, h->mode, sizeof(h->mode));
	memcpy(name, h->hash, sizeof(h->hash));
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)))
		return err_set(e, EINVAL, "the LUKS header is damaged");
	if (be16toh(h->version) != 1)
		return err_set(e, ENOTSUP, "LUKS version %u is not for us; 1 is", be16toh(h->version));
	if (strcmp(cipher, "aes") || strcmp(mode, "xts-plain64") || (key != 32 && key != 64))
		return err_set(e, ENOTSUP, "encrypted with '%s-%s' and %u key bytes, which is not for us; aes-xts-plain64 is",
			       cipher, mode, key);
	for (*hash = 0; *hash < ARRAY_SIZE(hashes); ++*hash)
		if (!strcmp(hashes[*hash].name, name))
			break;
	if (*hash == ARRAY_SIZE(hashes))
		return err_set(e, ENOTSUP, "the LUKS header uses the hash '%s', which is not for us", name);
	if (be32toh(h->digest_iterations) - 1 >= MAX_ITERATIONS || (uint64_t)be32toh(h->payload) * SECTOR > len)
		return err_set(e, EINVAL, "the LUKS header contradicts itself");
	return 0;
}

struct attempt {
	struct bfile *f;
	uint64_t offset, len;
	const struct header *h;
	unsigned hash;
	const uint8_t *secret;
	size_t secret_len;
};

/* 0: key is it; -EACCES: not with this passphrase; another error: the slot is damaged. */
static int try_slot(const struct attempt *a, const struct slot *s, uint8_t *key)
{
	const uint32_t key_bytes = be32toh(a->h->key_bytes), stripes = be32toh(s->stripes), iterations = be32toh(s->iterations);
	const uint64_t at = (uint64_t)be32toh(s->offset) * SECTOR, size = ALIGN_UP((uint64_t)stripes * key_bytes, SECTOR);
	uint8_t slot_key[MAX_KEY], digest[DIGEST], *material;
	gnutls_cipher_hd_t cipher;
	int rc;

	if (!stripes || stripes > 4 * STRIPES || iterations - 1 >= MAX_ITERATIONS || at + size > a->len)
		return -EINVAL;
	material = malloc(size);
	if (!material)
		return -ENOMEM;
	rc = pbkdf2(a->hash, a->secret, a->secret_len, s->salt, iterations, slot_key, key_bytes);
	if (!rc)
		rc = a->f->ops->pread(a->f, a->offset + at, material, size);
	if (!rc)
		rc = new_cipher(&cipher, slot_key, key_bytes);
	if (!rc) {
		rc = crypt_sectors(cipher, 0, material, size, false);
		gnutls_cipher_deinit(cipher);
	}
	if (!rc)
		rc = merge(a->hash, material, key_bytes, stripes, key, false);
	if (!rc)
		rc = pbkdf2(a->hash, key, key_bytes, a->h->digest_salt, be32toh(a->h->digest_iterations), digest, DIGEST);
	if (!rc && gnutls_memcmp(digest, a->h->digest, DIGEST))
		rc = -EACCES;
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	gnutls_memset(material, 0, size);
	free(material);
	return rc;
}

static int find_key(const struct attempt *a, uint8_t *key, struct err *e)
{
	int rc = -EACCES;

	for (unsigned i = 0; i < N_SLOTS && rc; i++)
		if (be32toh(a->h->slots[i].active) == SLOT_ON)
			rc = try_slot(a, &a->h->slots[i], key);
	return rc ? err_set(e, EACCES, "the passphrase opens none of the image's key slots") : 0;
}

int luks_open(struct luks **out, struct bfile *f, uint64_t offset, uint64_t len, const char *secret_file, struct err *e)
{
	struct header h;
	uint8_t secret[MAX_SECRET], key[MAX_KEY];
	struct attempt a = { .f = f, .offset = offset, .len = len, .h = &h, .secret = secret };
	struct luks *l;
	int rc = len < sizeof(h) ? -EINVAL : f->ops->pread(f, offset, &h, sizeof(h));

	if (rc)
		return err_set(e, -rc, "%s: its LUKS header: %s", f->name, strerror(-rc));
	rc = check_header(&h, len, &a.hash, e);
	if (!rc)
		rc = read_secret(secret_file, secret, &a.secret_len, e);
	if (!rc)
		rc = find_key(&a, key, e);
	gnutls_memset(secret, 0, sizeof(secret));
	if (rc)
		return err_prefix(e, rc, "%s", f->name);
	l = calloc(1, sizeof(*l));
	if (l && new_cipher(&l->cipher, key, be32toh(h.key_bytes))) {
		free(l);
		l = NULL;
	}
	gnutls_memset(key, 0, sizeof(key));
	if (!l)
		return err_set(e, ENOMEM, "%s: no memory for its cipher", f->name);
	l->payload = (uint64_t)be32toh(h.payload) * SECTOR;
	*out = l;
	return 0;
}

void luks_free(struct luks *l)
{
	if (!l)
		return;
	gnutls_cipher_deinit(l->cipher);
	free(l);
}

uint64_t luks_payload_offset(const struct luks *l)
{
	return l->payload;
}

/* Iterations that take this host TARGET_MS. */
static uint32_t measure(const uint8_t *secret, size_t len)
{
	const uint32_t probe = 20000;
	uint8_t salt[SALT] = { 0 }, out[MAX_KEY];
	struct timespec a, b;
	double ms;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	pbkdf2(1, secret, len, salt, probe, out, sizeof(out));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	return (uint32_t)MAX(MIN(probe * TARGET_MS / MAX(ms, 0.1), 5e6), 100000.0);
}

static uint32_t slot_sectors(void)
{
	/* As cryptsetup aligns them: to 4 KiB. */
	return (uint32_t)(ALIGN_UP((uint64_t)STRIPES * MAX_KEY, 4096) / SECTOR);
}

uint64_t luks_header_size(void)
{
	return 4096 + (uint64_t)N_SLOTS * slot_sectors() * SECTOR;
}

static void random_bytes(void *p, size_t n)
{
	if (gnutls_rnd(GNUTLS_RND_KEY, p, n))
		BUG("no random numbers");
}

static void make_uuid(char *out, size_t n)
{
	uint8_t u[16];

	random_bytes(u, sizeof(u));
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x40); /* RFC 9562: version 4, variant 10 */
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
	snprintf(out, n, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5],
		 u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static int fill_slot(uint8_t *header, struct header *h, const uint8_t *secret, size_t len, uint8_t *key)
{
	struct slot *s = &h->slots[0];
	uint8_t slot_key[MAX_KEY], *material = header + (uint64_t)be32toh(s->offset) * SECTOR;
	gnutls_cipher_hd_t cipher;
	uint32_t iterations = measure(secret, len);
	int rc;

	random_bytes(s->salt, SALT);
	random_bytes(material, (size_t)(STRIPES - 1) * MAX_KEY);
	s->active = htobe32(SLOT_ON);
	s->iterations = htobe32(iterations);
	h->digest_iterations = htobe32(iterations / 8);
	rc = merge(1, material, MAX_KEY, STRIPES, key, true);
	if (!rc)
		rc = pbkdf2(1, secret, len, s->salt, iterations, slot_key, MAX_KEY);
	if (!rc)
		rc = pbkdf2(1, key, MAX_KEY, h->digest_salt, iterations / 8, h->digest, DIGEST);
	if (!rc)
		rc = new_cipher(&cipher, slot_key, MAX_KEY);
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	if (rc)
		return rc;
	rc = crypt_sectors(cipher, 0, material, (uint64_t)STRIPES * MAX_KEY, true);
	gnutls_cipher_deinit(cipher);
	return rc;
}

int luks_make_header(void *header, const char *secret_file, struct err *e)
{
	uint8_t secret[MAX_SECRET], key[MAX_KEY];
	struct header h = { .version = htobe16(1), .cipher = "aes", .mode = "xts-plain64", .hash = "sha256" };
	size_t len;
	int rc = read_secret(secret_file, secret, &len, e);

	if (rc)
		return rc;
	memset(header, 0, luks_header_size());
	memcpy(h.magic, MAGIC, sizeof(h.magic));
	h.payload = htobe32((uint32_t)(luks_header_size() / SECTOR));
	h.key_bytes = htobe32(MAX_KEY);
	random_bytes(h.digest_salt, SALT);
	random_bytes(key, sizeof(key));
	make_uuid(h.uuid, sizeof(h.uuid));
	for (uint32_t i = 0; i < N_SLOTS; i++) {
		h.slots[i].active = htobe32(SLOT_OFF);
		h.slots[i].stripes = htobe32(STRIPES);
		h.slots[i].offset = htobe32(4096 / SECTOR + i * slot_sectors());
	}
	rc = fill_slot(header, &h, secret, len, key);
	memcpy(header, &h, sizeof(h));
	gnutls_memset(secret, 0, sizeof(secret));
	gnutls_memset(key, 0, sizeof(key));
	return rc ? err_set(e, -rc, "the encryption's keys can't be made: %s", strerror(-rc)) : 0;
}
