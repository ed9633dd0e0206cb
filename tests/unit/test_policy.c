// SPDX-License-Identifier: GPL-2.0-only
/* The policy library: files, options, decisions, and every message with its place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../policy/policy.h"
#include "../../policy/units.h"
#include "check.h"

#define BASE "/home/u/proj"
#define V    "version: 1\n"

static struct policy_error error;

/* NULL: @error says why. */
static struct policy *parse_bytes(const char *text, size_t n)
{
	struct policy *p = policy_new();

	memset(&error, 0, sizeof(error));
	if (!policy_parse(p, text, n, "p.yaml", BASE, &error) && !policy_validate(p, &error)) {
		CHECK(!*error.text);
		return p;
	}
	policy_free(p);
	return NULL;
}

static struct policy *parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static char *print(const struct policy *p)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	CHECK(!policy_print(p, out));
	fclose(out);
	return text;
}

/* What is printed, gives itself when it is read and printed. */
static void check_round_trip(const struct policy *p)
{
	char *first = print(p), *second;
	struct policy *q = parse(first);

	CHECK(q);
	if (!q) {
		printf("%s\n%s", error.text, first);
		free(first);
		return;
	}
	second = print(q);
	if (strcmp(first, second))
		printf("%s---\n%s", first, second);
	CHECK(!strcmp(first, second));
	CHECK_EQ(p->nr_places, q->nr_places);
	policy_free(q);
	free(first);
	free(second);
}

/* "ro p.yaml:3:5"; "deny" by default. */
static void check_decision(const struct policy *p, const char *path, const char *expected)
{
	const struct policy_place *place = policy_decide(p, path);
	char got[POLICY_ORIGIN_MAX + 16] = "deny", origin[POLICY_ORIGIN_MAX];

	if (place) {
		policy_origin_text(&place->rule->origin, origin);
		snprintf(got, sizeof(got), "%s %s", policy_access_name(place->rule->access),
			 origin);
	}
	if (strcmp(got, expected)) {
		printf("not ok: %s: %s, not %s\n", path, got, expected);
		check_failed = 1;
	}
}

static const char example[] =
	"version: 1\n"
	"fs:\n"
	"  - {path: /usr, access: ro}\n"
	"  - {path: ., at: /work, access: overlay, on_exit: diff}   # discard | diff | commit\n"
	"  - {path: ./.git/hooks, access: deny}\n"
	"  - {path: ./out, access: rw, quota: 200M}\n"
	"env: {pass: [LANG], set: {CI: \"1\"}}\n"
	"net: none\n"
	"limits: {wall: 60s, cpu: 30s, memory: 512M, pids: 64, files: 256, file_size: 100M, "
	"stdout: 10M}\n"
	"time: {clock: real}\n";

static void test_example(void)
{
	struct policy *p = parse(example);
	char host[PATH_MAX], guest[PATH_MAX];
	size_t i = 0;

	CHECK(p);
	if (!p)
		return;
	CHECK_EQ(p->nr_rules, 4);
	CHECK_EQ(p->rules[1].on_exit, POLICY_DIFF);
	CHECK_EQ(p->rules[3].quota, 200 << 20);
	CHECK_EQ(p->rules[2].quota, POLICY_UNSET);
	CHECK_EQ(p->limit[POLICY_WALL], 60000000000LL);
	CHECK_EQ(p->limit[POLICY_STDOUT], 10 << 20);
	CHECK_EQ(p->nr_env, 2);
	CHECK(!strcmp(p->env[0].name, "LANG") && !p->env[0].value);
	CHECK(!strcmp(p->env[1].name, "CI") && !strcmp(p->env[1].value, "1"));
	check_decision(p, "/usr", "ro p.yaml:3:5");
	check_decision(p, "/usr/bin/env", "ro p.yaml:3:5");
	check_decision(p, "/usrx", "deny");
	check_decision(p, "/", "deny");
	check_decision(p, "/work/a", "overlay p.yaml:4:5");
	check_decision(p, "/work/.git", "overlay p.yaml:4:5");
	check_decision(p, "/work/.git/hooks", "deny p.yaml:5:5");
	check_decision(p, "/work/.git/hooks/x", "deny p.yaml:5:5");
	check_decision(p, "/work/out/x", "rw p.yaml:6:5");
	check_decision(p, BASE "/out", "deny");
	CHECK(!policy_host_path(policy_decide(p, "/work/out/x"), "/work/out/x", host));
	CHECK(!strcmp(host, BASE "/out/x"));
	CHECK(policy_shown(p, BASE "/out/x", &i, guest) && !strcmp(guest, "/work/out/x"));
	CHECK(!policy_shown(p, BASE "/out/x", &i, guest));
	CHECK(policy_is_beneath(p, "/work/.git") && policy_is_beneath(p, "/"));
	CHECK(!policy_is_beneath(p, "/work/.git/hooks") && !policy_is_beneath(p, "/work/.gi"));
	check_round_trip(p);
	policy_free(p);
}

static void test_json(void)
{
	struct policy *p =
		parse("{\"version\": 1, \"fs\": [{\"path\": \"/a\", \"access\": \"ro\"}],\n"
		      "\t\"env\":{\"pass\":[],\"set\":{\"A\":\"\\u00e9\\n\",\"B\":true}}}");

	CHECK(p);
	if (!p)
		return;
	check_decision(p, "/a/b", "ro p.yaml:1:23");
	CHECK(!strcmp(p->env[0].value, "\303\251\n") && !strcmp(p->env[1].value, "true"));
	check_round_trip(p);
	policy_free(p);
}

/* Rules in any order: the same decisions. */
static void test_order(void)
{
	static const char *const rules[] = {
		"/a ro",	 "/a/b deny",	 "/a/b/c overlay",
		"/a/b/c/d deny", "/a/b/c ro /x", "/a deny /y",
	};
	static const char *const decisions[][2] = {
		{ "/a", "deny" },	  { "/a/b", "deny" }, { "/a/b/c/e", "overlay" },
		{ "/a/b/c/d/e", "deny" }, { "/x/y", "ro" },   { "/x/d", "deny" },
		{ "/y/z", "deny" },	  { "/a/q", "deny" },
	};
	unsigned int turn[] = { 0, 1, 2, 3, 4, 5 }, i, k, n;

	for (n = 0; n < 500; n++) {
		struct policy *p = policy_new();
		char path[16], access[16], at[16], value[40];

		for (i = 5; i; i--) {
			unsigned int j = rand() % (i + 1), t = turn[i];

			turn[i] = turn[j];
			turn[j] = t;
		}
		for (i = 0; i < 6; i++) {
			k = sscanf(rules[turn[i]], "%15s %15s %15s", path, access, at);
			snprintf(value, sizeof(value), "%s%s%s", path, k > 2 ? ":" : "",
				 k > 2 ? at : "");
			CHECK(!policy_option(p, access, value, BASE, &error));
		}
		CHECK(!policy_validate(p, &error));
		for (i = 0; i < sizeof(decisions) / sizeof(decisions[0]); i++) {
			const struct policy_place *place = policy_decide(p, decisions[i][0]);
			const char *got = place ? policy_access_name(place->rule->access) : "none";

			if (strcmp(got, decisions[i][1])) {
				printf("not ok: %s: %s\n", decisions[i][0], got);
				check_failed = 1;
			}
		}
		check_round_trip(p);
		policy_free(p);
	}
}

static void test_places(void)
{
	/* A path that shows twice is denied twice, and what is inside it is there twice. */
	struct policy *p = parse(V "fs:\n"
				   "- {path: /a, at: /x, access: ro}\n"
				   "- {path: /a, at: /y, access: ro}\n"
				   "- {path: /a/s, access: deny}\n"
				   "- {path: /a/o, access: rw}\n"
				   "- {path: /other, at: /x/q, access: ro}\n"
				   "- {path: /a/q/r, access: rw}\n");

	CHECK(p);
	if (!p)
		return;
	check_decision(p, "/x/s/1", "deny p.yaml:5:3");
	check_decision(p, "/y/s", "deny p.yaml:5:3");
	check_decision(p, "/x/o", "rw p.yaml:6:3");
	check_decision(p, "/y/o", "rw p.yaml:6:3");
	check_decision(p, "/a/o", "deny");
	check_decision(p, "/x/q/r", "ro p.yaml:7:3"); /* is /other/r there */
	check_decision(p, "/y/q/r", "rw p.yaml:8:3");
	check_round_trip(p);
	policy_free(p);

	/* Everything, and a part of it; the root has no name. */
	p = parse(V "fs: [{path: /, access: ro}, {path: /etc/../home/, access: deny}]");
	CHECK(p);
	if (!p)
		return;
	check_decision(p, "/", "ro p.yaml:2:6");
	check_decision(p, "/homes", "ro p.yaml:2:6");
	check_decision(p, "/home/u", "deny p.yaml:2:29");
	policy_free(p);

	/* The same twice is once; a denial wins over anything at the same place. */
	p = parse(V "fs: [{path: /a, access: ro}, {path: /a/, access: ro}, {path: /b, access: rw}, "
		    "{path: /b, access: deny}]");
	CHECK(p && p->nr_places == 2);
	if (p)
		check_decision(p, "/b", "deny p.yaml:2:79");
	policy_free(p);
}

static void check_normal(const char *path, const char *base, const char *expected)
{
	char out[PATH_MAX];
	const char *problem = policy_normalize(path, base, out);

	if (problem ? expected != NULL : !expected || strcmp(out, expected)) {
		printf("not ok: '%s' under %s: %s\n", path, base, problem ? problem : out);
		check_failed = 1;
	}
}

static void test_paths(void)
{
	char path[PATH_MAX + 16];

	check_normal("/", NULL, "/");
	check_normal("//a///b//", NULL, "/a/b");
	check_normal("/./a/./b/.", NULL, "/a/b");
	check_normal("/a/../b", NULL, "/b");
	check_normal("/a/b/../../..", NULL, NULL);
	check_normal("/..", NULL, NULL);
	check_normal("/a/..", NULL, "/");
	check_normal("..", "/a/b", "/a");
	check_normal("../../..", "/a/b", NULL);
	check_normal(".", "/a/b/", "/a/b");
	check_normal(".x/..y/...", "/", "/.x/..y/...");
	check_normal("a", NULL, NULL);
	check_normal("", "/a", NULL);
	check_normal("~/x", "/a", NULL);
	check_normal("./~", "/a", "/a/~");
	check_normal("/\377", NULL, NULL);
	check_normal("/\300\257", NULL, NULL);
	check_normal("/\303\251", NULL, "/\303\251");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[256] = '\0';
	check_normal(path, NULL, path);
	path[256] = 'x';
	path[257] = '\0';
	check_normal(path, NULL, NULL);
	memset(path, 'x', sizeof(path));
	for (int i = 0; i < PATH_MAX; i += 200)
		path[i] = '/';
	path[PATH_MAX - 1] = '\0';
	check_normal(path, NULL, path);
	path[PATH_MAX - 1] = 'x';
	path[PATH_MAX] = '\0';
	check_normal(path, NULL, NULL);
}

/* Each message: where it points, and what it must say. */
static void test_messages(void)
{
	static const struct {
		const char *text, *at, *says;
	} bad[] = {
		{ "", "1:1", "empty" },
		{ "# nothing\n", "", "empty" },
		{ "--- \n", "", "keys with values" },
		{ "- 1", "1:1", "version, fs, env, net, limits, time" },
		{ "version", "1:1", "keys with values" },
		{ "fs: []\n", "1:1", "start the policy with version: 1" },
		{ "version: 2\n", "1:10", "write version: 1" },
		{ "version: [1]\n", "1:10", "needs a value" },
		{ "version:\nfs: []\n", "", "needs a value" },
		{ V "version: 1\n", "2:1", "line 1 already" },
		{ V "limit: {}\n", "2:1", "unknown key 'limit' in the policy" },
		{ V "limit: {}\n", "2:1", "known: version, fs, env, net, limits, time" },
		{ V "limit: {}\n", "2:1", "the nearest is 'limits'" },
		{ V "? [a]\n: b\n", "2:3", "must be one word" },
		{ V "fs: x\n", "2:5", "must be a list" },
		{ V "fs: {path: /a}\n", "2:5", "must be a list" },
		{ V "fs: [/usr]\n", "2:6", "from: path, at, access, on_exit, quota" },
		{ V "fs:\n  - {path: /a, acess: ro}\n", "3:16", "the nearest is 'access'" },
		{ V "fs:\n  - path: /a\n    acces: ro\n", "4:5", "the nearest is 'access'" },
		{ V "fs:\n  - {path: /a, access: rwx}\n", "3:24", "allowed here: deny, ro" },
		{ V "fs:\n  - {path: /a, access: rwx}\n", "3:24", "the nearest is 'rw'" },
		{ V "fs:\n  - {path: /a, access: [ro]}\n", "3:24", "needs a value" },
		{ V "fs:\n  - {path: /a}\n", "3:5", "no 'access': add one of ro" },
		{ V "fs:\n  - {access: ro}\n", "3:5", "no 'path'" },
		{ V "fs:\n  - {path: '', access: ro}\n", "3:12", "needs a value" },
		{ V "fs:\n  - {path: ~/x, access: ro}\n", "3:12", "not expanded" },
		{ V "fs:\n  - {path: ../../../../x, access: ro}\n", "3:12", "leads out of /" },
		{ V "fs:\n  - {path: /a, path: /b}\n", "3:16", "line 3 already" },
		{ V "fs:\n  - {path: /a, at: b, access: ro}\n", "3:20", "must be absolute" },
		{ V "fs: [{path: /a, access: ro, on_exit: diff}]\n", "2:38", "'overlay' only" },
		{ V "fs: [{path: /a, access: ro, quota: 1M}]\n", "2:36", "'overlay' or 'rw'" },
		{ V "fs: [{path: /a, access: rw, quota: 1T}]\n", "2:36", "such as 200M" },
		{ V "fs: [{path: /a, access: overlay, quota: 0}]\n", "2:41", "a size from 1" },
		{ V "fs: [{path: /a, access: rw, quota: 0K}]\n", "2:36", "a size from 1" },
		{ V "fs: [{path: /a, access: overlay, on_exit: x}]\n", "2:43", "discard, diff" },
		{ V "fs: [{path: /a, access: ro}, {path: /a, access: rw}]\n", "2:30",
		  "p.yaml:2:6" },
		{ V "fs: [{path: /a, access: ro}, {path: /b, at: /a, access: ro}]\n", "2:6",
		  "p.yaml:2:30" },
		{ V "fs: [{path: /a, access: rw}, {path: /a, access: rw, quota: 1}]\n", "2:30",
		  "another rule" },
		{ V "fs: [{path: /proc/1, access: ro}]\n", "2:6", "a /proc of its own" },
		{ V "fs: [{path: /x, at: /dev, access: ro}]\n", "2:6", "a /dev of its own" },
		{ V "env: [A]\n", "2:6", "from: pass, set" },
		{ V "env: {pas: [A]}\n", "2:7", "the nearest is 'pass'" },
		{ V "env: {pass: A}\n", "2:13", "must be a list" },
		{ V "env: {pass: [[A]]}\n", "2:14", "needs a value" },
		{ V "env: {pass: [A=b]}\n", "2:14", "without '='" },
		{ V "env: {pass: [A], set: {A: 1}}\n", "2:24", "line 2 already" },
		{ V "env: {set: [A]}\n", "2:12", "variables with values" },
		{ V "env: {set: {A: [1]}}\n", "2:16", "needs one value" },
		{ V "env: {set: {'': 1}}\n", "2:13", "needs a value" },
		{ V "net: host\n", "2:6", "allowed here: none" },
		{ V "limits: {wal: 1}\n", "2:10", "the nearest is 'wall'" },
		{ V "limits: {wall: 5d}\n", "2:16", "500ms, 10s, 5m or 1h" },
		{ V "limits: {wall: 0}\n", "2:16", "wall: '0' is not allowed" },
		{ V "limits: {cpu: -1}\n", "2:15", "cpu: '-1' is not allowed" },
		{ V "limits: {memory: 63M}\n", "2:18", "64M to 256G" },
		{ V "limits: {memory: 99999999999999999999G}\n", "2:18", "64M to 256G" },
		{ V "limits: {pids: 1K}\n", "2:16", "1 to 4194304" },
		{ V "limits: {files: 2}\n", "2:17", "3 to 1048576" },
		{ V "limits: {file_size: 1TB}\n", "2:21", "such as 100M" },
		{ V "limits: {stdout: many}\n", "2:18", "such as 10M" },
		{ V "limits: {exits: 0}\n", "2:17", "from 1" },
		{ V "time: {clock: fast}\n", "2:15", "allowed here: real" },
		{ V "time: real\n", "2:7", "from: clock" },
		{ V "---\nversion: 1\n", "2:1", "second document" },
		{ "%YAML 1.1\n---\n" V, "1:1", "directive" },
		{ "%TAG ! !x\n---\n" V, "1:1", "directive" },
		{ "&a {version: 1}\n", "1:1", "anchors" },
		{ "version: &a 1\n", "1:10", "an anchor (&a)" },
		{ "version: !!int 1\n", "1:10", "a tag" },
		{ V "fs: &a []\n", "2:5", "anchors" },
		{ V "fs: *a\n", "2:5", "an alias (*a)" },
		{ V "net: |\n  none\n", "2:6", "one line" },
		{ V "net: \"no\n  ne\"\n", "2:6", "one line" },
		{ V "net: \"none\\0\"\n", "2:6", "zero byte" },
		{ V "net: @none\n", "2:6", "not YAML" },
		{ V "fs: [\n", "", "not YAML" },
		{ V "\xff\n", "2:1", "UTF-8" },
		{ V "net: \303\251\xc0\n", "2:8", "UTF-8" },
		{ V "net: \033[2J\n", "2:6", "UTF-8" },
		{ V "net: \"\\e[2J\"\n", "2:6", "'?[2J'" },
	};
	char where[32];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct policy *p = parse(bad[i].text);

		snprintf(where, sizeof(where), "p.yaml:%s%s", bad[i].at, *bad[i].at ? ": " : "");
		if (p || strncmp(error.text, where, strlen(where)) ||
		    !strstr(error.text, bad[i].says)) {
			printf("not ok: %s  gives '%s', not %s ... %s\n", bad[i].text, error.text,
			       where, bad[i].says);
			check_failed = 1;
		}
		policy_free(p);
	}
}

static void test_bounds(void)
{
	size_t n = POLICY_FILE_MAX + 1, i;
	FILE *null = fopen("/dev/null", "w");
	char *text = malloc(n + 1);
	struct policy *p;

	memset(text, '#', n);
	memcpy(text, V, sizeof(V) - 1);
	CHECK(!parse_bytes(text, n) && strstr(error.text, "p.yaml:1:1: the policy is too large"));
	p = parse_bytes(text, n - 1);
	CHECK(p);
	policy_free(p);

	strcpy(text, V "fs:\n");
	for (i = 0; i <= POLICY_MAX_RULES; i++)
		sprintf(text + strlen(text), "- {path: /%zu, access: ro}\n", i);
	CHECK(!parse(text) && strstr(error.text, "p.yaml:259:3: too many rules: at most 256"));

	strcpy(text, V "env: {pass: [");
	for (i = 0; i <= POLICY_MAX_ENV; i++)
		sprintf(text + strlen(text), "v%zu, ", i);
	strcat(text, "]}\n");
	CHECK(!parse(text) && strstr(error.text, "too many variables: at most 256"));

	/* 40 times the same directory, with 40 rules inside it. */
	strcpy(text, V "fs:\n");
	for (i = 0; i < 40; i++)
		sprintf(text + strlen(text),
			"- {path: /a, at: /%zu, access: ro}\n"
			"- {path: /a/%zu, access: deny}\n",
			i, i);
	CHECK(!parse(text) && strstr(error.text, "more than 1024 places"));

	memset(text, '[', n);
	memcpy(text, V "fs: ", sizeof(V "fs: ") - 1);
	CHECK(!parse_bytes(text, 60000) && strstr(error.text, "p.yaml:2:6: "));

	/* A path that is too long only where it shows. */
	p = policy_new();
	memset(text, 'x', PATH_MAX);
	for (i = 0; i < PATH_MAX; i += 200)
		text[i] = '/';
	text[PATH_MAX - 10] = '\0';
	CHECK(!policy_option(p, "ro", "/:/aaaaaaaaaaaa", BASE, &error));
	CHECK(!policy_option(p, "ro", text, BASE, &error));
	CHECK(policy_validate(p, &error) &&
	      strstr(error.text, "its path in the guest is too long"));
	policy_free(p);

	/* Options give more than one file may have. */
	p = policy_new();
	for (i = 0; i < 16; i++) {
		text[PATH_MAX - 11] = 'a' + i;
		CHECK(!policy_option(p, "ro", text, BASE, &error));
		CHECK((policy_print(p, null) == -1) == (i == 15));
	}
	CHECK_EQ(errno, EFBIG);
	policy_free(p);
	fclose(null);
	free(text);
}

static void check_option(const char *name, const char *value, const char *says)
{
	struct policy *p = policy_new();
	char start[64];

	memset(&error, 0, sizeof(error));
	snprintf(start, sizeof(start), "--%s %s: ", name, value);
	if (!policy_option(p, name, value, BASE, &error) ||
	    strncmp(error.text, start, strlen(start)) || !strstr(error.text, says)) {
		printf("not ok: --%s %s gives '%s', not %s\n", name, value, error.text, says);
		check_failed = 1;
	}
	policy_free(p);
}

static void test_options(void)
{
	static const char *const good[][2] = {
		{ "ro", "/usr" },     { "overlay", ".:/work" }, { "on-exit", "commit" },
		{ "quota", "1GiB" },  { "deny", "./.git" },	{ "rw", "a\\:b\\\\:/c d" },
		{ "quota", "4096" },  { "env", "A" },		{ "env", "A=b=c" },
		{ "env", "E=" },      { "net", "none" },	{ "timeout", "5" },
		{ "wall", "1500ms" }, { "cpu", "2m" },		{ "memory", "1G" },
		{ "pids", "10" },     { "files", "20" },	{ "file-size", "30K" },
		{ "stdout", "0" },    { "exits", "300000" },	{ "clock", "real" },
	};
	struct policy *p = policy_new();
	const char *value, *help;
	char *text;
	size_t i;

	/* A file, then options, which replace and add. */
	CHECK(!policy_parse(p, example, strlen(example), "p.yaml", "/b", &error));
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(!policy_option(p, good[i][0], good[i][1], BASE, &error));
	CHECK(policy_validate(p, &error)); /* /work is the file's already */
	CHECK(strstr(error.text, "--overlay .:/work"));
	policy_free(p);
	p = policy_new();
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(!policy_option(p, good[i][0], good[i][1], BASE, &error));
	CHECK(!policy_validate(p, &error));
	text = print(p);
	CHECK(!strcmp(text,
		      "version: 1\n"
		      "fs:\n"
		      "  - {path: /usr, access: ro}\n"
		      "  - {path: /home/u/proj, at: /work, access: overlay, on_exit: commit, "
		      "quota: 1G}\n"
		      "  - {path: /home/u/proj/.git, access: deny}\n"
		      "  - {path: \"/home/u/proj/a:b\\\\\", at: \"/c d\", access: rw, quota: 4K}\n"
		      "env:\n"
		      "  pass: []\n"
		      "  set: {A: \"b=c\", E: \"\"}\n"
		      "net: none\n"
		      "limits: {wall: 1500ms, cpu: 2m, memory: 1G, pids: 10, files: 20, "
		      "file_size: 30K, stdout: 0, exits: 300000}\n"
		      "time: {clock: real}\n"));
	free(text);
	check_decision(p, "/work/.git/x", "deny --deny ./.git");
	check_round_trip(p);
	policy_free(p);

	check_option("ro", "", "is empty");
	check_option("ro", ":/a", "give PATH or PATH:AT");
	check_option("ro", "/a:", "give PATH or PATH:AT");
	check_option("ro", "/a:/b:/c", "give PATH or PATH:AT");
	check_option("ro", "/a:b", "after ':', must be absolute");
	check_option("ro", "~/a", "not expanded");
	check_option("on-exit", "diff", "right after the --overlay");
	check_option("on-exit", "comit", "the nearest is 'commit'");
	check_option("quota", "1M", "right after the --overlay or --rw");
	check_option("quota", "1X", "such as 200M");
	check_option("quota", "0", "a size from 1");
	check_option("env", "=x", "no name of a variable");
	check_option("env", "", "no name of a variable");
	check_option("net", "host", "allowed here: none");
	check_option("wall", "soon", "such as 500ms");
	check_option("timeout", "-1", "such as 500ms");
	check_option("memory", "1M", "64M to 256G");
	check_option("file-size", "x", "such as 100M");
	check_option("clock", "x", "allowed here: real");
	check_option("wal", "1", "the nearest is 'wall'");
	for (i = 0; policy_option_name(i, &value, &help); i++)
		CHECK(*value && *help);
	CHECK_EQ(i, 18);
}

static void test_option_after_file(void)
{
	struct policy *p = policy_new();

	CHECK(!policy_parse(p, example, strlen(example), "p.yaml", BASE, &error));
	CHECK(policy_option(p, "quota", "1M", BASE, &error)); /* not for a rule of the file's */
	CHECK(!policy_option(p, "wall", "5s", BASE, &error));
	CHECK(!policy_option(p, "env", "CI=2", BASE, &error));
	CHECK(!policy_option(p, "deny", "out/secret", BASE, &error));
	CHECK(!policy_validate(p, &error));
	CHECK_EQ(p->limit[POLICY_WALL], 5000000000LL);
	CHECK_EQ(p->limit[POLICY_CPU], 30000000000LL);
	CHECK_EQ(p->nr_env, 2);
	CHECK(!strcmp(p->env[1].value, "2"));
	check_decision(p, "/work/out/secret/x", "deny --deny out/secret");
	check_round_trip(p);
	policy_free(p);
}

static void test_read(void)
{
	struct policy *p = policy_new();
	int fds[2];

	CHECK(!pipe(fds));
	CHECK_EQ(write(fds[1], example, sizeof(example) - 1), sizeof(example) - 1);
	close(fds[1]);
	CHECK(!policy_read(p, fds[0], "p.yaml", BASE, &error) && p->nr_rules == 4);
	close(fds[0]);
	CHECK(policy_read(p, fds[0], "p.yaml", BASE, &error));
	CHECK(strstr(error.text, "p.yaml:1:1: cannot be read"));
	policy_free(p);
	policy_free(NULL);
}

static void test_units(void)
{
	char text[UNITS_TEXT_MAX];
	uint64_t v;

	CHECK(parse_count("18446744073709551615", &v) && v == UINT64_MAX);
	CHECK(!parse_count("18446744073709551616", &v) && !parse_count("1K", &v));
	CHECK(!parse_duration("18446744073709551615h", &v));
	format_size(UINT64_MAX, text);
	CHECK(!strcmp(text, "18446744073709551615"));
	format_size(0, text);
	CHECK(parse_size(text, &v) && !v);
	format_size(3ULL << 30, text);
	CHECK(!strcmp(text, "3G"));
	format_duration(1, text);
	CHECK(!strcmp(text, "1ms"));
	format_duration(5400000000000ULL, text);
	CHECK(!strcmp(text, "90m"));
}

int main(void)
{
	test_example();
	test_json();
	test_order();
	test_places();
	test_paths();
	test_messages();
	test_bounds();
	test_options();
	test_option_after_file();
	test_read();
	test_units();
	return check_failed;
}
