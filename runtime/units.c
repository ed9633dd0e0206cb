// SPDX-License-Identifier: GPL-2.0-only
/* Sizes and durations as people write them: a decimal number and one unit. Pure. */
#include <stddef.h>
#include <string.h>

#include "units.h"

struct unit {
	const char *name;
	uint64_t factor;
};

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

bool parse_size(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = { { "", 1 },
					     { "K", 1ULL << 10 },
					     { "M", 1ULL << 20 },
					     { "G", 1ULL << 30 },
					     { "KiB", 1ULL << 10 },
					     { "MiB", 1ULL << 20 },
					     { "GiB", 1ULL << 30 } };

	return parse(text, units, sizeof(units) / sizeof(units[0]), bytes);
}

bool parse_duration(const char *text, uint64_t *ns)
{
	static const struct unit units[] = { { "", 1000000000ULL },
					     { "ms", 1000000ULL },
					     { "s", 1000000000ULL },
					     { "m", 60000000000ULL },
					     { "h", 3600000000000ULL } };

	return parse(text, units, sizeof(units) / sizeof(units[0]), ns);
}
