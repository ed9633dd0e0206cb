/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 9P's encoding: a cursor to read a message and one to write its reply, which
 * are the only way to the bytes. Little-endian, no alignment. Both are sticky:
 * after the first step over the end, reads give zeros and writes do nothing.
 */
#ifndef VMBOX_FS_WIRE_H
#define VMBOX_FS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define P9_HEADER 7 /* size[4] type[1] tag[2] */
#define P9_NOTAG  0xffff
#define P9_NOFID  0xffffffffU

enum p9_type {
	P9_RLERROR = 7,
	P9_TSTATFS = 8,
	P9_TLOPEN = 12,
	P9_TLCREATE = 14,
	P9_TSYMLINK = 16,
	P9_TMKNOD = 18,
	P9_TREADLINK = 22,
	P9_TGETATTR = 24,
	P9_TSETATTR = 26,
	P9_TREADDIR = 40,
	P9_TFSYNC = 50,
	P9_TLOCK = 52,
	P9_TGETLOCK = 54,
	P9_TLINK = 70,
	P9_TMKDIR = 72,
	P9_TRENAMEAT = 74,
	P9_TUNLINKAT = 76,
	P9_TVERSION = 100,
	P9_TATTACH = 104,
	P9_TFLUSH = 108,
	P9_TWALK = 110,
	P9_TREAD = 116,
	P9_TWRITE = 118,
	P9_TCLUNK = 120,
};

struct fs_reader {
	const uint8_t *at;
	size_t left;
	bool bad; /* the message was shorter than what it should hold */
};

struct fs_writer {
	uint8_t *buf;
	size_t pos, cap;
	bool full;
};

struct fs_str { /* not terminated; may hold any byte */
	const char *s;
	uint16_t len;
};

struct fs_qid {
	uint8_t type;
	uint32_t version;
	uint64_t path;
};

uint8_t fs_get8(struct fs_reader *r);
uint16_t fs_get16(struct fs_reader *r);
uint32_t fs_get32(struct fs_reader *r);
uint64_t fs_get64(struct fs_reader *r);
struct fs_str fs_get_str(struct fs_reader *r);
const uint8_t *fs_get_bytes(struct fs_reader *r, size_t n); /* NULL: there are fewer */
/* True if the message was exactly as long as what was read of it. */
bool fs_get_done(struct fs_reader *r);

void fs_put8(struct fs_writer *w, uint8_t v);
void fs_put16(struct fs_writer *w, uint16_t v);
void fs_put32(struct fs_writer *w, uint32_t v);
void fs_put64(struct fs_writer *w, uint64_t v);
void fs_put_str(struct fs_writer *w, const char *s, size_t len);
void fs_put_qid(struct fs_writer *w, const struct fs_qid *q);
/* Space for at most want bytes at the end, *len of it; fs_put_used() takes some. */
uint8_t *fs_put_space(struct fs_writer *w, size_t want, size_t *len);
void fs_put_used(struct fs_writer *w, size_t len);

#endif
