/* SPDX-License-Identifier: GPL-2.0-only */
/* For tests whose steps build on each other: what fails says where, and ends the test. */
#ifndef VMBOX_CHECK_OR_EXIT_H
#define VMBOX_CHECK_OR_EXIT_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

#endif
