/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest may have: from policy files and command-line options to one
 * decision for each guest path. docs/policy.md is the reference of the format.
 *
 *   policy_new, then policy_read or policy_parse for each file, then
 *   policy_option for each option, then policy_validate; then the rest.
 *
 * Purely textual: the library opens nothing and asks the host nothing. A policy
 * owns every string in it until policy_free(). Functions that can fail return 0,
 * or -1 with one line in *error, which begins with file:line:column or with the
 * option, and is printable ASCII.
 */
#ifndef VMBOX_POLICY_H
#define VMBOX_POLICY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define POLICY_VERSION	  1
#define POLICY_FILE_MAX	  65536 /* bytes */
#define POLICY_MAX_RULES  256
#define POLICY_MAX_PLACES 1024
#define POLICY_MAX_ENV	  256
#define POLICY_UNSET	  UINT64_MAX
#define POLICY_EXITS_MAX  1000000

struct policy_error {
	char text[PATH_MAX + 2048];
};

/* Who said it. Borrowed from the policy. */
struct policy_origin {
	const char *source;	   /* a file's name, or an option: "--ro /usr"; NULL: a default */
	unsigned int line, column; /* from 1; 0 for an option */
};

enum policy_access {
	POLICY_DENY,
	POLICY_RO,
	POLICY_OVERLAY,
	POLICY_RW,
};

enum policy_on_exit {
	POLICY_DISCARD,
	POLICY_DIFF,
	POLICY_COMMIT,
};

struct policy_rule {
	const char *path;  /* of the host; absolute and normal */
	const char *named; /* the same as it was given, if it was by links; else NULL */
	const char *at;	   /* of the guest; NULL: not said */
	enum policy_access access;
	enum policy_on_exit on_exit; /* of an overlay */
	uint64_t quota;		     /* bytes, or POLICY_UNSET: none */
	struct policy_origin origin;
};

/* A guest path that a rule is about; rules and places are not one to one (docs/policy.md). */
struct policy_place {
	const char *at;
	const struct policy_rule *rule; /* what is at @at, is the host's rule->path */
};

struct policy_env {
	const char *name;
	const char *value; /* NULL: the caller's, if it has one */
	struct policy_origin origin;
};

enum policy_limit {
	POLICY_WALL,	  /* ns */
	POLICY_CPU,	  /* ns */
	POLICY_MEMORY,	  /* bytes; never unset */
	POLICY_PIDS,	  /* processes and threads */
	POLICY_FILES,	  /* open descriptors of a process */
	POLICY_FILE_SIZE, /* bytes */
	POLICY_STDOUT,	  /* bytes, of stdout and of stderr each */
	POLICY_EXITS,	  /* in a second of processor time; unset: POLICY_EXITS_MAX */
	POLICY_NR_LIMITS,
};

enum policy_net {
	POLICY_NET_NONE,
};

enum policy_clock {
	POLICY_CLOCK_REAL,
};

/* To be read only. */
struct policy {
	struct policy_rule rules[POLICY_MAX_RULES]; /* in the order given */
	size_t nr_rules;
	struct policy_place places[POLICY_MAX_PLACES]; /* by at; no two are the same */
	size_t nr_places;			       /* 0 before policy_validate() */
	struct policy_env env[POLICY_MAX_ENV];	       /* no two names are the same */
	size_t nr_env;
	uint64_t limit[POLICY_NR_LIMITS]; /* POLICY_UNSET: none */
	struct policy_origin limit_origin[POLICY_NR_LIMITS];
	enum policy_net net;
	enum policy_clock clock;
	struct policy_text *texts; /* what all the strings are in */
};

/* Denies everything, and has the defaults; NULL: no memory. */
struct policy *policy_new(void);
void policy_free(struct policy *policy);

/*
 * Adds a file's text, @n bytes, to the policy: rules are united, single values
 * replace earlier ones. @file is for messages; @base, absolute, is what relative
 * paths are relative to. Both are borrowed for the call. After an error the
 * policy is only good for policy_free().
 */
int policy_parse(struct policy *policy, const char *text, size_t n, const char *file,
		 const char *base, struct policy_error *error);

/* The same with what can be read from @fd, which stays the caller's. */
int policy_read(struct policy *policy, int fd, const char *file, const char *base,
		struct policy_error *error);

/*
 * Adds what a command-line option says: @name without dashes, @value as given,
 * @base for relative paths. "on-exit" and "quota" are about the last "overlay" or
 * "rw". As policy_parse() otherwise.
 */
int policy_option(struct policy *policy, const char *name, const char *value, const char *base,
		  struct policy_error *error);

/*
 * The names of all such options, one by one; NULL after the last. For --help: what
 * the option's @value is called, and the lines of @text on what it does.
 */
const char *policy_option_name(size_t i, const char **value, const char **text);

/* How many characters must be put in, taken out or changed to get from @a to @b; the first 31 count. */
unsigned int policy_distance(const char *a, const char *b);

/*
 * Rule @i's path is really @path: that is compared with other rules' from now on.
 * What is printed, and the place if no other rule shows it, are as it was named.
 */
int policy_set_real(struct policy *policy, size_t i, const char *path);

/* Checks the rules against each other and makes the places. To be called again after a change. */
int policy_validate(struct policy *policy, struct policy_error *error);

/*
 * The place that decides about @path, a normal guest path: the longest that is
 * @path or above it. NULL: no rule; denied. A place's access is its rule's.
 */
const struct policy_place *policy_decide(const struct policy *policy, const char *path);

/* The place that @place is inside of. NULL: none. */
const struct policy_place *policy_above(const struct policy *policy,
					const struct policy_place *place);

/*
 * Is a place beneath @path (and not @path itself)? Then the directory must neither
 * be renamed nor removed: what is beneath it would get away from its rule.
 */
bool policy_is_beneath(const struct policy *policy, const char *path);

/* The host's path of the guest's @path at or beneath @place. -1: longer than PATH_MAX. */
int policy_host_path(const struct policy_place *place, const char *path, char host[PATH_MAX]);

/*
 * Where the host's @path shows in the guest: for (i = 0; policy_shown(…, &i, guest);).
 * False: nowhere else.
 */
bool policy_shown(const struct policy *policy, const char *path, size_t *i, char guest[PATH_MAX]);

/* Writes the policy as a file that, parsed, gives the same. -1: see errno; EFBIG: it could not be read. */
int policy_print(const struct policy *policy, FILE *out);

/* One rule, in braces; one string, quoted where YAML needs that: printable in any case. */
void policy_print_rule(const struct policy_rule *rule, FILE *out);
void policy_print_text(const char *text, FILE *out);

const char *policy_access_name(enum policy_access access);
const char *policy_on_exit_name(enum policy_on_exit on_exit);
const char *policy_limit_name(enum policy_limit limit); /* the key: "file_size" */

/* "policy.yaml:4:5", "--ro /usr", "default": printable. */
#define POLICY_ORIGIN_MAX (PATH_MAX + 32)
void policy_origin_text(const struct policy_origin *origin, char text[POLICY_ORIGIN_MAX]);

/* "ORIGIN: …" as @error. Always -1: for "return". */
int policy_fail(struct policy_error *error, const struct policy_origin *origin, const char *fmt,
		...) __attribute__((format(printf, 3, 4)));

/*
 * Makes @path absolute (beneath @base, where that is not NULL) and normal: no empty
 * component, no ".", each ".." removed with the component before it. The host's
 * links are not asked. NULL, or what is wrong and what to do.
 */
const char *policy_normalize(const char *path, const char *base, char out[PATH_MAX]);

#endif
