// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line's mirror of a policy's keys: one table, an option for each
 * key, and for each kind of access. "--ro PATH[:AT]" is {path: PATH, at: AT,
 * access: ro}; --on-exit and --quota complete the last rule.
 */
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct setting {
	struct policy *policy;
	const char *value, *base;
	struct policy_origin origin;
	struct policy_error *error;
};

#define FAIL(s, ...) policy_fail((s)->error, &(s)->origin, __VA_ARGS__)

/* Splits "PATH[:AT]"; "\:" is a colon of a path's, "\\" a backslash. Both must hold @value. */
static bool split(const char *value, char *path, char *at)
{
	char *to = path;

	*at = '\0';
	for (; *value; value++) {
		if (*value == ':' && to != path && !*at) {
			*to = '\0';
			to = at;
			*to = '\0';
			if (!value[1])
				return false;
			*at = '?'; /* not empty: the next colon is one too many */
			continue;
		}
		if (*value == ':')
			return false;
		if (*value == '\\' && (value[1] == ':' || value[1] == '\\'))
			value++;
		*to++ = *value;
	}
	*to = '\0';
	return true;
}

static int set_rule(const struct setting *s, int access)
{
	struct policy_rule rule = { .access = access, .quota = POLICY_UNSET, .origin = s->origin };
	char path[PATH_MAX], at[PATH_MAX], normal[PATH_MAX];
	const char *problem;

	if (strlen(s->value) >= PATH_MAX)
		return FAIL(s, "is too long: at most %d bytes", PATH_MAX - 1);
	if (!split(s->value, path, at))
		return FAIL(s, "give PATH or PATH:AT; a ':' in a path is written \\:");
	problem = policy_normalize(path, s->base, normal);
	if (problem)
		return FAIL(s, "the path %s", problem);
	rule.path = policy_text(s->policy, normal);
	if (*at) {
		problem = policy_normalize(at, NULL, normal);
		if (problem)
			return FAIL(s,
				    "the path in the guest, after ':', %s; a ':' in a path is "
				    "written \\:",
				    problem);
		rule.at = policy_text(s->policy, normal);
	}
	if (!rule.path || (*at && !rule.at))
		return FAIL(s, "out of memory");
	return policy_add_rule(s->policy, &rule, s->error);
}

/* The rule that an option before this one made. */
static struct policy_rule *last_rule(const struct setting *s)
{
	size_t n = s->policy->nr_rules;

	return n && !s->policy->rules[n - 1].origin.line ? &s->policy->rules[n - 1] : NULL;
}

static int set_on_exit(const struct setting *s, int arg)
{
	struct policy_rule *rule = last_rule(s);
	char known[KNOWN_MAX];
	int i = name_find(NAMES(on_exit_names), s->value);

	if (i < 0)
		return FAIL(s, "is not allowed; allowed here: %s",
			    name_known(NAMES(on_exit_names), s->value, known));
	if (!rule || rule_problem(rule, true, false))
		return FAIL(s, "give it right after the --overlay that it is for");
	rule->on_exit = i;
	return 0;
}

static int set_quota(const struct setting *s, int arg)
{
	struct policy_rule *rule = last_rule(s);
	uint64_t quota;

	if (!quota_parse(s->value, &quota))
		return FAIL(s, "is not allowed: " QUOTA_ALLOWED);
	if (!rule || rule_problem(rule, false, true))
		return FAIL(s, "give it right after the --overlay or --rw that it is for");
	rule->quota = quota;
	return 0;
}

/* NAME or NAME=VALUE: env's pass and set. */
static int set_env(const struct setting *s, int arg)
{
	struct policy_env env = { .origin = s->origin };
	size_t n = strcspn(s->value, "=");
	char *name = strndup(s->value, n);

	if (!name)
		return FAIL(s, "out of memory");
	env.name = policy_text(s->policy, name);
	free(name);
	if (s->value[n])
		env.value = policy_text(s->policy, s->value + n + 1);
	if (!env.name || (s->value[n] && !env.value))
		return FAIL(s, "out of memory");
	return policy_add_env(s->policy, &env, s->error);
}

static int set_word(const struct setting *s, struct names names, int *to)
{
	char known[KNOWN_MAX];

	*to = name_find(names, s->value);
	return *to >= 0 ? 0
			: FAIL(s, "is not allowed; allowed here: %s",
			       name_known(names, s->value, known));
}

static int set_net(const struct setting *s, int arg)
{
	int net;

	if (set_word(s, NAMES(net_names), &net))
		return -1;
	s->policy->net = net;
	return 0;
}

static int set_clock(const struct setting *s, int arg)
{
	int clock;

	if (set_word(s, NAMES(clock_names), &clock))
		return -1;
	s->policy->clock = clock;
	return 0;
}

static int set_limit(const struct setting *s, int limit)
{
	return policy_set_limit(s->policy, limit, s->value, &s->origin, s->error);
}

static const struct option {
	const char *name;
	int (*set)(const struct setting *s, int arg);
	int arg;
	const char *value, *text; /* for --help */
} options[] = {
	{ "ro", set_rule, POLICY_RO, "PATH[:AT]", "the guest can read PATH of the host, at AT" },
	{ "overlay", set_rule, POLICY_OVERLAY, "PATH[:AT]", "and change a copy of its own" },
	{ "rw", set_rule, POLICY_RW, "PATH[:AT]", "and change the host's" },
	{ "deny", set_rule, POLICY_DENY, "PATH[:AT]",
	  "it cannot, whatever else is said of what PATH is in" },
	{ "on-exit", set_on_exit, 0, "discard|diff|commit",
	  "of the --overlay before it: at the end throw its\n"
	  "changes away, list them on stderr, or make them to\n"
	  "the host's files if PROGRAM ends with status 0" },
	{ "quota", set_quota, 0, "SIZE",
	  "of the --overlay or --rw before it: how much may be\nwritten there" },
	{ "env", set_env, 0, "NAME[=VALUE]", "set a variable, or pass it on" },
	{ "net", set_net, 0, "none", "there is no network" },
	{ "wall", set_limit, POLICY_WALL, "TIME", "end it after TIME: 500ms, 10s, 5m, 1h" },
	{ "timeout", set_limit, POLICY_WALL, "TIME", "the same, its older name" },
	{ "cpu", set_limit, POLICY_CPU, "TIME", "end it after TIME of a processor" },
	{ "memory", set_limit, POLICY_MEMORY, "SIZE", "the guest's memory: 64M to 256G (512M)" },
	{ "pids", set_limit, POLICY_PIDS, "N", "processes and threads at a time" },
	{ "files", set_limit, POLICY_FILES, "N", "open files of a process" },
	{ "file-size", set_limit, POLICY_FILE_SIZE, "SIZE", "size of a file" },
	{ "stdout", set_limit, POLICY_STDOUT, "SIZE", "end it after SIZE of stdout, or of stderr" },
	{ "exits", set_limit, POLICY_EXITS, "N",
	  "end it if it leaves guest mode more than N times in\na second of a processor "
	  "(1000000)" },
	{ "clock", set_clock, 0, "real", "the time of day is the host's" },
};

const char *policy_option_name(size_t i, const char **value, const char **text)
{
	if (i >= sizeof(options) / sizeof(options[0]))
		return NULL;
	*value = options[i].value;
	*text = options[i].text;
	return options[i].name;
}

int policy_option(struct policy *policy, const char *name, const char *value, const char *base,
		  struct policy_error *error)
{
	struct setting s = { .policy = policy, .value = value, .base = base, .error = error };
	char known[KNOWN_MAX], text[POLICY_ORIGIN_MAX];
	int i = name_find(NAMES(options), name);

	snprintf(text, sizeof(text), "--%s %s", name, value);
	s.origin.source = policy_text(policy, text);
	if (!s.origin.source)
		return FAIL(&s, "out of memory");
	if (i < 0)
		return FAIL(&s, "unknown option; known: %s",
			    name_known(NAMES(options), name, known));
	return options[i].set(&s, options[i].arg);
}
