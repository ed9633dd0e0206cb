// SPDX-License-Identifier: GPL-2.0-only
/*
 * Symbolic links on the way to what a rule names (the last name may be one: then
 * that is what the guest gets). A guest that may write in a directory could have
 * made any link there, for the next run to follow. So only those are followed that
 * none but root can have made: /home/me -> /data/me, say. The rule's path is the
 * real one from then on, which view.c opens without any link.
 *
 * A link that the guest sees is resolved in the guest, perhaps to something else
 * than here; a rule by way of it is refused, whoever made the link.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "links.h"

bool link_find(const char *path, size_t from, struct link *link)
{
	const char *end = strchr(path + (from ? from : 1), '/');
	ssize_t n;

	for (; end; end = strchr(end + 1, '/')) {
		snprintf(link->at, sizeof(link->at), "%.*s", (int)(end - path), path);
		n = readlink(link->at, link->target, sizeof(link->target) - 1);
		if (n <= 0)
			continue;
		link->target[n] = '\0';
		link->rest = end;
		return true;
	}
	return false;
}

bool link_follow(const struct link *link, char path[PATH_MAX])
{
	int dir = *link->target == '/' ? 0 : (int)(strrchr(link->at, '/') - link->at);
	char text[3 * PATH_MAX];

	snprintf(text, sizeof(text), "%.*s/%s%s", dir, link->at, link->target, link->rest);
	return !policy_normalize(text, NULL, path);
}

/*
 * Can none but root have put it there? For root itself that says nothing of other
 * runs of its own, but for /: who may write there needs no link.
 */
static bool is_roots(const char *link)
{
	char dir[PATH_MAX], *slash;
	struct stat st;

	if (lstat(link, &st) || st.st_uid || (!geteuid() && strrchr(link, '/') != link))
		return false;
	snprintf(dir, sizeof(dir), "%s", link);
	do {
		slash = strrchr(dir, '/');
		slash[slash == dir] = '\0';
		if (lstat(dir, &st) || st.st_uid || st.st_mode & 022)
			return false;
	} while (slash != dir);
	return true;
}

/*
 * What is $PWD, or begins with it, is meant as the working directory, which the caller is in
 * already, whatever links led there.
 */
static void start(const char *named, char path[PATH_MAX])
{
	const char *pwd = getenv("PWD");
	size_t n = pwd ? strlen(pwd) : 0;
	struct stat st, here;
	char cwd[PATH_MAX];

	snprintf(path, PATH_MAX, "%s", named);
	if (n < 2 || strncmp(named, pwd, n) || (named[n] && named[n] != '/') || stat(pwd, &st) ||
	    stat(".", &here) || st.st_dev != here.st_dev || st.st_ino != here.st_ino ||
	    !getcwd(cwd, sizeof(cwd)) || strlen(cwd) + strlen(named + n) >= PATH_MAX)
		return;
	snprintf(path, PATH_MAX, "%s", strcmp(cwd, "/") || !named[n] ? cwd : "");
	strcat(path, named + n);
}

/* "name PATH": with all links followed; the rest of a path that is not there as it is. */
static int refuse_link(struct policy_error *error, const struct policy_rule *rule,
		       const struct link *link, const char *why)
{
	char next[PATH_MAX], real[PATH_MAX];
	struct link more = *link;
	int i = 0;

	while (link_follow(&more, next) && i++ < LINKS_MAX) {
		snprintf(real, sizeof(real), "%s", next);
		if (!link_find(real, 0, &more))
			return policy_fail(error, &rule->origin,
					   "%.300s is a link to %.300s%s: name %.1000s", link->at,
					   link->target, why, real);
	}
	return policy_fail(error, &rule->origin, "%.300s is a link to %.300s, which leads nowhere",
			   link->at, link->target);
}

static bool is_shown(const struct policy *policy, const char *path)
{
	char guest[PATH_MAX];
	size_t i = 0;

	return policy_shown(policy, path, &i, guest);
}

/* The real path of what @rule names; @policy, if it has places, must not show a link there. */
static int resolve(const struct policy *policy, const struct policy_rule *rule, char path[PATH_MAX],
		   struct policy_error *error)
{
	char next[PATH_MAX];
	struct link link;
	int i;

	start(rule->named ? rule->named : rule->path, path);
	for (i = 0; link_find(path, 0, &link); i++) {
		if (!is_roots(link.at))
			return refuse_link(error, rule, &link,
					   ", which may be anybody's and is not followed");
		if (is_shown(policy, link.at))
			return refuse_link(error, rule, &link, " in the guest, too");
		if (i == LINKS_MAX || !link_follow(&link, next))
			return refuse_link(error, rule, &link, "");
		snprintf(path, PATH_MAX, "%s", next);
	}
	return 0;
}

int links_resolve(struct policy *policy, struct policy_error *error)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < policy->nr_rules; i++) {
		if (resolve(policy, &policy->rules[i], path, error))
			return -1;
		if (strcmp(path, policy->rules[i].path) && policy_set_real(policy, i, path))
			return policy_fail(error, &policy->rules[i].origin, "out of memory");
	}
	return 0;
}

/* Is it by way of a link that its place is where it is? */
static int check_place(const struct policy *policy, const struct policy_place *place,
		       struct policy_error *error)
{
	const struct policy_place *above = place;
	char host[PATH_MAX], guest[2 * PATH_MAX];
	struct link link;
	size_t n;

	do
		above = policy_above(policy, above);
	while (above && above->rule->access == POLICY_DENY);
	if (!above || policy_host_path(above, place->at, host))
		return 0;
	n = strlen(above->rule->path);
	if (!link_find(host, n, &link))
		return 0;
	snprintf(guest, sizeof(guest), "%s%s", strcmp(above->at, "/") ? above->at : "",
		 link.at + (n > 1 ? n : 0));
	return policy_fail(
		error, &place->rule->origin,
		"%.1000s: %.300s is a link to %.300s in the guest: give the rule a place, "
		"by 'at', that no link leads to",
		place->at, guest, link.target);
}

int links_check(const struct policy *policy, struct policy_error *error)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < policy->nr_rules; i++)
		if (resolve(policy, &policy->rules[i], path, error))
			return -1;
	for (i = 0; i < policy->nr_places; i++)
		if (check_place(policy, &policy->places[i], error))
			return -1;
	return 0;
}
