/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VMBOX_CLOCK_H
#define VMBOX_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds; 0: there is no such clock, or no more (a process's). */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif
