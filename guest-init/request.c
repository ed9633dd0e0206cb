// SPDX-License-Identifier: GPL-2.0-only
/* Parses RUN. Bounds everything by the payload, although the host is trusted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "request.h"

struct cursor {
	char *at;
	size_t left;
};

static void take(struct cursor *c, void *to, size_t len)
{
	if (len > c->left)
		fail(EPROTO, "the request is cut short");
	memcpy(to, c->at, len);
	c->at += len;
	c->left -= len;
}

static char *take_string(struct cursor *c)
{
	char *s = c->at;
	size_t len = strnlen(s, c->left);

	if (len == c->left)
		fail(EPROTO, "a string of the request has no end");
	c->at += len + 1;
	c->left -= len + 1;
	return s;
}

static const char *take_path(struct cursor *c)
{
	const char *s = take_string(c);

	if (s[0] != '/')
		fail(EPROTO, "path '%s' in the request is not absolute", s);
	return s;
}

static void *array(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		fail(errno, "memory for the request");
	return p;
}

/* n strings and a NULL. Each takes a byte or more of what is left. */
static char **take_strings(struct cursor *c, size_t n)
{
	char **list;

	if (n > c->left)
		fail(EPROTO, "the request counts more strings than it has");
	list = array(n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++)
		list[i] = take_string(c);
	return list;
}

void request_parse(struct request *req, char *payload, size_t len)
{
	struct cursor c = { payload, len };
	size_t n, i;

	take(&c, &req->head, sizeof(req->head));
	n = req->head.nr_mounts;
	if (n > PVIO_MAX_MOUNTS)
		fail(EPROTO, "the request has %zu mounts; %d are possible", n, PVIO_MAX_MOUNTS);
	req->mounts = array(n + 1, sizeof(*req->mounts));
	for (i = 0; i < n; i++)
		take(&c, &req->mounts[i].how, sizeof(req->mounts[i].how));
	req->program = take_path(&c);
	req->cwd = take_path(&c);
	req->hostname = take_string(&c);
	req->argv = take_strings(&c, req->head.nr_argv);
	req->env = take_strings(&c, req->head.nr_env);
	for (i = 0; i < n; i++) {
		req->mounts[i].path = take_path(&c);
		req->mounts[i].target = take_string(&c);
	}
	if (c.left)
		fail(EPROTO, "the request has %zu bytes too many", c.left);
}
