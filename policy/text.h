/* SPDX-License-Identifier: GPL-2.0-only */
/* The library's own: strings, names and messages. */
#ifndef VMBOX_POLICY_TEXT_H
#define VMBOX_POLICY_TEXT_H

#include "policy.h"

/* A table of anything whose first member is its name. */
struct names {
	const void *first;
	size_t n, stride;
};
#define NAMES(table) \
	((struct names){ (table), sizeof(table) / sizeof((table)[0]), sizeof((table)[0]) })

const char *name_at(struct names names, size_t i);
int name_find(struct names names, const char *name); /* -1: not there */

/* "a, b, c; the nearest is 'b'"; without the nearest if @name is NULL. */
#define KNOWN_MAX 256
const char *name_known(struct names names, const char *name, char text[KNOWN_MAX]);

extern const char *const access_names[4], *const on_exit_names[3], *const net_names[1],
									   *const clock_names[1];

/* A limit's key; the option has '-' for '_'. */
struct limit {
	const char *name;
	bool (*parse)(const char *text, uint64_t *value);
	void (*format)(uint64_t value, char *text);
	uint64_t min, max;
	const char *allowed;
};
extern const struct limit policy_limits[POLICY_NR_LIMITS];

/* A copy that the policy owns; NULL: no memory. */
const char *policy_text(struct policy *policy, const char *text);

/* The bytes of the UTF-8 character at @text; 0: there is none. */
size_t utf8_decode(const char *text, uint32_t *character);

/* What is wrong with any string of a policy; NULL: nothing. */
const char *text_problem(const char *text);

/* Is @path @above, or beneath it? Then what follows: "" or "/…". Else NULL. */
const char *path_below(const char *path, const char *above);

/* @above and what follows it; false: too long. */
bool path_join(const char *above, const char *rest, char out[PATH_MAX]);

/* What is wrong with a rule's keys together; NULL: nothing. */
const char *rule_problem(const struct policy_rule *rule, bool has_on_exit, bool has_quota);

/* Adds one thing, already checked by itself. Strings must be the policy's own. */
int policy_add_rule(struct policy *policy, const struct policy_rule *rule,
		    struct policy_error *error);
int policy_add_env(struct policy *policy, const struct policy_env *env, struct policy_error *error);
int policy_set_limit(struct policy *policy, enum policy_limit limit, const char *text,
		     const struct policy_origin *origin, struct policy_error *error);

/* The quota's values, as for a limit. */
bool quota_parse(const char *text, uint64_t *bytes);
#define QUOTA_ALLOWED "give a size from 1, such as 200M or 1G; access 'ro' lets nothing be written"

#endif
