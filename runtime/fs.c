// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sessions with one guest: takes messages off their streams and puts the
 * replies on them, one after the other. Owns the buffers; the bytes that come are
 * hostile.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "fs_confine.h"
#include "fs_ops.h"

struct stream {
	struct fs_session session;
	int sock; /* -1: ended, or never there */
	size_t fill;
	uint8_t in[FS_MSIZE_MAX];
};

struct server {
	struct fs_log log;
	struct fs_gate gate;
	struct fs_share *shares;
	size_t n;
	int proc_fds; /* /proc/self/fd, or -1 */
	struct stream streams[FS_SESSIONS];
	uint8_t out[FS_MSIZE_MAX];
};

static int complain(const char *what)
{
	fprintf(stderr, "vmbox: file server: the guest broke the 9P protocol: %s\n", what);
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

/* Answers every whole message that is in, and keeps what is left over. 0 or -errno. */
static int answer_all(struct server *sv, struct stream *st)
{
	size_t at = 0;
	int n;

	while (st->fill - at >= P9_HEADER) {
		struct fs_reader r = { .at = st->in + at, .left = 4 };
		uint32_t size = fs_get32(&r);
		uint32_t max = st->session.msize ? st->session.msize : FS_MSIZE_MIN;

		if (size < P9_HEADER || size > max)
			return complain("impossible size of a message");
		if (size > st->fill - at)
			break;
		n = answer(&st->session, st->in + at, size, sv->out);
		if (sv->log.failed)
			return -EIO;
		if (n > 0)
			n = send_all(st->sock, sv->out, n);
		if (n < 0)
			return n;
		at += size;
	}
	memmove(st->in, st->in + at, st->fill - at);
	st->fill -= at;
	return 0;
}

/* One read of what has come. */
static int take_bytes(struct server *sv, struct stream *st)
{
	ssize_t n = read(st->sock, st->in + st->fill, sizeof(st->in) - st->fill);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	st->fill += n;
	if (n)
		return answer_all(sv, st);
	close(st->sock);
	st->sock = -1;
	return st->fill ? -EPROTO : 0; /* half a message: the VMM was ended */
}

static int serve(struct server *sv)
{
	int err = 0;

	while (!err) {
		struct pollfd fds[FS_SESSIONS];
		bool any = false;

		for (int i = 0; i < FS_SESSIONS; i++) {
			fds[i] = (struct pollfd){ .fd = sv->streams[i].sock, .events = POLLIN };
			any |= fds[i].fd >= 0;
		}
		if (!any)
			break;
		if (poll(fds, FS_SESSIONS, -1) < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < FS_SESSIONS && !err; i++)
			if (fds[i].revents)
				err = take_bytes(sv, &sv->streams[i]);
	}
	fs_log_end(&sv->log);
	return sv->log.failed ? -EIO : err;
}

static void server_destroy(struct server *sv)
{
	if (!sv)
		return;
	for (int i = 0; i < FS_SESSIONS; i++) {
		struct fs_session *s = &sv->streams[i].session;

		fs_fids_clear(&s->fids, &s->tree);
		fs_tree_fini(&s->tree);
		if (sv->streams[i].sock >= 0)
			close(sv->streams[i].sock);
	}
	for (size_t i = 0; sv->shares && i < sv->n; i++)
		fs_cuts_destroy(sv->shares[i].cuts);
	free(sv->shares);
	if (sv->proc_fds >= 0)
		close(sv->proc_fds);
	free(sv);
}

static struct server *server_create(const struct fs_config *config)
{
	struct server *sv = calloc(1, sizeof(*sv));
	bool failed = !sv;

	if (!sv)
		return NULL;
	fs_log_init(&sv->log, config->audit, config->learn);
	sv->log.record = config->record;
	sv->log.on_terminal = config->on_terminal;
	sv->gate.fd = config->gate;
	sv->n = config->n;
	sv->shares = calloc(config->n + 1, sizeof(*sv->shares));
	for (size_t i = 0; sv->shares && i < config->n; i++) {
		sv->shares[i].export = &config->exports[i];
		sv->shares[i].gate = config->exports[i].gated ? &sv->gate : NULL;
		sv->shares[i].cuts = fs_cuts_create(&config->exports[i]);
		failed |= !sv->shares[i].cuts;
	}
	sv->proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	failed |= !sv->shares || sv->proc_fds < 0;
	for (int i = 0; i < FS_SESSIONS; i++) {
		struct stream *st = &sv->streams[i];

		st->sock = config->socks[i];
		st->session.users = (struct fs_users){ .guest_uid = config->uid,
						       .guest_gid = config->gid,
						       .uid = geteuid(),
						       .gid = getegid() };
		fs_fids_init(&st->session.fids);
		failed |= fs_tree_init(&st->session.tree, sv->shares, sv->n, &sv->log,
				       &sv->proc_fds) != 0;
	}
	if (!failed)
		return sv;
	server_destroy(sv);
	return NULL;
}

int fs_session_run(const struct fs_config *config)
{
	struct server *sv = server_create(config);
	int err = sv ? serve(sv) : -ENOMEM;

	server_destroy(sv);
	return err;
}

_Noreturn void fs_serve(const struct fs_config *config)
{
	struct server *sv;

	signal(SIGPIPE, SIG_IGN);
	/* The caller's limit of a file's size is an error for the guest. */
	signal(SIGXFSZ, SIG_IGN);
	umask(0); /* the guest's kernel has applied the program's own */
	if (fs_confine_files())
		_exit(1);
	sv = server_create(config);
	if (!sv) {
		fprintf(stderr, "vmbox: file server: no memory, or /proc is not mounted\n");
		_exit(1);
	}
	if (fs_confine_begin(config, &sv->proc_fds) || fs_confine_finish(config))
		_exit(1);
	if (!serve(sv))
		_exit(0);
	_exit(sv->log.failed ? FS_AUDIT_FAILED : 1);
}
