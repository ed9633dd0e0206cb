// SPDX-License-Identifier: GPL-2.0-only
/* Owns the tree of used paths. Pure: asks the host nothing. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "learnt.h"

struct entry {
	struct entry *next, *below, *last; /* in the order of their names; the last one below */
	unsigned int flags;
	char name[];
};

struct learnt {
	struct entry *root;
	bool with_program;
};

/* ---- the tree ---- */

static struct entry *entry_new(const char *name, size_t n)
{
	struct entry *e = calloc(1, sizeof(*e) + n + 1);

	if (e)
		memcpy(e->name, name, n);
	return e;
}

static void entry_free(struct entry *e)
{
	struct entry *below;

	while (e && (below = e->below)) {
		e->below = below->next;
		entry_free(below);
	}
	free(e);
}

struct learnt *learnt_new(void)
{
	struct learnt *l = calloc(1, sizeof(*l));

	if (l && !(l->root = entry_new("", 0))) {
		free(l);
		return NULL;
	}
	return l;
}

void learnt_free(struct learnt *l)
{
	if (l)
		entry_free(l->root);
	free(l);
}

static int compare(const struct entry *e, const char *name, size_t n)
{
	int order = strncmp(e->name, name, n);

	return order ? order : (unsigned char)e->name[n];
}

/* The one of this name in @dir, which is made if it is not there. NULL: no memory. */
static struct entry *entry_in(struct entry *dir, const char *name, size_t n)
{
	struct entry **at = &dir->below, *e;
	int order = 1;

	if (dir->last && compare(dir->last, name, n) < 0)
		at = &dir->last->next;
	while (*at && (order = compare(*at, name, n)) < 0)
		at = &(*at)->next;
	if (*at && !order)
		return *at;
	e = entry_new(name, n);
	if (!e)
		return NULL;
	e->next = *at;
	*at = e;
	if (!e->next)
		dir->last = e;
	return e;
}

int learnt_add(struct learnt *l, const char *path, unsigned int flags)
{
	struct entry *e = l->root;

	for (path += strspn(path, "/"); e && *path; path += strspn(path, "/")) {
		size_t n = strcspn(path, "/");

		e = entry_in(e, path, n);
		path += n;
	}
	if (!e)
		return -1;
	e->flags |= flags;
	return 0;
}

int learnt_compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (*a == '/' || *b == '/') /* before all other characters */
		return !*a ? -1 : !*b ? 1 : *a == '/' ? -1 : 1;
	return (unsigned char)*a - (unsigned char)*b;
}

/* ---- the choice ---- */

static bool is_whole(const struct entry *e)
{
	return (e->flags & (FS_USE_LISTED | LEARNT_WHOLE)) && !(e->flags & LEARNT_OWN);
}

/*
 * Does it need a rule for itself, if nothing in it has one? A directory does not if it was
 * looked at on the way to something that needs none, or to a name that it does not have.
 */
static bool is_needed(const struct learnt *l, const struct entry *e)
{
	if (l->with_program && (e->flags & (LEARNT_PROGRAM | LEARNT_LINK)))
		return true;
	if (e->flags & (LEARNT_PROGRAM | LEARNT_OWN))
		return false;
	if (!(e->flags & FS_USE_DIR))
		return e->flags & FS_USE_SEEN;
	if (e->flags & LEARNT_GIVEN)
		return false;
	return (e->flags & FS_USE_OPENED) ||
	       (!e->below && (e->flags & (FS_USE_SEEN | FS_USE_MISSED)) == FS_USE_SEEN);
}

/* Marks the rules for @e and what is in it, if it is not shown anyway; how many. */
static size_t choose(const struct learnt *l, struct entry *e, bool is_shown)
{
	bool whole = !is_shown && is_whole(e);
	struct entry *below;
	size_t n = 0;

	/* No rule can be for a part of it: a mount is on the way there. */
	if (is_shown && (e->flags & LEARNT_MOUNT))
		whole = choose(l, e, false);
	for (below = e->below; below; below = below->next)
		n += choose(l, below, is_shown || whole);
	e->flags &= ~LEARNT_RULE;
	if (whole || (!is_shown && !n && is_needed(l, e)))
		e->flags |= LEARNT_RULE;
	return n + !!(e->flags & LEARNT_RULE);
}

struct fullest {
	struct entry *dir;
	size_t rules, depth;
};

/* The directory that has most rules right in it; of several, one that is far down. */
static void find_fullest(struct entry *e, size_t depth, struct fullest *best)
{
	struct entry *below;
	size_t n = 0;

	for (below = e->below; below; below = below->next) {
		n += !!(below->flags & LEARNT_RULE);
		find_fullest(below, depth + 1, best);
	}
	if (!n || is_whole(e) || (e->flags & LEARNT_OWN))
		return;
	if (n > best->rules || (n == best->rules && depth > best->depth))
		*best = (struct fullest){ e, n, depth };
}

static int choose_few(struct learnt *l, size_t max)
{
	while (choose(l, l->root, false) > max) {
		struct fullest best = { 0 };

		find_fullest(l->root, 0, &best);
		if (!best.dir)
			return -1;
		best.dir->flags |= LEARNT_WHOLE;
	}
	return 0;
}

/* Is a rule for @path, or for a name on the way there? */
static bool is_reached(struct learnt *l, const char *path)
{
	const struct entry *e = l->root;

	for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
		size_t n = strcspn(path, "/");

		for (e = e->below; e && compare(e, path, n); e = e->next)
			;
		if (!e)
			return false;
		if (e->flags & LEARNT_RULE)
			return true;
		path += n;
	}
	return false;
}

int learnt_choose(struct learnt *l, size_t max, const char *program)
{
	int err = choose_few(l, max);

	if (err || !is_reached(l, program))
		return err;
	l->with_program = true; /* the guest finds it by those rules, and by no other way */
	return choose_few(l, max);
}

/* ---- the result ---- */

struct walk {
	unsigned int flags;
	void (*fn)(void *arg, const char *path, unsigned int flags);
	void *arg;
	char path[PATH_MAX];
};

static void walk(struct walk *w, const struct entry *e, size_t n)
{
	const struct entry *below;

	if (e->flags & w->flags)
		w->fn(w->arg, n ? w->path : "/", e->flags);
	for (below = e->below; below; below = below->next) {
		size_t len = strlen(below->name);

		w->path[n] = '/';
		memcpy(w->path + n + 1, below->name, len + 1);
		walk(w, below, n + 1 + len);
	}
}

void learnt_each(const struct learnt *l, unsigned int flags,
		 void (*fn)(void *arg, const char *path, unsigned int flags), void *arg)
{
	struct walk w = { .flags = flags, .fn = fn, .arg = arg };

	walk(&w, l->root, 0);
}
