/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decompression of kernels on the host; missing: bzip2 and LZO, which only old kernels use. */
#include <errno.h>
#include <stdbool.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/decompress.h"

/* What xz may use for its dictionary: kernels are made with at most 128 MiB. */
#define XZ_MEMORY_LIMIT (256 * MiB)

/* The legacy LZ4 format cuts its input into blocks of this size. */
#define LZ4_BLOCK_SIZE (8 * MiB)
#define LZ4_MAGIC_LEN  4

/* Decoders return 0, -EINVAL (damaged), -EFBIG (more than max) or -ENOMEM. */
typedef int decoder(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len);

static int decode_gzip(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	enum { GZIP_WRAPPER = 16 };
	const size_t chunk = 1u << 30; /* zlib counts in 32 bits */
	z_stream z = { 0 };
	size_t in_pos = 0, out_pos = 0;
	int rc;

	if (inflateInit2(&z, MAX_WBITS + GZIP_WRAPPER) != Z_OK)
		return -ENOMEM;
	do {
		size_t in_now = MIN(len - in_pos, chunk), out_now = MIN(max - out_pos, chunk);

		z.next_in = (z_const Bytef *)(uintptr_t)(in + in_pos);
		z.avail_in = (uInt)in_now;
		z.next_out = out + out_pos;
		z.avail_out = (uInt)out_now;
		rc = inflate(&z, Z_NO_FLUSH);
		in_pos += in_now - z.avail_in;
		out_pos += out_now - z.avail_out;
	} while (rc == Z_OK);
	inflateEnd(&z);
	*out_len = out_pos;
	if (rc == Z_STREAM_END)
		return 0;
	if (rc == Z_BUF_ERROR && out_pos == max)
		return -EFBIG;
	return rc == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
}

/* Run a decoder of liblzma to the stream's end. */
static int run_lzma(lzma_stream *s, const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	lzma_ret rc;

	s->next_in = in;
	s->avail_in = len;
	s->next_out = out;
	s->avail_out = max;
	/* Given all of the input, it returns early only for a reason. */
	do
		rc = lzma_code(s, LZMA_RUN);
	while (rc == LZMA_OK && s->avail_in && s->avail_out);
	*out_len = max - s->avail_out;
	lzma_end(s);
	if (rc == LZMA_STREAM_END)
		return 0;
	if (rc == LZMA_MEM_ERROR || rc == LZMA_MEMLIMIT_ERROR)
		return -ENOMEM;
	return rc == LZMA_OK && *out_len == max ? -EFBIG : -EINVAL;
}

static int decode_xz(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	lzma_stream s = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&s, XZ_MEMORY_LIMIT, 0) != LZMA_OK)
		return -ENOMEM;
	return run_lzma(&s, in, len, out, max, out_len);
}

static int decode_lzma(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	lzma_stream s = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&s, XZ_MEMORY_LIMIT) != LZMA_OK)
		return -ENOMEM;
	return run_lzma(&s, in, len, out, max, out_len);
}

static int decode_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	size_t frame = ZSTD_findFrameCompressedSize(in, len), n;
	ZSTD_DCtx *ctx;

	if (ZSTD_isError(frame))
		return -EINVAL;
	ctx = ZSTD_createDCtx();
	if (!ctx)
		return -ENOMEM;
	n = ZSTD_decompressDCtx(ctx, out, max, in, frame);
	ZSTD_freeDCtx(ctx);
	if (ZSTD_isError(n))
		return ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall ? -EFBIG : -EINVAL;
	*out_len = n;
	return 0;
}

/*
 * The legacy frame as `lz4 -l` writes it: magic, then blocks, each its compressed size and bytes.
 * Nothing marks the end but the end of the input, so nothing may follow.
 */
static int decode_lz4(const uint8_t *in, size_t len, uint8_t *out, size_t max, size_t *out_len)
{
	size_t pos = LZ4_MAGIC_LEN, done = 0;

	while (done < max && len - pos >= 4) {
		uint32_t size = get_le32(in + pos);
		int room = (int)MIN(max - done, LZ4_BLOCK_SIZE), n;

		pos += 4;
		if (!size || size > len - pos || size > (uint32_t)LZ4_COMPRESSBOUND(LZ4_BLOCK_SIZE))
			return -EINVAL;
		n = LZ4_decompress_safe((const char *)in + pos, (char *)out + done, (int)size, room);
		if (n < 0)
			return -EINVAL;
		pos += size;
		done += (size_t)n;
	}
	*out_len = done;
	return 0;
}

static const struct compression {
	const char *name;
	uint8_t magic_len;
	uint8_t magic[6];
	decoder *decode;
} compressions[] = {
	{ "gzip", 2, { 0x1f, 0x8b }, decode_gzip },
	{ "xz", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, decode_xz },
	{ "zstd", 4, { 0x28, 0xb5, 0x2f, 0xfd }, decode_zstd },
	{ "lz4", 4, { 0x02, 0x21, 0x4c, 0x18 }, decode_lz4 },
	{ "lzma", 3, { 0x5d, 0x00, 0x00 }, decode_lzma },
};

static const struct compression *find(const void *data, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (len >= compressions[i].magic_len &&
		    !memcmp(data, compressions[i].magic, compressions[i].magic_len))
			return &compressions[i];
	return NULL;
}

const char *decompress_name(const void *data, size_t len)
{
	const struct compression *c = find(data, len);

	return c ? c->name : NULL;
}

int decompress(const void *data, size_t len, size_t max, struct decompressed *out, struct err *e)
{
	const struct compression *c = find(data, len);
	int rc;

	*out = (struct decompressed){ 0 };
	if (!c)
		return err_set(e, EINVAL, "not compressed in a way that is known here");
	if (!max)
		return err_set(e, EINVAL, "the %s data claims to be empty", c->name);
	/* Untouched pages of it cost nothing, so there is no need to know the size in advance. */
	out->map_len = max;
	out->data =
		mmap(NULL, max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (out->data == MAP_FAILED) {
		out->data = NULL;
		return err_set(e, ENOMEM, "no memory to undo the %s compression into", c->name);
	}
	rc = c->decode(data, len, out->data, max, &out->len);
	if (!rc)
		return 0;
	decompress_release(out);
	if (rc == -EFBIG)
		return err_set(e, EFBIG, "the %s data is larger than it may be (%zu bytes)", c->name, max);
	return err_set(e, -rc, rc == -ENOMEM ? "not enough memory to undo its %s compression" :
		       "the %s-compressed data is damaged or cut short", c->name);
}

void decompress_release(struct decompressed *d)
{
	if (d->data)
		munmap(d->data, d->map_len);
	*d = (struct decompressed){ 0 };
}
