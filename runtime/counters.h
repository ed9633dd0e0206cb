/* SPDX-License-Identifier: GPL-2.0-only */
/* The driver's counters of one VM, as KVM_GET_STATS_FD gives them. */
#ifndef VMBOX_COUNTERS_H
#define VMBOX_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS_MAX 128
#define COUNTER_NAME 48

struct counters {
	size_t n; /* 0: there are none */
	struct {
		char name[COUNTER_NAME];
		uint64_t value;
	} counter[COUNTERS_MAX];
};

/* Reads all of them anew from the descriptor that the driver gave. False: they cannot be read. */
bool counters_read(int fd, struct counters *c);

/* The counter of this name. False: the driver has none. */
bool counters_get(const struct counters *c, const char *name, uint64_t *value);

/* "page_fault" of the counter "exits_page_fault" or "page_fault_exits"; NULL: it is no exit's. */
const char *counters_exit_reason(const char *name, char reason[COUNTER_NAME]);

/* All exits. False: the driver does not count them. */
bool counters_exits(const struct counters *c, uint64_t *exits);

#endif
