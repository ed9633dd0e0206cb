// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is refused comes with a way to allow it, and that works: the words of the
 * audit are followed, in the policy's own text, and the same is tried again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/links.h"
#include "../../runtime/view.h"
#include "check.h"
#include "p9_client.h"

#define LINES 8

static char top[] = "/tmp/suggestion-XXXXXX";
static struct policy_error error;
static struct view view;
static struct client c;

static void serve(const struct fs_config *config)
{
	_exit(fs_session_run(config) ? 1 : 0);
}

/* The view of a policy file of these lines, with "prog" as the program. */
static void make(const char *const *lines)
{
	char text[8192] = "version: 1\nfs:\n", problem[PATH_MAX + 128];
	struct program program;
	struct policy *p = policy_new();

	for (size_t i = 0; i < LINES && lines[i]; i++) {
		strcat(text, lines[i]);
		strcat(text, "\n");
	}
	memset(&view, 0, sizeof(view));
	snprintf(program.path, sizeof(program.path), "%s/prog", top);
	program.fd = open("prog", O_PATH);
	if (policy_parse(p, text, strlen(text), "p.yaml", top, &error) ||
	    links_resolve(p, &error) || policy_validate(p, &error) || links_check(p, &error)) {
		printf("%s\n", error.text);
		exit(1);
	}
	if (view_make(&view, p, &program, problem, sizeof(problem))) {
		printf("%s\n", problem);
		exit(1);
	}
}

/* Fid 11 becomes the guest's @path. */
static bool look_up(const char *path)
{
	const struct fs_export *best = NULL;
	const char *name;
	char index[16];
	uint16_t names = 0;
	size_t n;

	for (size_t i = 0; i < view.nr_exports; i++) {
		n = strlen(view.exports[i].at);
		if (!strncmp(view.exports[i].at, path, n) && (!path[n] || path[n] == '/') &&
		    (!best || n > strlen(best->at)))
			best = &view.exports[i];
	}
	CHECK(best);
	snprintf(index, sizeof(index), "%d", (int)(best - view.exports));
	path += strlen(best->at);
	for (name = path; (name = strchr(name, '/')); name++)
		names++;
	CHECK(client_walk(&c, 0, 10, index) == 0);
	return client_walk(&c, 10, 11, *path ? path + 1 : "") == 0 && fs_get16(&c.r) == names;
}

static bool create(const char *path)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	*slash = '\0';
	return look_up(dir) && client_create(&c, 11, slash + 1, O_CREAT | O_RDWR, 0644) == 0;
}

static bool write_to(const char *path)
{
	return look_up(path) && client_open(&c, 11, O_WRONLY) == 0;
}

static bool truncate_it(const char *path)
{
	const struct client_attr a = { .valid = 8 };

	return look_up(path) && client_setattr(&c, 11, &a) == 0;
}

static bool try(const char *const *lines, bool (*what)(const char *path), const char *path)
{
	int audit = open("audit", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	bool done;

	make(lines);
	client_start(&c, serve, view.exports, view.nr_exports, audit);
	close(audit);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	done = what(path);
	CHECK(client_stop(&c) == 0);
	return done;
}

/* The audit's one suggestion, its JSON taken off. */
static void read_suggestion(char *text, size_t size)
{
	static char line[FS_LINE_MAX];
	FILE *f = fopen("audit", "r");
	const char *from = NULL;
	size_t n = 0;

	while (f && !from && fgets(line, sizeof(line), f))
		from = strstr(line, "\"suggestion\": \"");
	for (from = from ? from + 15 : ""; *from && *from != '"' && n + 1 < size; from++) {
		from += *from == '\\';
		text[n++] = *from;
	}
	text[n] = '\0';
	if (f)
		fclose(f);
}

/* Is refused; the audit says @want (%s: the directory) for it, and that allows it. */
static void check(const char *const *rules, bool (*what)(const char *path), const char *path,
		  const char *want)
{
	char text[PATH_MAX], expected[512], full[512], changed[1024], *access;
	const char *lines[LINES] = { 0 };
	unsigned int line, n = 0;

	for (; rules[n]; n++)
		lines[n] = rules[n];
	snprintf(full, sizeof(full), path, top);
	snprintf(expected, sizeof(expected), want, top);
	CHECK(!try(lines, what, full));
	read_suggestion(text, sizeof(text));
	if (strcmp(text, expected)) {
		printf("not ok: '%s', not '%s'\n", text, expected);
		check_failed = 1;
		return;
	}
	if (sscanf(text, "take away the rule \"p.yaml:%u:", &line) == 1) {
		lines[line - 3] = "";
	} else if (sscanf(text, "change the rule \"p.yaml:%u:", &line) == 1) {
		snprintf(changed, sizeof(changed), "%s", lines[line - 3]);
		access = strstr(changed, "access: ro");
		CHECK(access);
		memcpy(access, "access: rw", 10);
		lines[line - 3] = changed;
	} else {
		CHECK(!strncmp(text, "add the rule {", 14));
		snprintf(changed, sizeof(changed), "  - %.500s", text + 13);
		lines[n] = changed;
	}
	CHECK(try(lines, what, full));
}
#define RULES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_all(void)
{
	const char *w = "  - {path: w, at: /w, access: ro}", *here = "  - {path: w, access: ro}";

	/* What has a rule of its own. */
	check(RULES(w), create, "/w/new", "change the rule \"p.yaml:3:5\" to rw");
	check(RULES(here), create, "%s/w/new", "change the rule \"p.yaml:3:5\" to rw");
	check(RULES("  - {path: w/f, at: /f, access: ro}"), write_to, "/f",
	      "change the rule \"p.yaml:3:5\" to rw");
	check(RULES(w, "  - {path: w/key, access: deny}"), look_up, "/w/key",
	      "take away the rule \"p.yaml:4:5\"");
	check(RULES("  - {path: w, at: /w, access: rw}", "  - {path: w/key, access: deny}"), create,
	      "/w/key", "take away the rule \"p.yaml:4:5\"");
	/* What is in something that has one. */
	check(RULES(w), create, "/w/sub/new",
	      "add the rule {path: \"%1$s/w/sub\", at: \"/w/sub\", access: rw}");
	check(RULES(here), create, "%s/w/sub/new",
	      "add the rule {path: \"%1$s/w/sub\", access: rw}");
	check(RULES(w), truncate_it, "/w/sub/f",
	      "add the rule {path: \"%1$s/w/sub/f\", at: \"/w/sub/f\", access: rw}");
	check(RULES(w, "  - {path: w/vault, access: deny}", "  - {path: w/vault/open, access: ro}"),
	      look_up, "/w/vault/shut",
	      "add the rule {path: \"%1$s/w/vault/shut\", at: \"/w/vault/shut\", access: ro}");
	/* What is there without one. */
	check(RULES(w), write_to, "%s/prog", "add the rule {path: \"%1$s/prog\", access: rw}");
}

int main(void)
{
	umask(022);
	CHECK(mkdtemp(top) && !chdir(top));
	CHECK(!system("mkdir -p w/sub w/vault/open w/vault/shut && touch prog w/f w/key w/sub/f"));
	test_all();
	CHECK(!chdir("/"));
	snprintf(error.text, sizeof(error.text), "rm -rf %s", top);
	CHECK(!system(error.text));
	return check_failed;
}
