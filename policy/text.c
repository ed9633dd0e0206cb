// SPDX-License-Identifier: GPL-2.0-only
/*
 * Strings, paths and names, textually. All of it may come from a policy file
 * that nobody has read: what is quoted in a message is made printable.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "units.h"

struct policy_text {
	struct policy_text *next;
	char text[];
};

const char *policy_text(struct policy *p, const char *text)
{
	size_t n = strlen(text) + 1;
	struct policy_text *t = malloc(sizeof(*t) + n);

	if (!t)
		return NULL;
	memcpy(t->text, text, n);
	t->next = p->texts;
	p->texts = t;
	return t->text;
}

void policy_free(struct policy *p)
{
	struct policy_text *t;

	while (p && (t = p->texts)) {
		p->texts = t->next;
		free(t);
	}
	free(p);
}

/* ---- messages ---- */

static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void policy_origin_text(const struct policy_origin *o, char text[POLICY_ORIGIN_MAX])
{
	if (!o->source)
		snprintf(text, POLICY_ORIGIN_MAX, "default");
	else if (!o->line)
		snprintf(text, POLICY_ORIGIN_MAX, "%s", o->source);
	else
		snprintf(text, POLICY_ORIGIN_MAX, "%.*s:%u:%u", PATH_MAX, o->source, o->line,
			 o->column);
	make_printable(text);
}

int policy_fail(struct policy_error *error, const struct policy_origin *origin, const char *fmt,
		...)
{
	char *at = error->text, *end = at + sizeof(error->text);
	va_list args;

	policy_origin_text(origin, at);
	at += strlen(at);
	at += snprintf(at, end - at, ": ");
	va_start(args, fmt);
	vsnprintf(at, end - at, fmt, args);
	va_end(args);
	make_printable(error->text);
	return -1;
}

/* ---- names ---- */

const char *name_at(struct names names, size_t i)
{
	return *(const char *const *)((const char *)names.first + i * names.stride);
}

int name_find(struct names names, const char *name)
{
	size_t i;

	for (i = 0; i < names.n; i++)
		if (!strcmp(name_at(names, i), name))
			return (int)i;
	return -1;
}

unsigned int policy_distance(const char *a, const char *b)
{
	unsigned int row[32], n = strnlen(b, 31), i, j;

	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; i <= 31 && a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= n; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[n];
}

const char *name_known(struct names names, const char *name, char text[KNOWN_MAX])
{
	size_t i, at = 0, nearest = 0;

	for (i = 0; i < names.n; i++) {
		if (name && policy_distance(name, name_at(names, i)) <
				    policy_distance(name, name_at(names, nearest)))
			nearest = i;
		at += snprintf(text + at, KNOWN_MAX - at, "%s%s", i ? ", " : "", name_at(names, i));
		if (at >= KNOWN_MAX)
			return text;
	}
	if (name && names.n > 1)
		snprintf(text + at, KNOWN_MAX - at, "; the nearest is '%s'",
			 name_at(names, nearest));
	return text;
}

const char *const access_names[] = { "deny", "ro", "overlay", "rw" };
const char *const on_exit_names[] = { "discard", "diff", "commit" };
const char *const net_names[] = { "none" };
const char *const clock_names[] = { "real" };

#define LONGEST (100000 * 3600000000000ULL)
#define LARGEST (1ULL << 60)
#define TIMES	"give a time such as 500ms, 10s, 5m or 1h, up to 100000h"

static void format_count(uint64_t number, char *text)
{
	snprintf(text, UNITS_TEXT_MAX, "%llu", (unsigned long long)number);
}

const struct limit policy_limits[POLICY_NR_LIMITS] = {
	[POLICY_WALL] = { "wall", parse_duration, format_duration, 1, LONGEST, TIMES },
	[POLICY_CPU] = { "cpu", parse_duration, format_duration, 1, LONGEST, TIMES },
	[POLICY_MEMORY] = { "memory", parse_size, format_size, 64ULL << 20, 256ULL << 30,
			    "give a size from 64M to 256G, such as 512M" },
	[POLICY_PIDS] = { "pids", parse_count, format_count, 1, 4194304,
			  "give a number from 1 to 4194304" },
	[POLICY_FILES] = { "files", parse_count, format_count, 3, 1048576,
			   "give a number from 3 to 1048576" },
	[POLICY_FILE_SIZE] = { "file_size", parse_size, format_size, 0, LARGEST,
			       "give a size such as 100M or 1G" },
	[POLICY_STDOUT] = { "stdout", parse_size, format_size, 0, LARGEST,
			    "give a size such as 10M or 1G" },
	[POLICY_EXITS] = { "exits", parse_count, format_count, 1, LARGEST,
			   "give a number from 1, such as 200000" },
};

bool quota_parse(const char *text, uint64_t *bytes)
{
	return parse_size(text, bytes) && *bytes && *bytes <= LARGEST;
}

const char *policy_access_name(enum policy_access access)
{
	return access_names[access];
}

const char *policy_on_exit_name(enum policy_on_exit on_exit)
{
	return on_exit_names[on_exit];
}

const char *policy_limit_name(enum policy_limit limit)
{
	return policy_limits[limit].name;
}

/* ---- strings and paths ---- */

size_t utf8_decode(const char *text, uint32_t *character)
{
	const unsigned char *s = (const unsigned char *)text;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0, i;
	uint32_t c = n == 1 ? *s : *s & (0x7f >> n);

	for (i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	*character = c;
	return c < least[n] || c > 0x10ffff || c >> 11 == 0x1b ? 0 : n;
}

const char *text_problem(const char *text)
{
	uint32_t c;
	size_t n;

	for (; *text; text += n) {
		n = utf8_decode(text, &c);
		if (!n)
			return "is not UTF-8, which everything in a policy must be: rename it";
	}
	return NULL;
}

const char *path_below(const char *path, const char *above)
{
	size_t n = strlen(above);

	if (n == 1) /* "/" */
		return path[1] ? path : path + 1;
	return !strncmp(path, above, n) && (!path[n] || path[n] == '/') ? path + n : NULL;
}

bool path_join(const char *above, const char *rest, char out[PATH_MAX])
{
	if (!above[1] && *rest)
		above = "";
	return snprintf(out, PATH_MAX, "%s%s", above, rest) < PATH_MAX;
}

const char *policy_normalize(const char *path, const char *base, char out[PATH_MAX])
{
	static const char too_long[] =
		"is too long: at most 4095 bytes, and 255 between two slashes";
	const char *parts[] = { base, path };
	size_t n = 0, i;

	if (!*path)
		return "is empty: give a path";
	if (*path == '~')
		return "~ is not expanded: give the path itself (a file of that name is ./~)";
	if (*path != '/' && !base)
		return "must be absolute: start it with /";
	for (i = *path == '/'; i < 2; i++) {
		const char *p = parts[i];

		for (p += strspn(p, "/"); *p; p += strspn(p, "/")) {
			size_t len = strcspn(p, "/");

			if (len == 2 && !memcmp(p, "..", 2)) {
				if (!n)
					return "leads out of /: take a '..' away";
				while (out[--n] != '/')
					;
			} else if (len != 1 || *p != '.') {
				if (len > NAME_MAX || n + 1 + len >= PATH_MAX)
					return too_long;
				out[n] = '/';
				memcpy(out + n + 1, p, len);
				n += 1 + len;
			}
			p += len;
		}
	}
	if (!n)
		out[n++] = '/';
	out[n] = '\0';
	return text_problem(out);
}
