// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session with one guest: takes messages off the stream and puts the replies
 * on it, one after the other. Owns the buffers; the bytes that come are hostile.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "fs_confine.h"
#include "fs_ops.h"

struct buffers {
	uint8_t in[FS_MSIZE_MAX], out[FS_MSIZE_MAX];
};

static int complain(const char *what)
{
	fprintf(stderr, "vmbox: file server[%d]: the guest broke the 9P protocol: %s\n", getpid(),
		what);
	return -EPROTO;
}

static int send_all(int sock, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t sent = write(sock, p, n);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno; /* the other end is gone */
		p += sent;
		n -= sent;
	}
	return 0;
}

/* Answers the message of size bytes at in, into out; the reply's size or -errno. */
static int answer(struct fs_session *s, const uint8_t *in, uint32_t size, uint8_t *out)
{
	struct fs_reader r = { .at = in, .left = size };
	struct fs_writer w = { .buf = out, .cap = s->msize ? s->msize : FS_MSIZE_MIN };
	struct fs_writer head = w;
	uint8_t type;
	uint16_t tag;
	int err;

	fs_get32(&r);
	type = fs_get8(&r);
	tag = fs_get16(&r);
	fs_put_used(&w, P9_HEADER);
	err = fs_ops_handle(s, type, &r, &w);
	if (r.bad)
		return complain("malformed message");
	if (!err && w.full)
		err = -EMSGSIZE;
	if (err) {
		w = (struct fs_writer){ .buf = out, .pos = P9_HEADER, .cap = w.cap };
		fs_put32(&w, -err);
	}
	fs_put32(&head, w.pos);
	fs_put8(&head, err ? P9_RLERROR : type + 1);
	fs_put16(&head, tag);
	return w.pos;
}

/* Answers every whole message of the fill bytes in b->in; what is left over, or -errno. */
static ssize_t answer_all(struct fs_session *s, int sock, struct buffers *b, size_t fill)
{
	size_t at = 0;
	int n;

	while (fill - at >= P9_HEADER) {
		struct fs_reader r = { .at = b->in + at, .left = 4 };
		uint32_t size = fs_get32(&r), max = s->msize ? s->msize : FS_MSIZE_MIN;

		if (size < P9_HEADER || size > max)
			return complain("impossible size of a message");
		if (size > fill - at)
			break;
		n = answer(s, b->in + at, size, b->out);
		if (n > 0)
			n = send_all(sock, b->out, n);
		if (n < 0)
			return n;
		at += size;
	}
	memmove(b->in, b->in + at, fill - at);
	return fill - at;
}

static int serve(struct fs_session *s, int sock, struct buffers *b)
{
	ssize_t n, fill = 0;

	for (;;) {
		n = read(sock, b->in + fill, sizeof(b->in) - fill);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return fill ? complain("half a message at the end") : 0;
		fill = answer_all(s, sock, b, fill + n);
		if (fill < 0)
			return fill;
	}
}

struct server {
	struct fs_session session;
	struct buffers buffers;
};

static void server_destroy(struct server *sv)
{
	if (!sv)
		return;
	fs_fids_clear(&sv->session.fids, &sv->session.tree);
	fs_tree_fini(&sv->session.tree);
	free(sv);
}

static struct server *server_create(const struct fs_export *exports, size_t n)
{
	struct server *sv = calloc(1, sizeof(*sv));

	if (!sv)
		return NULL;
	fs_fids_init(&sv->session.fids);
	if (fs_tree_init(&sv->session.tree, exports, n)) {
		server_destroy(sv);
		return NULL;
	}
	return sv;
}

int fs_session_run(int sock, const struct fs_export *exports, size_t n)
{
	struct server *sv = server_create(exports, n);
	int err = sv ? serve(&sv->session, sock, &sv->buffers) : -ENOMEM;

	server_destroy(sv);
	return err;
}

_Noreturn void fs_serve(int sock, const struct fs_export *exports, size_t n)
{
	struct server *sv;

	signal(SIGPIPE, SIG_IGN);
	if (fs_confine_begin(sock, exports, n))
		_exit(1);
	sv = server_create(exports, n);
	if (!sv) {
		fprintf(stderr, "vmbox: file server[%d]: no memory, or /proc is not mounted\n",
			getpid());
		_exit(1);
	}
	if (fs_confine_finish(exports, n))
		_exit(1);
	_exit(serve(&sv->session, sock, &sv->buffers) ? 1 : 0);
}
