/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sizes, durations and counts as people write them: a decimal number and at most
 * one unit, nothing around them. False: it is something else, or does not fit.
 */
#ifndef VMBOX_UNITS_H
#define VMBOX_UNITS_H

#include <stdbool.h>
#include <stdint.h>

bool parse_size(const char *text, uint64_t *bytes);  /* 1048576, 64K, 512M, 2G; K is KiB: 1024 */
bool parse_duration(const char *text, uint64_t *ns); /* 500ms, 10s, 2m, 1h; 10 is seconds */
bool parse_count(const char *text, uint64_t *number);

/* The same in the largest unit that is exact; durations are rounded up to 1 ms. */
#define UNITS_TEXT_MAX 32
void format_size(uint64_t bytes, char text[UNITS_TEXT_MAX]);
void format_duration(uint64_t ns, char text[UNITS_TEXT_MAX]);

#endif
