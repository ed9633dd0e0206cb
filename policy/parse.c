// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policy files: a strict subset of YAML (and so JSON), from libyaml's events by
 * recursive descent. The schema is the tables of keys below: what is in none is
 * refused, at the first event that does not fit, so that nothing nests deeper than
 * the schema. The file may be a stranger's; nothing of it is kept but checked text.
 *
 * Every read_…() is entered with its value's first event as the current one, and
 * leaves with its last one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "text.h"

struct parser {
	yaml_parser_t yaml;
	yaml_event_t event; /* the current one */
	struct policy *policy;
	const char *bytes, *base;
	struct policy_origin origin; /* of the current event */
	struct policy_error *error;
};

struct key {
	const char *name;
	int (*read)(struct parser *s, void *to, int arg);
	int arg;
};

#define MAX_KEYS 8

/* Where each key's value was, by its index in the table; line 0: nowhere. */
typedef struct policy_origin key_origins[MAX_KEYS];

#define FAIL(s, ...) policy_fail((s)->error, &(s)->origin, __VA_ARGS__)

static void set_origin(struct parser *s, yaml_mark_t mark)
{
	s->origin.line = mark.line + 1;
	s->origin.column = mark.column + 1;
}

static int fail_yaml(struct parser *s)
{
	const char *problem = s->yaml.problem ? s->yaml.problem : "out of memory";
	size_t i;

	set_origin(s, s->yaml.problem_mark);
	if (s->yaml.error == YAML_READER_ERROR) { /* has no mark */
		s->origin.line = s->origin.column = 1;
		for (i = 0; i < s->yaml.problem_offset; i++) {
			s->origin.column += (s->bytes[i] & 0xc0) != 0x80;
			if (s->bytes[i] == '\n') {
				s->origin.line++;
				s->origin.column = 1;
			}
		}
		return FAIL(s,
			    "here is a byte that no policy may have (%s): the file must be "
			    "UTF-8 text",
			    problem);
	}
	return FAIL(s, "this is not YAML: %s%s%s; see docs/policy.md for the format", problem,
		    s->yaml.context ? ", " : "", s->yaml.context ? s->yaml.context : "");
}

/* The next event. Refuses here what no policy may have anywhere. */
static int next(struct parser *s)
{
	const yaml_event_t *e = &s->event;

	yaml_event_delete(&s->event);
	if (!yaml_parser_parse(&s->yaml, &s->event))
		return fail_yaml(s);
	set_origin(s, e->start_mark);
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return FAIL(s, "an alias (*%.80s) is not allowed: write the value out",
			    e->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		if (e->data.scalar.anchor)
			return FAIL(s, "an anchor (&%.80s) is not allowed: take it away",
				    e->data.scalar.anchor);
		if (e->data.scalar.tag)
			return FAIL(s, "a tag (%.80s) is not allowed: take it away",
				    e->data.scalar.tag);
		if (e->start_mark.line != e->end_mark.line)
			return FAIL(s, "a value must be on one line: join it, with \\n in double "
				       "quotes for a new line");
		if (strlen((char *)e->data.scalar.value) != e->data.scalar.length)
			return FAIL(s, "a value may not have a zero byte: take the \\0 away");
		return 0;
	case YAML_SEQUENCE_START_EVENT:
		if (e->data.sequence_start.anchor || e->data.sequence_start.tag)
			return FAIL(s, "anchors and tags are not allowed: take it away");
		return 0;
	case YAML_MAPPING_START_EVENT:
		if (e->data.mapping_start.anchor || e->data.mapping_start.tag)
			return FAIL(s, "anchors and tags are not allowed: take it away");
		return 0;
	case YAML_DOCUMENT_START_EVENT:
		if (e->data.document_start.version_directive ||
		    e->data.document_start.tag_directives.start !=
			    e->data.document_start.tag_directives.end)
			return FAIL(s, "a %% directive is not allowed: take it away");
		return 0;
	default:
		return 0;
	}
}

static const char *text(const struct parser *s)
{
	return (const char *)s->event.data.scalar.value;
}

static int want_text(struct parser *s, const char *what)
{
	if (s->event.type == YAML_SCALAR_EVENT && *text(s))
		return 0;
	return FAIL(s, "'%s' needs a value here, on the same line", what);
}

/* Copies the current text. */
static int keep(struct parser *s, const char *value, const char **to)
{
	*to = policy_text(s->policy, value);
	return *to ? 0 : FAIL(s, "out of memory");
}

/* One of a table of words: its index. */
static int read_word(struct parser *s, const char *key, struct names names, int *to)
{
	char known[KNOWN_MAX];

	if (want_text(s, key))
		return -1;
	*to = name_find(names, text(s));
	if (*to < 0)
		return FAIL(s, "%s: '%.80s' is not allowed; allowed here: %s", key, text(s),
			    name_known(names, text(s), known));
	return 0;
}

/* @what: for messages, as in "unknown key in @what". */
static int read_map(struct parser *s, const char *what, const struct key *keys, size_t n, void *to,
		    key_origins origins)
{
	struct names names = { keys, n, sizeof(*keys) };
	char known[KNOWN_MAX];
	int i;

	memset(origins, 0, sizeof(key_origins));
	if (s->event.type != YAML_MAPPING_START_EVENT)
		return FAIL(s, "%s must be keys with values (%s: ...), from: %s", what,
			    keys[0].name, name_known(names, NULL, known));
	for (;;) {
		if (next(s))
			return -1;
		if (s->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (s->event.type != YAML_SCALAR_EVENT)
			return FAIL(s, "a key of %s must be one word, from: %s", what,
				    name_known(names, NULL, known));
		i = name_find(names, text(s));
		if (i < 0)
			return FAIL(s, "unknown key '%.80s' in %s; known: %s", text(s), what,
				    name_known(names, text(s), known));
		if (origins[i].line)
			return FAIL(s, "'%s' is at line %u already: take one away", keys[i].name,
				    origins[i].line);
		if (next(s))
			return -1;
		origins[i] = s->origin;
		if (keys[i].read(s, to, keys[i].arg))
			return -1;
	}
}

/* A list; read() is called with each item. */
static int read_list(struct parser *s, const char *what, int (*read)(struct parser *s))
{
	if (s->event.type != YAML_SEQUENCE_START_EVENT)
		return FAIL(s, "%s must be a list: lines that start with '- ', or [...]", what);
	for (;;) {
		if (next(s))
			return -1;
		if (s->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		if (read(s))
			return -1;
	}
}

/* ---- fs ---- */

enum {
	RULE_PATH,
	RULE_AT,
	RULE_ACCESS,
	RULE_ON_EXIT,
	RULE_QUOTA,
};

static int read_path(struct parser *s, void *to, int arg)
{
	struct policy_rule *rule = to;
	const char *key = arg == RULE_AT ? "at" : "path", *problem;
	char path[PATH_MAX];

	if (want_text(s, key))
		return -1;
	problem = policy_normalize(text(s), arg == RULE_AT ? NULL : s->base, path);
	if (problem)
		return FAIL(s, "%s: '%.200s' %s", key, text(s), problem);
	return keep(s, path, arg == RULE_AT ? &rule->at : &rule->path);
}

static int read_access(struct parser *s, void *to, int arg)
{
	struct policy_rule *rule = to;
	int access;

	if (read_word(s, "access", NAMES(access_names), &access))
		return -1;
	rule->access = access;
	return 0;
}

static int read_on_exit(struct parser *s, void *to, int arg)
{
	struct policy_rule *rule = to;
	int on_exit;

	if (read_word(s, "on_exit", NAMES(on_exit_names), &on_exit))
		return -1;
	rule->on_exit = on_exit;
	return 0;
}

static int read_quota(struct parser *s, void *to, int arg)
{
	struct policy_rule *rule = to;

	if (want_text(s, "quota"))
		return -1;
	if (!quota_parse(text(s), &rule->quota))
		return FAIL(s, "quota: '%.80s' is not allowed: " QUOTA_ALLOWED, text(s));
	return 0;
}

static const struct key rule_keys[] = {
	[RULE_PATH] = { "path", read_path, RULE_PATH },
	[RULE_AT] = { "at", read_path, RULE_AT },
	[RULE_ACCESS] = { "access", read_access },
	[RULE_ON_EXIT] = { "on_exit", read_on_exit },
	[RULE_QUOTA] = { "quota", read_quota },
};

static int read_rule(struct parser *s)
{
	struct policy_rule rule = { .quota = POLICY_UNSET, .origin = s->origin };
	const char *problem;
	key_origins at;

	if (read_map(s, "a rule of 'fs'", rule_keys, sizeof(rule_keys) / sizeof(rule_keys[0]),
		     &rule, at))
		return -1;
	s->origin = rule.origin;
	if (!rule.path)
		return FAIL(s, "this rule has no 'path': add one, such as path: /usr");
	if (!at[RULE_ACCESS].line)
		return FAIL(s, "this rule has no 'access': add one of ro, overlay, rw, deny");
	problem = rule_problem(&rule, at[RULE_ON_EXIT].line, at[RULE_QUOTA].line);
	if (problem) {
		s->origin = at[at[RULE_ON_EXIT].line && rule.access != POLICY_OVERLAY ? RULE_ON_EXIT
										      : RULE_QUOTA];
		return FAIL(s, "%s", problem);
	}
	return policy_add_rule(s->policy, &rule, s->error);
}

static int read_fs(struct parser *s, void *to, int arg)
{
	return read_list(s, "'fs'", read_rule);
}

/* ---- env ---- */

static int read_passed(struct parser *s)
{
	struct policy_env env = { .origin = s->origin };

	if (want_text(s, "pass") || keep(s, text(s), &env.name))
		return -1;
	return policy_add_env(s->policy, &env, s->error);
}

static int read_pass(struct parser *s, void *to, int arg)
{
	return read_list(s, "'pass'", read_passed);
}

static int read_set(struct parser *s, void *to, int arg)
{
	struct policy_env env;

	if (s->event.type != YAML_MAPPING_START_EVENT)
		return FAIL(s, "'set' must be variables with values, such as set: {CI: \"1\"}");
	for (;;) {
		if (next(s))
			return -1;
		if (s->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		env.origin = s->origin;
		if (want_text(s, "set") || keep(s, text(s), &env.name) || next(s))
			return -1;
		if (s->event.type != YAML_SCALAR_EVENT)
			return FAIL(s, "the variable '%.80s' needs one value", env.name);
		if (keep(s, text(s), &env.value) || policy_add_env(s->policy, &env, s->error))
			return -1;
	}
}

static int read_env(struct parser *s, void *to, int arg)
{
	static const struct key keys[] = { { "pass", read_pass }, { "set", read_set } };
	key_origins at;

	return read_map(s, "'env'", keys, 2, NULL, at);
}

/* ---- single values ---- */

static int read_version(struct parser *s, void *to, int arg)
{
	if (want_text(s, "version"))
		return -1;
	if (strcmp(text(s), "1"))
		return FAIL(s, "version: '%.80s' is not known to this vmbox: write version: %d",
			    text(s), POLICY_VERSION);
	return 0;
}

static int read_net(struct parser *s, void *to, int arg)
{
	int net;

	if (read_word(s, "net", NAMES(net_names), &net))
		return -1;
	s->policy->net = net;
	return 0;
}

static int read_limit(struct parser *s, void *to, int arg)
{
	if (want_text(s, policy_limits[arg].name))
		return -1;
	return policy_set_limit(s->policy, arg, text(s), &s->origin, s->error);
}

static int read_limits(struct parser *s, void *to, int arg)
{
	struct key keys[POLICY_NR_LIMITS];
	key_origins at;
	int i;

	for (i = 0; i < POLICY_NR_LIMITS; i++)
		keys[i] = (struct key){ policy_limits[i].name, read_limit, i };
	return read_map(s, "'limits'", keys, POLICY_NR_LIMITS, NULL, at);
}

static int read_clock(struct parser *s, void *to, int arg)
{
	int clock;

	if (read_word(s, "clock", NAMES(clock_names), &clock))
		return -1;
	s->policy->clock = clock;
	return 0;
}

static int read_time(struct parser *s, void *to, int arg)
{
	static const struct key keys[] = { { "clock", read_clock } };
	key_origins at;

	return read_map(s, "'time'", keys, 1, NULL, at);
}

/* ---- the file ---- */

static int read_file(struct parser *s)
{
	static const struct key keys[] = {
		{ "version", read_version }, { "fs", read_fs },		{ "env", read_env },
		{ "net", read_net },	     { "limits", read_limits }, { "time", read_time },
	};
	key_origins at;

	if (next(s) || next(s)) /* the stream's start, the document's */
		return -1;
	if (s->event.type == YAML_STREAM_END_EVENT)
		return FAIL(s, "the policy is empty: start it with version: 1");
	if (next(s) || read_map(s, "the policy", keys, sizeof(keys) / sizeof(keys[0]), NULL, at))
		return -1;
	if (!at[0].line) {
		s->origin.line = s->origin.column = 1;
		return FAIL(s, "'version' is missing: start the policy with version: 1");
	}
	if (next(s) || next(s)) /* the document's end, the stream's */
		return -1;
	if (s->event.type != YAML_STREAM_END_EVENT)
		return FAIL(s, "a second document is not allowed: put it into a file of its own");
	return 0;
}

int policy_parse(struct policy *policy, const char *bytes, size_t n, const char *file,
		 const char *base, struct policy_error *error)
{
	struct parser s = { .policy = policy, .bytes = bytes, .base = base, .error = error };
	int err;

	s.origin = (struct policy_origin){ policy_text(policy, file), 1, 1 };
	if (!s.origin.source || !yaml_parser_initialize(&s.yaml))
		return FAIL(&s, "out of memory");
	if (n > POLICY_FILE_MAX) {
		err = FAIL(&s, "the policy is too large: at most %d bytes", POLICY_FILE_MAX);
	} else {
		yaml_parser_set_encoding(&s.yaml, YAML_UTF8_ENCODING);
		yaml_parser_set_input_string(&s.yaml, (const unsigned char *)bytes, n);
		err = read_file(&s);
	}
	yaml_event_delete(&s.event);
	yaml_parser_delete(&s.yaml);
	return err;
}

int policy_read(struct policy *policy, int fd, const char *file, const char *base,
		struct policy_error *error)
{
	struct policy_origin origin = { file, 1, 1 };
	char *bytes = malloc(POLICY_FILE_MAX + 1);
	size_t n = 0;
	ssize_t got = 1;
	int err;

	if (!bytes)
		return policy_fail(error, &origin, "out of memory");
	while (got && n <= POLICY_FILE_MAX) {
		got = read(fd, bytes + n, POLICY_FILE_MAX + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		n += got;
	}
	err = got < 0 ? policy_fail(error, &origin, "cannot be read: %s", strerror(errno))
		      : policy_parse(policy, bytes, n, file, base, error);
	free(bytes);
	return err;
}
