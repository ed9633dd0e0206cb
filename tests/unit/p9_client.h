/* SPDX-License-Identifier: GPL-2.0-only */
/* A 9P client for tests: sends what it is told to, right or wrong. */
#ifndef P9_CLIENT_H
#define P9_CLIENT_H

#include "../../runtime/fs.h"
#include "../../runtime/fs_limits.h"
#include "../../runtime/fs_wire.h"

struct client {
	int sock;
	int pid; /* of the server */
	uint8_t out[FS_MSIZE_MAX + 64], in[FS_MSIZE_MAX + 64];
	struct fs_writer w;
	struct fs_reader r; /* the reply's body */
	uint8_t type;	    /* of the reply */
};

typedef void serve_fn(int sock, const struct fs_export *exports, size_t n);

/* Runs serve in a child on exports of the n paths. */
void client_start(struct client *c, serve_fn *serve, const char *const *paths, size_t n);
/* Closes the stream; the server's wait status. */
int client_stop(struct client *c);

void client_begin(struct client *c, uint8_t type);
void client_send(struct client *c);
/* Sends what was begun and takes the reply: its errno if it is Rlerror, else 0. */
int client_call(struct client *c);
/* True if the server ended the stream, which a malformed message leads to. */
bool client_ended(struct client *c);

int client_version(struct client *c, uint32_t msize);
int client_attach(struct client *c, uint32_t fid);
/* path's components are separated by '/', and sent as they are. */
int client_walk(struct client *c, uint32_t fid, uint32_t newfid, const char *path);
int client_open(struct client *c, uint32_t fid, uint32_t flags);
/* Bytes read into buf, or -errno. */
int client_read(struct client *c, uint32_t fid, uint64_t offset, void *buf, uint32_t count);
int client_clunk(struct client *c, uint32_t fid);
/* A call of one of the types that take nothing but a fid. */
int client_simple(struct client *c, uint8_t type, uint32_t fid);

#endif
