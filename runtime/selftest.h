/* SPDX-License-Identifier: GPL-2.0-only */
/* `vmbox selftest`: does the driver work on this machine? */
#ifndef VMBOX_SELFTEST_H
#define VMBOX_SELFTEST_H

#include <stdbool.h>

struct selftest_options {
	const char *device;
	const char *tests; /* the directory of the test programs; NULL: the build's, or installed */
	unsigned int seed; /* of what is random; not 0 */
	bool thorough, verbose;
};

/* The exit status of vmbox. */
int selftest_run(const struct selftest_options *options);

#endif
