/* SPDX-License-Identifier: GPL-2.0-only */
/* What a process that the guest has taken over would try. */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/* What must stop an attempt even if nothing else did. */
enum escape_layer {
	ESCAPE_CAGE,   /* what cage_enter() does */
	ESCAPE_SPACE,  /* only the namespaces, of what it does: to see that a file is there */
	ESCAPE_FILTER, /* only the seccomp filter */
};

struct escape {
	const char *name;
	enum escape_layer layer;
	bool (*attempt)(void); /* true: something got out */
};

extern const struct escape escapes[];
extern const size_t nr_escapes;

/* On the host, before: what the attempts look for there. */
void escape_prepare(void);
/* Makes the attempt called @name: "refused", "GOT OUT", or "no such attempt". */
const char *escape_verdict(const char *name);

#endif
