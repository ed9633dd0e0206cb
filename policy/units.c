// SPDX-License-Identifier: GPL-2.0-only
/* Sizes, durations and counts as people write them. Pure. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "units.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, as format() wants them. */
static const struct unit sizes[] = { { "G", 1ULL << 30 },   { "M", 1ULL << 20 },
				     { "K", 1ULL << 10 },   { "", 1 },
				     { "GiB", 1ULL << 30 }, { "MiB", 1ULL << 20 },
				     { "KiB", 1ULL << 10 } };
static const struct unit durations[] = { { "h", 3600000000000ULL },
					 { "m", 60000000000ULL },
					 { "s", 1000000000ULL },
					 { "ms", 1000000ULL },
					 { "", 1000000000ULL } };
static const struct unit counts[] = { { "", 1 } };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool parse(const char *text, const struct unit *units, size_t n, uint64_t *value)
{
	uint64_t number = 0;
	const char *p = text;
	size_t i;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return false;
	if (p == text)
		return false;
	for (i = 0; i < n; i++)
		if (!strcmp(p, units[i].name))
			return !__builtin_mul_overflow(number, units[i].factor, value);
	return false;
}

static void format(uint64_t value, const struct unit *units, char text[UNITS_TEXT_MAX])
{
	while (value ? value % units->factor != 0 : *units->name != '\0')
		units++;
	snprintf(text, UNITS_TEXT_MAX, "%llu%s", (unsigned long long)(value / units->factor),
		 units->name);
}

bool parse_size(const char *text, uint64_t *bytes)
{
	return parse(text, sizes, COUNT(sizes), bytes);
}

bool parse_duration(const char *text, uint64_t *ns)
{
	return parse(text, durations, COUNT(durations), ns);
}

bool parse_count(const char *text, uint64_t *number)
{
	return parse(text, counts, COUNT(counts), number);
}

void format_size(uint64_t bytes, char text[UNITS_TEXT_MAX])
{
	format(bytes, sizes, text);
}

void format_duration(uint64_t ns, char text[UNITS_TEXT_MAX])
{
	format(ns / 1000000 * 1000000 + (ns % 1000000 ? 1000000 : 0), durations, text);
}
