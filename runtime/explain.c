// SPDX-License-Identifier: GPL-2.0-only
/* vmbox explain: one path, for people: what the guest could do with it, and which rule says so. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/units.h"
#include "launcher.h"
#include "links.h"
#include "load.h"
#include "report.h"

static const char *const end_text[] = {
	[POLICY_DISCARD] = "thrown away",
	[POLICY_DIFF] = "listed on stderr, and the host's files stay as they are",
	[POLICY_COMMIT] =
		"made to the host's files if the program ends with status 0, else thrown away",
};

/* What may be done with the host's @host, in a sentence. */
static void print_meaning(const struct policy_rule *rule, const char *host)
{
	char quota[UNITS_TEXT_MAX];
	struct stat st;

	if (rule->access == POLICY_DENY) {
		puts("  The guest finds nothing there, and can make nothing there.");
		return;
	}
	printf("  The guest can read and run the host's ");
	policy_print_text(host, stdout);
	switch (rule->access) {
	case POLICY_OVERLAY:
		printf(", and change a copy of its own;\n  at the end the changes are %s.\n",
		       end_text[rule->on_exit]);
		break;
	case POLICY_RW:
		puts(", and change it: create, write, rename and delete.");
		break;
	default:
		puts(", and change nothing.");
	}
	if (rule->quota != POLICY_UNSET) {
		format_size(rule->quota, quota);
		printf("  What it writes is at most %s.\n", quota);
	}
	if (lstat(rule->path, &st)) {
		printf("  But the host has no ");
		policy_print_text(rule->path, stdout);
		puts(" now; then there is nothing.");
	}
}

/* "PATH: ACCESS, by FILE:LINE:COLUMN: RULE", and what that means. */
static void explain_place(const struct policy_place *place, const char *path)
{
	char origin[POLICY_ORIGIN_MAX], host[PATH_MAX];

	policy_print_text(path, stdout);
	policy_origin_text(&place->rule->origin, origin);
	printf(": %s, by %s: ", policy_access_name(place->rule->access), origin);
	policy_print_rule(place->rule, stdout);
	putchar('\n');
	if (policy_host_path(place, path, host))
		puts("  The path is too long for the host: there is nothing.");
	else
		print_meaning(place->rule, host);
}

/*
 * Where a link on the way leads that the guest has there from the host, it is that
 * path which counts. Says so, and makes @path that one; false: there is no such link.
 */
static bool follow_link(const struct policy *policy, char path[PATH_MAX])
{
	const struct policy_place *place = policy_decide(policy, path);
	char host[PATH_MAX], guest[PATH_MAX];
	struct link link;
	size_t n;

	if (!place || place->rule->access == POLICY_DENY || policy_host_path(place, path, host))
		return false;
	n = strlen(place->rule->path);
	if (!link_find(host, n, &link))
		return false;
	/* The same link by its name in the guest. */
	snprintf(guest, sizeof(guest), "%s", path);
	guest[strlen(path) - strlen(link.rest)] = '\0';
	strcpy(link.at, guest);
	if (!link_follow(&link, guest))
		return false;
	policy_print_text(path, stdout);
	fputs(" is by way of a link in the guest, ", stdout);
	policy_print_text(link.at, stdout);
	fputs(" -> ", stdout);
	policy_print_text(link.target, stdout);
	puts("; so it is:");
	strcpy(path, guest);
	return true;
}

/* Could it be the program of a run? That is shown without a rule. */
static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

int policy_explain(const struct policy *policy, const char *name)
{
	char cwd[PATH_MAX], path[PATH_MAX], guest[PATH_MAX];
	const char *base = getcwd(cwd, sizeof(cwd));
	const char *problem = policy_normalize(name, base, path);
	const struct policy_place *place;
	size_t i = 0;

	if (problem) {
		say("%s: the path %s", name, problem);
		return EXIT_VMBOX_FAILED;
	}
	for (i = 0; i < LINKS_MAX && follow_link(policy, path); i++)
		;
	i = 0;
	place = policy_decide(policy, path);
	if (place) {
		explain_place(place, path);
	} else {
		policy_print_text(path, stdout);
		puts(": deny, by default: no rule is about it or a directory above it");
		puts(policy_is_beneath(policy, path)
			     ? "  The guest has a directory of its own there, on the way to what "
			       "rules are about."
			     : "  Nothing of the host's is there; what the guest makes there is "
			       "its "
			       "own, and gone at the end.");
		if (is_program(path))
			puts("  But if it is the program that is run, the guest can read and run "
			     "it.");
	}
	while (policy_shown(policy, path, &i, guest)) {
		if (!strcmp(guest, path))
			continue;
		printf("The host's ");
		policy_print_text(path, stdout);
		puts(" is elsewhere in the guest:");
		explain_place(policy_decide(policy, guest), guest);
	}
	return fflush(stdout) ? EXIT_VMBOX_FAILED : 0;
}
