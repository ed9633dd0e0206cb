// SPDX-License-Identifier: GPL-2.0-only
/* The 9P client of the tests. Owns its socket and the server's process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p9_client.h"

int client_learn = -1;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

void client_start(struct client *c, serve_fn *serve, const struct fs_export *exports, size_t n,
		  int audit)
{
	struct fs_export opened[16];
	struct fs_config config = { .exports = opened,
				    .n = n,
				    .audit = audit,
				    .learn = client_learn,
				    .gate = -1,
				    .uid = 4242,
				    .gid = 4243 };
	int socks[2], gate[2] = { -1, -1 };
	bool gated = false;

	memset(c, 0, sizeof(*c));
	for (int i = 0; i < FS_SESSIONS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
			die("socketpair");
		c->sock = c->socks[i] = socks[0];
		config.socks[i] = socks[1];
	}
	for (size_t i = 0; i < n; i++) {
		struct fs_export *e = &opened[i];

		*e = exports[i];
		e->fd = open(e->host, O_PATH | O_CLOEXEC);
		if (e->fd < 0)
			die(e->host);
		e->at = e->at ? e->at : e->host;
		e->rule = e->rule ? e->rule : "test";
		e->quota = e->quota ? e->quota : UINT64_MAX;
		e->file_size = e->file_size ? e->file_size : UINT64_MAX;
		gated |= e->gated;
	}
	if (gated && pipe2(gate, O_NONBLOCK | O_CLOEXEC))
		die("pipe2");
	c->gate = gate[1];
	config.gate = gate[0];
	c->pid = fork();
	if (c->pid < 0)
		die("fork");
	if (c->pid == 0) {
		for (int i = 0; i < FS_SESSIONS; i++)
			close(c->socks[i]);
		serve(&config);
		_exit(0);
	}
	for (int i = 0; i < FS_SESSIONS; i++)
		close(config.socks[i]);
	if (gated)
		close(gate[0]);
	for (size_t i = 0; i < n; i++)
		close(opened[i].fd);
}

void client_use(struct client *c, int i)
{
	c->sock = c->socks[i];
}

int client_stop(struct client *c)
{
	int status;

	for (int i = 0; i < FS_SESSIONS; i++) {
		if (c->socks[i] >= 0)
			close(c->socks[i]);
		c->socks[i] = -1;
	}
	c->sock = -1;
	if (c->gate >= 0)
		close(c->gate);
	c->gate = -1;
	if (waitpid(c->pid, &status, 0) != c->pid)
		die("waitpid");
	return status;
}

void client_begin(struct client *c, uint8_t type)
{
	c->w = (struct fs_writer){ .buf = c->out, .cap = sizeof(c->out) };
	fs_put32(&c->w, 0);
	fs_put8(&c->w, type);
	fs_put16(&c->w, 1);
}

void client_send(struct client *c)
{
	struct fs_writer head = { .buf = c->out, .cap = 4 };
	size_t at = 0;

	fs_put32(&head, c->w.pos);
	while (at < c->w.pos) {
		ssize_t n = send(c->sock, c->out + at, c->w.pos - at, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the reply will not come either */
		at += n;
	}
}

static bool receive(struct client *c, uint8_t *to, size_t len)
{
	return !len || recv(c->sock, to, len, MSG_WAITALL) == (ssize_t)len;
}

int client_call(struct client *c)
{
	struct fs_reader head = { .at = c->in, .left = P9_HEADER };
	uint32_t size;

	client_send(c);
	if (!receive(c, c->in, P9_HEADER))
		return ECONNRESET;
	size = fs_get32(&head);
	c->type = fs_get8(&head);
	if (size < P9_HEADER || size > sizeof(c->in) ||
	    !receive(c, c->in + P9_HEADER, size - P9_HEADER)) {
		fprintf(stderr, "a reply of %u bytes\n", size);
		exit(1);
	}
	c->r = (struct fs_reader){ .at = c->in + P9_HEADER, .left = size - P9_HEADER };
	return c->type == P9_RLERROR ? (int)fs_get32(&c->r) : 0;
}

bool client_ended(struct client *c)
{
	uint8_t byte;

	return recv(c->sock, &byte, 1, 0) <= 0;
}

int client_version(struct client *c, uint32_t msize)
{
	client_begin(c, P9_TVERSION);
	fs_put32(&c->w, msize);
	fs_put_str(&c->w, "9P2000.L", 8);
	return client_call(c);
}

int client_attach(struct client *c, uint32_t fid)
{
	client_begin(c, P9_TATTACH);
	fs_put32(&c->w, fid);
	fs_put32(&c->w, P9_NOFID);
	fs_put_str(&c->w, "user", 4);
	fs_put_str(&c->w, "", 0);
	fs_put32(&c->w, 0);
	return client_call(c);
}

int client_walk(struct client *c, uint32_t fid, uint32_t newfid, const char *path)
{
	struct fs_writer count;
	uint16_t n = 0;

	client_begin(c, P9_TWALK);
	fs_put32(&c->w, fid);
	fs_put32(&c->w, newfid);
	count = c->w;
	fs_put16(&c->w, 0);
	while (path && *path) {
		size_t len = strcspn(path, "/");

		fs_put_str(&c->w, path, len);
		n++;
		path += len;
		if (*path)
			path++;
	}
	fs_put16(&count, n);
	return client_call(c);
}

int client_open(struct client *c, uint32_t fid, uint32_t flags)
{
	client_begin(c, P9_TLOPEN);
	fs_put32(&c->w, fid);
	fs_put32(&c->w, flags);
	return client_call(c);
}

int client_read(struct client *c, uint32_t fid, uint64_t offset, void *buf, uint32_t count)
{
	uint32_t n;
	int err;

	client_begin(c, P9_TREAD);
	fs_put32(&c->w, fid);
	fs_put64(&c->w, offset);
	fs_put32(&c->w, count);
	err = client_call(c);
	if (err)
		return -err;
	n = fs_get32(&c->r);
	if (n > count || n != c->r.left) {
		fprintf(stderr, "Rread of %u bytes, %zu of them there\n", n, c->r.left);
		exit(1);
	}
	memcpy(buf, c->r.at, n);
	return n;
}

int client_simple(struct client *c, uint8_t type, uint32_t fid)
{
	client_begin(c, type);
	fs_put32(&c->w, fid);
	return client_call(c);
}

int client_clunk(struct client *c, uint32_t fid)
{
	return client_simple(c, P9_TCLUNK, fid);
}

int client_write(struct client *c, uint32_t fid, uint64_t offset, const void *buf, uint32_t count)
{
	size_t room;
	uint8_t *p;
	int err;

	client_begin(c, P9_TWRITE);
	fs_put32(&c->w, fid);
	fs_put64(&c->w, offset);
	fs_put32(&c->w, count);
	p = fs_put_space(&c->w, count, &room);
	memcpy(p, buf, room);
	fs_put_used(&c->w, room);
	err = client_call(c);
	return err ? -err : (int)fs_get32(&c->r);
}

static void put_name(struct client *c, const char *name)
{
	fs_put_str(&c->w, name, strlen(name));
}

int client_create(struct client *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode)
{
	client_begin(c, P9_TLCREATE);
	fs_put32(&c->w, fid);
	put_name(c, name);
	fs_put32(&c->w, flags);
	fs_put32(&c->w, mode);
	fs_put32(&c->w, 0);
	return client_call(c);
}

int client_mkdir(struct client *c, uint32_t fid, const char *name, uint32_t mode)
{
	client_begin(c, P9_TMKDIR);
	fs_put32(&c->w, fid);
	put_name(c, name);
	fs_put32(&c->w, mode);
	fs_put32(&c->w, 0);
	return client_call(c);
}

int client_mknod(struct client *c, uint32_t fid, const char *name)
{
	client_begin(c, P9_TMKNOD);
	fs_put32(&c->w, fid);
	put_name(c, name);
	fs_put32(&c->w, 0020666);
	fs_put32(&c->w, 1);
	fs_put32(&c->w, 3);
	fs_put32(&c->w, 0);
	return client_call(c);
}

int client_symlink(struct client *c, uint32_t fid, const char *name, const char *target)
{
	client_begin(c, P9_TSYMLINK);
	fs_put32(&c->w, fid);
	put_name(c, name);
	put_name(c, target);
	fs_put32(&c->w, 0);
	return client_call(c);
}

int client_link(struct client *c, uint32_t dir, uint32_t fid, const char *name)
{
	client_begin(c, P9_TLINK);
	fs_put32(&c->w, dir);
	fs_put32(&c->w, fid);
	put_name(c, name);
	return client_call(c);
}

int client_rename(struct client *c, uint32_t dir, const char *name, uint32_t to,
		  const char *to_name)
{
	client_begin(c, P9_TRENAMEAT);
	fs_put32(&c->w, dir);
	put_name(c, name);
	fs_put32(&c->w, to);
	put_name(c, to_name);
	return client_call(c);
}

int client_unlink(struct client *c, uint32_t dir, const char *name, uint32_t flags)
{
	client_begin(c, P9_TUNLINKAT);
	fs_put32(&c->w, dir);
	put_name(c, name);
	fs_put32(&c->w, flags);
	return client_call(c);
}

int client_setattr(struct client *c, uint32_t fid, const struct client_attr *attr)
{
	client_begin(c, P9_TSETATTR);
	fs_put32(&c->w, fid);
	fs_put32(&c->w, attr->valid);
	fs_put32(&c->w, attr->mode);
	fs_put32(&c->w, attr->uid);
	fs_put32(&c->w, attr->gid);
	fs_put64(&c->w, attr->size);
	for (int i = 0; i < 4; i++)
		fs_put64(&c->w, 0);
	return client_call(c);
}
