/* SPDX-License-Identifier: GPL-2.0-only */
/* Sizes and durations as people write them. */
#ifndef VMBOX_UNITS_H
#define VMBOX_UNITS_H

#include <stdbool.h>
#include <stdint.h>

bool parse_size(const char *text, uint64_t *bytes);  /* 512M, 2G, 1048576 */
bool parse_duration(const char *text, uint64_t *ns); /* 500ms, 10s, 2m, 1h; 10 is seconds */

#endif
