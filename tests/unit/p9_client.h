/* SPDX-License-Identifier: GPL-2.0-only */
/* A 9P client for tests: sends what it is told to, right or wrong. */
#ifndef P9_CLIENT_H
#define P9_CLIENT_H

#include "../../runtime/fs.h"
#include "../../runtime/fs_limits.h"
#include "../../runtime/fs_wire.h"

struct client {
	int sock, socks[FS_SESSIONS]; /* the session in use, of all that there are */
	int pid;		      /* of the server */
	int gate;
	uint8_t out[FS_MSIZE_MAX + 64], in[FS_MSIZE_MAX + 64];
	struct fs_writer w;
	struct fs_reader r; /* the reply's body */
	uint8_t type;	    /* of the reply */
};

/* A file of the host's with @text in it. */
void write_file(const char *path, const char *text);

typedef void serve_fn(const struct fs_config *config);

/* Takes what is used, of servers started from now on; -1: none. */
extern int client_learn;

/*
 * Runs serve in a child on the n exports, each of which is opened here at its
 * host, and described by that where it says nothing; audit: an open file, or -1. If
 * one is gated, c->gate opens the gate; else it is -1.
 */
void client_start(struct client *c, serve_fn *serve, const struct fs_export *exports, size_t n,
		  int audit);
/* Sends to and takes from session number @i from now on; at first that is the last one. */
void client_use(struct client *c, int i);
/* Closes the streams; the server's wait status. */
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
int client_write(struct client *c, uint32_t fid, uint64_t offset, const void *buf, uint32_t count);
/* fid, a directory, becomes the new file. */
int client_create(struct client *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode);
int client_mkdir(struct client *c, uint32_t fid, const char *name, uint32_t mode);
/* /dev/null */
int client_mknod(struct client *c, uint32_t fid, const char *name);
int client_symlink(struct client *c, uint32_t fid, const char *name, const char *target);
int client_link(struct client *c, uint32_t dir, uint32_t fid, const char *name);
int client_rename(struct client *c, uint32_t dir, const char *name, uint32_t to,
		  const char *to_name);
int client_unlink(struct client *c, uint32_t dir, const char *name, uint32_t flags);
struct client_attr { /* Tsetattr; times are 0 */
	uint32_t valid, mode, uid, gid;
	uint64_t size;
};
int client_setattr(struct client *c, uint32_t fid, const struct client_attr *attr);
int client_clunk(struct client *c, uint32_t fid);
/* A call of one of the types that take nothing but a fid. */
int client_simple(struct client *c, uint8_t type, uint32_t fid);

#endif
