// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy in memory: what was said, and the places that follow from it.
 *
 * A rule is about a path of the host; a place is a path of the guest. A rule with
 * "at" has that place. A rule without is about its path wherever other rules show
 * it: beneath a directory that is at /work, it is beneath /work. Only where no
 * other rule shows it, it is at the host's own path. A deny rule hides its path
 * at all of these, and at its "at".
 *
 * Places are made from short host paths to long ones, denials last, so that all
 * that can show a path is there before it; the order of the rules has no part.
 */
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct policy *policy_new(void)
{
	struct policy *p = calloc(1, sizeof(*p));
	int i;

	for (i = 0; p && i < POLICY_NR_LIMITS; i++)
		p->limit[i] = POLICY_UNSET;
	if (p)
		p->limit[POLICY_MEMORY] = 512ULL << 20;
	return p;
}

/* ---- what was said ---- */

const char *rule_problem(const struct policy_rule *rule, bool has_on_exit, bool has_quota)
{
	if (has_on_exit && rule->access != POLICY_OVERLAY)
		return "'on_exit' is for access 'overlay' only: take it away, or make it an "
		       "overlay";
	if (has_quota && rule->access != POLICY_OVERLAY && rule->access != POLICY_RW)
		return "'quota' is for access 'overlay' or 'rw' only: take it away, or change the "
		       "access";
	return NULL;
}

int policy_add_rule(struct policy *p, const struct policy_rule *rule, struct policy_error *error)
{
	if (p->nr_rules == POLICY_MAX_RULES)
		return policy_fail(error, &rule->origin,
				   "too many rules: at most %d; name a directory instead of the "
				   "files in it",
				   POLICY_MAX_RULES);
	p->rules[p->nr_rules++] = *rule;
	return 0;
}

int policy_set_real(struct policy *p, size_t i, const char *path)
{
	struct policy_rule *rule = &p->rules[i];
	const char *real = policy_text(p, path);

	if (!real)
		return -1;
	rule->named = rule->named ? rule->named : rule->path;
	rule->path = real;
	return 0;
}

int policy_add_env(struct policy *p, const struct policy_env *env, struct policy_error *error)
{
	const char *problem = text_problem(env->value ? env->value : "");
	size_t i;

	if (!*env->name || strchr(env->name, '=') || strlen(env->name) > NAME_MAX)
		return policy_fail(error, &env->origin,
				   "'%.80s' is no name of a variable: give 1 to %d bytes without "
				   "'='",
				   env->name, NAME_MAX);
	if (!problem)
		problem = text_problem(env->name);
	if (problem)
		return policy_fail(error, &env->origin, "the variable '%.80s' %s", env->name,
				   problem);
	for (i = 0; i < p->nr_env && strcmp(p->env[i].name, env->name); i++)
		;
	if (i == POLICY_MAX_ENV)
		return policy_fail(error, &env->origin, "too many variables: at most %d",
				   POLICY_MAX_ENV);
	/* A later source may say otherwise, but none says two things. */
	if (i < p->nr_env && p->env[i].origin.source == env->origin.source)
		return policy_fail(error, &env->origin,
				   "the variable '%.80s' is at line %u already: take one away",
				   env->name, p->env[i].origin.line);
	p->nr_env += i == p->nr_env;
	p->env[i] = *env;
	return 0;
}

int policy_set_limit(struct policy *p, enum policy_limit limit, const char *text,
		     const struct policy_origin *origin, struct policy_error *error)
{
	const struct limit *l = &policy_limits[limit];
	uint64_t value;

	if (!l->parse(text, &value) || value < l->min || value > l->max)
		return policy_fail(error, origin, "%s: '%.80s' is not allowed: %s", l->name, text,
				   l->allowed);
	p->limit[limit] = value;
	p->limit_origin[limit] = *origin;
	return 0;
}

/* ---- places ---- */

const struct policy_place *policy_decide(const struct policy *p, const char *path)
{
	const struct policy_place *place, *best = NULL;

	for (place = p->places; place < p->places + p->nr_places; place++)
		if (path_below(path, place->at) && (!best || strlen(place->at) > strlen(best->at)))
			best = place;
	return best;
}

const struct policy_place *policy_above(const struct policy *p, const struct policy_place *place)
{
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s", place->at);
	slash = strrchr(dir, '/');
	if (!slash[1])
		return NULL; /* "/" */
	slash[slash == dir] = '\0';
	return policy_decide(p, dir);
}

bool policy_is_beneath(const struct policy *p, const char *path)
{
	size_t i;

	for (i = 0; i < p->nr_places; i++) {
		const char *rest = path_below(p->places[i].at, path);

		if (rest && *rest)
			return true;
	}
	return false;
}

int policy_host_path(const struct policy_place *place, const char *path, char host[PATH_MAX])
{
	return path_join(place->rule->path, path_below(path, place->at), host) ? 0 : -1;
}

/* Is it the host's @path that the guest sees at @guest? */
static bool shows(const struct policy *p, const char *guest, const char *path)
{
	const struct policy_place *place = policy_decide(p, guest);
	char host[PATH_MAX];

	return place && !policy_host_path(place, guest, host) && !strcmp(host, path);
}

bool policy_shown(const struct policy *p, const char *path, size_t *i, char guest[PATH_MAX])
{
	while (*i < p->nr_places) {
		const struct policy_place *place = &p->places[(*i)++];
		const char *rest = path_below(path, place->rule->path);

		if (rest && path_join(place->at, rest, guest) && shows(p, guest, path) &&
		    policy_decide(p, guest) == place)
			return true;
	}
	return false;
}

static bool same(const struct policy_rule *a, const struct policy_rule *b)
{
	return !strcmp(a->path, b->path) && a->access == b->access && a->on_exit == b->on_exit &&
	       a->quota == b->quota;
}

/* Puts @rule at @at. Where something is already: denial wins, twice the same is one. */
static int add_place(struct policy *p, const char *at, const struct policy_rule *rule,
		     struct policy_error *error)
{
	static const char *const own[] = { "/proc", "/sys", "/dev" };
	struct policy_place *place = p->places, *end = place + p->nr_places;
	char other[POLICY_ORIGIN_MAX];
	size_t i;

	while (place < end && strcmp(place->at, at))
		place++;
	if (place < end && rule->access == POLICY_DENY) {
		if (place->rule->access != POLICY_DENY)
			place->rule = rule;
		return 0;
	}
	if (place < end) {
		if (same(place->rule, rule))
			return 0;
		policy_origin_text(&place->rule->origin, other);
		return policy_fail(error, &rule->origin,
				   "%.200s is '%s' here, but %s has another rule for it ('%s'): "
				   "take one away, or give it another place with 'at'",
				   at, access_names[rule->access], other,
				   access_names[place->rule->access]);
	}
	for (i = 0; rule->access != POLICY_DENY && i < sizeof(own) / sizeof(own[0]); i++)
		if (path_below(at, own[i]))
			return policy_fail(error, &rule->origin,
					   "%.200s: the guest has a %s of its own: give the host's "
					   "another place with 'at', or take the rule away",
					   at, own[i]);
	if (p->nr_places == POLICY_MAX_PLACES)
		return policy_fail(error, &rule->origin,
				   "the rules make more than %d places in the guest: use fewer "
				   "rules with 'at' for the same path",
				   POLICY_MAX_PLACES);
	at = policy_text(p, at);
	if (!at)
		return policy_fail(error, &rule->origin, "out of memory");
	p->places[p->nr_places++] = (struct policy_place){ .at = at, .rule = rule };
	return 0;
}

/* Puts @rule wherever the places so far show its path. How many, or -1. */
static int add_where_shown(struct policy *p, const struct policy_rule *rule,
			   struct policy_error *error)
{
	size_t n = p->nr_places, i;
	char guest[PATH_MAX];
	int found = 0;

	for (i = 0; i < n; i++) {
		const struct policy_rule *above = p->places[i].rule;
		const char *rest = path_below(rule->path, above->path);

		if (!rest || (!*rest && rule->access != POLICY_DENY))
			continue;
		if (!path_join(p->places[i].at, rest, guest))
			return policy_fail(error, &rule->origin,
					   "its path in the guest is too long: at most %d bytes",
					   PATH_MAX - 1);
		if (!shows(p, guest, rule->path))
			continue;
		found++;
		if (add_place(p, guest, rule, error))
			return -1;
	}
	return found;
}

static int place_rule(struct policy *p, const struct policy_rule *rule, struct policy_error *error)
{
	int found = 0;

	if (!rule->at || rule->access == POLICY_DENY)
		found = add_where_shown(p, rule, error);
	if (found < 0 || (found && !rule->at))
		return found < 0 ? -1 : 0;
	return add_place(p,
			 rule->at      ? rule->at
			 : rule->named ? rule->named
				       : rule->path,
			 rule, error);
}

/* Those with "at" first, denials last, else short paths first. */
static int by_turn(const void *a, const void *b)
{
	const struct policy_rule *x = *(const struct policy_rule *const *)a;
	const struct policy_rule *y = *(const struct policy_rule *const *)b;
	size_t n = strlen(x->path), m = strlen(y->path);

	if ((x->access == POLICY_DENY) != (y->access == POLICY_DENY))
		return x->access == POLICY_DENY ? 1 : -1;
	if (!x->at != !y->at)
		return x->at ? -1 : 1;
	if (n != m)
		return n < m ? -1 : 1;
	return x < y ? -1 : 1; /* as given */
}

static int by_at(const void *a, const void *b)
{
	return strcmp(((const struct policy_place *)a)->at, ((const struct policy_place *)b)->at);
}

int policy_validate(struct policy *p, struct policy_error *error)
{
	const struct policy_rule *order[POLICY_MAX_RULES];
	size_t i;

	p->nr_places = 0;
	for (i = 0; i < p->nr_rules; i++)
		order[i] = &p->rules[i];
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): they are pointers */
	qsort(order, p->nr_rules, sizeof(order[0]), by_turn);
	for (i = 0; i < p->nr_rules; i++)
		if (place_rule(p, order[i], error))
			return -1;
	qsort(p->places, p->nr_places, sizeof(p->places[0]), by_at);
	return 0;
}
