// SPDX-License-Identifier: GPL-2.0-only
/* The pump of wire.h. Owns its buffers; the streams' descriptors until closed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

#define CHUNK	32768
#define OUT_MAX (4 * LAB_FRAME_MAX)

void lab_pump_init(struct lab_pump *p, int wire)
{
	memset(p, 0, offsetof(struct lab_pump, in));
	p->in_len = p->out_len = p->out_off = 0;
	if (!p->in)
		p->in = malloc(LAB_FRAME_MAX + sizeof(struct lab_frame));
	if (!p->out)
		p->out = malloc(OUT_MAX);
	if (!p->in || !p->out)
		abort();
	p->wire = wire;
	fcntl(wire, F_SETFL, fcntl(wire, F_GETFL) | O_NONBLOCK);
	for (int i = 0; i < LAB_STREAMS; i++)
		p->stream[i].fd = -1;
}

void lab_pump_source(struct lab_pump *p, int id, int fd)
{
	p->stream[id] = (struct lab_stream){ .fd = fd, .source = true };
}

void lab_pump_sink(struct lab_pump *p, int id, int fd)
{
	p->stream[id] = (struct lab_stream){ .fd = fd };
}

void lab_pump_send(struct lab_pump *p, uint32_t type, uint32_t stream, const void *payload,
		   uint32_t len)
{
	struct lab_frame f = { .type = type, .stream = stream, .len = len };

	if (p->out_off + p->out_len + sizeof(f) + len > OUT_MAX) {
		memmove(p->out, p->out + p->out_off, p->out_len);
		p->out_off = 0;
	}
	if (p->out_len + sizeof(f) + len > OUT_MAX)
		abort(); /* sources stop long before */
	memcpy(p->out + p->out_off + p->out_len, &f, sizeof(f));
	p->out_len += sizeof(f);
	if (len)
		memcpy(p->out + p->out_off + p->out_len, payload, len);
	p->out_len += len;
}

static void stream_close(struct lab_stream *s)
{
	if (s->fd >= 0 && !s->keep)
		close(s->fd);
	s->fd = -1;
	s->len = 0;
}

static void source_read(struct lab_pump *p, int id)
{
	struct lab_stream *s = &p->stream[id];
	char chunk[CHUNK];
	size_t want = LAB_WINDOW - s->unacked;
	ssize_t n;

	n = read(s->fd, chunk, want < CHUNK ? want : CHUNK);
	if (n > 0) {
		s->unacked += n;
		lab_pump_send(p, LAB_DATA, id, chunk, n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lab_pump_send(p, LAB_CLOSE, id, NULL, 0);
		stream_close(s);
	}
}

static void sink_write(struct lab_pump *p, int id)
{
	struct lab_stream *s = &p->stream[id];
	uint32_t done;
	ssize_t n;

	/* The descriptor may be a blocking one (the user's): PIPE_BUF fits after POLLOUT. */
	n = write(s->fd, s->buf, s->len < 4096 ? s->len : 4096);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		lab_pump_send(p, LAB_CLOSE, id, NULL, 0);
		stream_close(s);
		return;
	}
	memmove(s->buf, s->buf + n, s->len - n);
	s->len -= n;
	done = n;
	lab_pump_send(p, LAB_ACK, id, &done, sizeof(done));
	if (!s->len && s->ending)
		stream_close(s);
}

static void frame_handle(struct lab_pump *p, const struct lab_frame *f, const char *payload)
{
	struct lab_stream *s = &p->stream[f->stream < LAB_STREAMS ? f->stream : 0];
	uint32_t n;

	switch (f->type) {
	case LAB_DATA:
		if (s->fd >= 0 && !s->source && f->len <= LAB_WINDOW - s->len) {
			memcpy(s->buf + s->len, payload, f->len);
			s->len += f->len;
		}
		break;
	case LAB_ACK:
		memcpy(&n, payload, sizeof(n));
		s->unacked -= n < s->unacked ? n : s->unacked;
		break;
	case LAB_CLOSE:
		if (!s->source && s->len)
			s->ending = true;
		else
			stream_close(s);
		break;
	default:
		p->other(p, f, payload);
	}
}

static bool wire_read(struct lab_pump *p)
{
	struct lab_frame f;
	size_t at = 0;
	ssize_t n;

	n = read(p->wire, p->in + p->in_len, LAB_FRAME_MAX + sizeof(f) - p->in_len);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	if (n > 0)
		p->in_len += n;
	while (p->in_len - at >= sizeof(f)) {
		memcpy(&f, p->in + at, sizeof(f));
		if (f.len > LAB_FRAME_MAX)
			return false;
		if (p->in_len - at - sizeof(f) < f.len)
			break;
		frame_handle(p, &f, p->in + at + sizeof(f));
		at += sizeof(f) + f.len;
	}
	memmove(p->in, p->in + at, p->in_len - at);
	p->in_len -= at;
	return true;
}

static bool wire_write(struct lab_pump *p)
{
	ssize_t n = write(p->wire, p->out + p->out_off, p->out_len < CHUNK ? p->out_len : CHUNK);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	p->out_off += n;
	p->out_len -= n;
	if (!p->out_len)
		p->out_off = 0;
	return true;
}

bool lab_pump_round(struct lab_pump *p, int wake, int timeout_ms)
{
	struct pollfd fds[LAB_STREAMS + 2];

	for (int i = 0; i < LAB_STREAMS; i++) {
		struct lab_stream *s = &p->stream[i];
		bool ready = s->source ? s->unacked < LAB_WINDOW && p->out_len < LAB_FRAME_MAX
				       : s->len > 0;

		fds[i].fd = s->fd >= 0 && ready ? s->fd : -1;
		fds[i].events = s->source ? POLLIN : POLLOUT;
	}
	fds[LAB_STREAMS].fd = p->wire;
	fds[LAB_STREAMS].events = POLLIN | (p->out_len ? POLLOUT : 0);
	fds[LAB_STREAMS + 1].fd = wake;
	fds[LAB_STREAMS + 1].events = POLLIN;
	if (poll(fds, LAB_STREAMS + 2, timeout_ms) < 0)
		return errno == EINTR;
	if (fds[LAB_STREAMS].revents & POLLOUT && !wire_write(p))
		return false;
	for (int i = 0; i < LAB_STREAMS; i++) {
		if (fds[i].fd < 0 || !fds[i].revents || p->stream[i].fd < 0)
			continue;
		if (p->stream[i].source)
			source_read(p, i);
		else
			sink_write(p, i);
	}
	if (fds[LAB_STREAMS].revents & POLLIN)
		return wire_read(p);
	return !(fds[LAB_STREAMS].revents & (POLLHUP | POLLERR | POLLNVAL));
}

void lab_pump_drain(struct lab_pump *p, int id)
{
	struct lab_stream *s = &p->stream[id];
	struct pollfd fd = { .events = POLLIN };

	while (s->fd >= 0 && s->unacked < LAB_WINDOW && p->out_len < LAB_FRAME_MAX) {
		fd.fd = s->fd;
		if (poll(&fd, 1, 0) <= 0)
			return;
		source_read(p, id);
	}
}

bool lab_pump_flush(struct lab_pump *p)
{
	struct pollfd fd = { .fd = p->wire, .events = POLLOUT };

	while (p->out_len) {
		if (poll(&fd, 1, -1) < 0 && errno != EINTR)
			return false;
		if (fd.revents & (POLLHUP | POLLERR) || !wire_write(p))
			return false;
	}
	return true;
}
