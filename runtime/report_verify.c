// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmbox report verify. The file may be anybody's: it is read with a bound, its shape is checked
 * before a value is used, and what is printed of it is ASCII. First what it says of itself
 * (version, shape, digest, sums), then what of the run is still at hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"
#include "report.h"
#include "request.h"
#include "run_report.h"

struct check {
	const json_t *report;
	bool differs;
};

/* "WHAT: RESULT", printable. */
static void result(struct check *c, bool good, const char *what, const char *said)
{
	char line[PATH_MAX + 256];

	snprintf(line, sizeof(line), "%s: %s", what, said);
	make_printable(line, strlen(line));
	puts(line);
	c->differs |= !good;
}

static int unusable(const char *name, const char *why)
{
	say("report verify: %s: %s", name, why);
	return EXIT_VMBOX_FAILED;
}

static json_t *load(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *text = malloc(REPORT_MAX + 1);
	json_t *report = NULL;
	json_error_t error;
	size_t n = 0;
	ssize_t got = 1;

	while (fd >= 0 && text && got && n <= REPORT_MAX) {
		got = read(fd, text + n, REPORT_MAX + 1 - n);
		if (got < 0)
			break;
		n += got;
	}
	if (fd < 0 || !text || got < 0)
		unusable(name, strerror(errno));
	else if (n > REPORT_MAX)
		unusable(name, "it is too long for a report");
	else if (!(report = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error)))
		unusable(name, error.text);
	free(text);
	if (fd >= 0)
		close(fd);
	return report;
}

/* ---- what it says of itself ---- */

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool is_known(const json_t *object, const char *key)
{
	return json_is_integer(json_object_get(object, key));
}

static const char *string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* Each of @keys is there, of this kind or null; a key that begins with '!' may not be null. */
static const char *missing(const json_t *object, json_type type, const char *const *keys)
{
	for (; *keys; keys++) {
		bool must = **keys == '!';
		const json_t *value = json_object_get(object, *keys + must);

		if (!value || (json_typeof(value) != type && (must || !json_is_null(value))) ||
		    (json_is_integer(value) && json_integer_value(value) < 0))
			return *keys + must;
	}
	return NULL;
}

/* The first thing that is not of the shape that docs/report.schema.json has; NULL: all is. */
static const char *bad_shape(const json_t *r)
{
	static const char *const strings[] = { "!vmbox",  "!began",  "!reason",
					       "message", "!digest", NULL };
	static const char *const numbers[] = { "status", "code", "signal", "interrupted_by", NULL };
	static const char *const objects[] = { "!times",  "!memory", "!exits",	 "!shadow_faults",
					       "!bytes",  "!denied", "!driver",	 "!policy",
					       "!kernel", "!initrd", "!program", "guest_says",
					       NULL };
	static const char *const lists[] = { "!limits", NULL };
	static const struct {
		const char *name;
		json_type type;
		const char *keys[6];
	} inner[] = {
		{ "times",
		  JSON_INTEGER,
		  { "!wall_us", "setup_us", "boot_us", "user_us", "system_us" } },
		{ "memory",
		  JSON_INTEGER,
		  { "guest_bytes", "vmm_peak_bytes", "file_server_peak_bytes" } },
		{ "exits", JSON_INTEGER, { "total" } },
		{ "exits", JSON_OBJECT, { "!by_reason" } },
		{ "shadow_faults", JSON_INTEGER, { "fixed", "injected" } },
		{ "denied", JSON_ARRAY, { "!files" } },
		{ "denied", JSON_INTEGER, { "!more" } },
		{ "driver", JSON_STRING, { "name", "version", "srcversion" } },
		{ "policy", JSON_STRING, { "sha256" } },
		{ "kernel", JSON_STRING, { "path", "sha256" } },
		{ "initrd", JSON_STRING, { "path", "sha256" } },
		{ "program", JSON_STRING, { "path", "sha256" } },
	};
	const char *bad = missing(r, JSON_STRING, strings);
	size_t i;

	if (!bad)
		bad = missing(r, JSON_INTEGER, numbers);
	if (!bad)
		bad = missing(r, JSON_OBJECT, objects);
	if (!bad)
		bad = missing(r, JSON_ARRAY, lists);
	for (i = 0; !bad && i < sizeof(inner) / sizeof(inner[0]); i++)
		if (missing(json_object_get(r, inner[i].name), inner[i].type, inner[i].keys))
			bad = inner[i].name;
	return bad;
}

static bool has_limit(const json_t *r, const char *name)
{
	const json_t *list = json_object_get(r, "limits"), *value;
	size_t i;

	json_array_foreach(list, i, value) if (json_is_string(value) &&
					       !strcmp(json_string_value(value), name)) return true;
	return false;
}

/* What of the reason does not go with the rest; NULL: nothing. */
static const char *bad_reason(const json_t *r)
{
	const char *name = string(r, "reason");
	int reason = run_reason_find(name), value = 0;
	json_int_t status = is_known(r, "status") ? number(r, "status") : -1;

	switch (reason) {
	case -1:
		return "is none that vmbox has";
	case RUN_EXITED:
		if (!is_known(r, "code"))
			return "needs a code";
		value = (int)number(r, "code");
		break;
	case RUN_SIGNALED:
	case RUN_FILE_SIZE:
		if (!is_known(r, "signal"))
			return "needs a signal";
		value = (int)number(r, "signal");
		break;
	case RUN_INTERRUPTED:
		if (!is_known(r, "interrupted_by"))
			return "needs interrupted_by";
		value = (int)number(r, "interrupted_by");
		break;
	}
	if (status != run_status(reason, value))
		return "is not that of the status";
	if (reason >= RUN_WALL && reason <= RUN_FILE_SIZE && !has_limit(r, name))
		return "is missing among the limits";
	return NULL;
}

/* Where sums are wrong; NULL: nowhere. */
static const char *bad_sum(const json_t *r)
{
	const json_t *times = json_object_get(r, "times"), *exits = json_object_get(r, "exits"),
		     *reasons = json_object_get(exits, "by_reason"), *value;
	const char *driver = string(json_object_get(r, "driver"), "name"), *key;
	json_int_t total = number(exits, "total"), sum = 0;

	if (number(times, "setup_us") > number(times, "wall_us") ||
	    number(times, "boot_us") > number(times, "wall_us") - number(times, "setup_us"))
		return "times: setup and boot take longer than all";
	json_object_foreach((json_t *)reasons, key, value)
	{
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    json_integer_value(value) > total)
			return "exits: more for one reason than in all";
		sum += json_integer_value(value);
	}
	/* Stock KVM's overlap. */
	if (driver && !strcmp(driver, "vmbox") && sum != total)
		return "exits: those by reason are not all";
	return NULL;
}

static void check_itself(struct check *c)
{
	char digest[DIGEST_TEXT];
	const char *bad;
	bool same = run_report_digest(c->report, digest) &&
		    !strcmp(digest, string(c->report, "digest"));

	result(c, same, "digest", same ? "right" : "WRONG: the report was changed");
	bad = bad_reason(c->report);
	result(c, !bad, "reason", bad ? bad : string(c->report, "reason"));
	bad = bad_sum(c->report);
	result(c, !bad, "sums", bad ? bad : "right");
}

/* ---- what is still at hand ---- */

static void compare(struct check *c, const char *what, const char *then, const char *now)
{
	bool same = then && !strcmp(then, now);

	result(c, same || !then, what, !then ? "not in the report" : same ? "the same" : "DIFFERS");
}

static void compare_file(struct check *c, const char *name)
{
	const json_t *file = json_object_get(c->report, name);
	const char *path = string(file, "path"), *then = string(file, "sha256");
	char what[PATH_MAX + 32], digest[DIGEST_TEXT];
	int fd;

	snprintf(what, sizeof(what), "%s%s%s", name, path ? " " : "", path ? path : "");
	if (!path || !then) {
		result(c, true, what, "not in the report");
		return;
	}
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || digest_file(fd, digest))
		result(c, true, what, strerror(errno));
	else
		compare(c, what, then, digest);
	if (fd >= 0)
		close(fd);
}

static void compare_driver(struct check *c)
{
	const json_t *driver = json_object_get(c->report, "driver");
	const char *name = string(driver, "name"), *then = string(driver, "srcversion");
	char now[64], what[128];

	if (!name || strchr(name, '/')) {
		result(c, !name, "driver", name ? "is no name" : "not in the report");
		return;
	}
	snprintf(what, sizeof(what), "driver %.64s", name);
	record_module(name, "srcversion", now);
	if (*now)
		compare(c, what, then, now);
	else
		result(c, true, what, "is not loaded here");
}

static void compare_policy(struct check *c, const struct policy *policy)
{
	if (!policy) {
		result(c, true, "policy", "not compared: give the run's policy options");
		return;
	}
	record->wanted = true;
	record_policy(policy);
	compare(c, "policy", string(json_object_get(c->report, "policy"), "sha256"),
		record->policy);
}

int run_report_verify(const char *name, const struct policy *policy)
{
	struct check c = { .report = load(name) };
	const char *bad;
	char why[128];

	if (!c.report)
		return EXIT_VMBOX_FAILED;
	if (!json_is_integer(json_object_get(c.report, "schema")))
		return unusable(name, "it is no report of a run");
	if (number(c.report, "schema") != REPORT_SCHEMA)
		return unusable(name, "its schema is not known to this vmbox: use the vmbox that "
				      "wrote it");
	bad = bad_shape(c.report);
	if (bad) {
		snprintf(why, sizeof(why), "'%s' is missing or not as it should be", bad);
		return unusable(name, why);
	}
	check_itself(&c);
	compare_policy(&c, policy);
	compare_driver(&c);
	compare_file(&c, "kernel");
	compare_file(&c, "initrd");
	compare_file(&c, "program");
	return fflush(stdout) ? EXIT_VMBOX_FAILED : c.differs;
}
