/* SPDX-License-Identifier: GPL-2.0-only */
/* What a unit test needs: checks that say where they failed, and a main that counts. */
#ifndef VMBOX_CHECK_H
#define VMBOX_CHECK_H

#include <stdio.h>

static int check_failed;

#define CHECK(cond)                                                               \
	do {                                                                      \
		if (!(cond)) {                                                    \
			printf("not ok: %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			check_failed = 1;                                         \
		}                                                                 \
	} while (0)

#define CHECK_EQ(a, b)                                                                            \
	do {                                                                                      \
		long long a_ = (long long)(a), b_ = (long long)(b);                               \
		if (a_ != b_) {                                                                   \
			printf("not ok: %s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__, #a, \
			       a_, b_);                                                           \
			check_failed = 1;                                                         \
		}                                                                                 \
	} while (0)

#endif
