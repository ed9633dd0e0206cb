/* SPDX-License-Identifier: GPL-2.0-only */
/* The file server's piece of a run's record (record.h). */
#ifndef VMBOX_FS_RECORD_H
#define VMBOX_FS_RECORD_H

#include <stdint.h>

#include "fs_limits.h"

/* What was refused. */
struct record_fs {
	uint64_t more;		   /* refusals that are not in text */
	uint32_t quota, file_size; /* was there one of that kind? */
	uint32_t used;		   /* bytes of text: "op\0path\0rule\0why\0" each */
	char text[FS_DENIED_MAX];
};

#endif
