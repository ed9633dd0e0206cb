// SPDX-License-Identifier: GPL-2.0-only
/* Reads and writes the fields of 9P messages. The bytes read are the guest's. */
#include <string.h>

#include "fs_wire.h"

static const uint8_t *take(struct fs_reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return p;
}

static uint64_t get(struct fs_reader *r, size_t n)
{
	const uint8_t *p = take(r, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t fs_get8(struct fs_reader *r)
{
	return get(r, 1);
}

uint16_t fs_get16(struct fs_reader *r)
{
	return get(r, 2);
}

uint32_t fs_get32(struct fs_reader *r)
{
	return get(r, 4);
}

uint64_t fs_get64(struct fs_reader *r)
{
	return get(r, 8);
}

struct fs_str fs_get_str(struct fs_reader *r)
{
	struct fs_str str = { "", fs_get16(r) };
	const uint8_t *p = take(r, str.len);

	if (p)
		str.s = (const char *)p;
	else
		str.len = 0;
	return str;
}

const uint8_t *fs_get_bytes(struct fs_reader *r, size_t n)
{
	return take(r, n);
}

bool fs_get_done(struct fs_reader *r)
{
	if (r->left)
		r->bad = true;
	return !r->bad;
}

static void put(struct fs_writer *w, uint64_t v, size_t n)
{
	if (w->full || n > w->cap - w->pos) {
		w->full = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		w->buf[w->pos++] = v >> (8 * i);
}

void fs_put8(struct fs_writer *w, uint8_t v)
{
	put(w, v, 1);
}

void fs_put16(struct fs_writer *w, uint16_t v)
{
	put(w, v, 2);
}

void fs_put32(struct fs_writer *w, uint32_t v)
{
	put(w, v, 4);
}

void fs_put64(struct fs_writer *w, uint64_t v)
{
	put(w, v, 8);
}

uint8_t *fs_put_space(struct fs_writer *w, size_t want, size_t *len)
{
	size_t room = w->full ? 0 : w->cap - w->pos;

	*len = want < room ? want : room;
	return w->buf + w->pos;
}

void fs_put_used(struct fs_writer *w, size_t len)
{
	if (w->full || len > w->cap - w->pos)
		w->full = true;
	else
		w->pos += len;
}

void fs_put_str(struct fs_writer *w, const char *s, size_t len)
{
	size_t room;
	uint8_t *p;

	put(w, len, 2);
	p = fs_put_space(w, len, &room);
	if (len > UINT16_MAX || room < len) {
		w->full = true;
		return;
	}
	memcpy(p, s, len);
	fs_put_used(w, len);
}

void fs_put_qid(struct fs_writer *w, const struct fs_qid *q)
{
	fs_put8(w, q->type);
	fs_put32(w, q->version);
	fs_put64(w, q->path);
}
