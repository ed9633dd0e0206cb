/* SPDX-License-Identifier: GPL-2.0-only */
/* `vmbox doctor`: can this machine run vmbox, and what is to be done if not? */
#ifndef VMBOX_DOCTOR_H
#define VMBOX_DOCTOR_H

#include <stdbool.h>

/* The exit status of vmbox: 0 it can, perhaps with warnings; 1 it cannot. */
int doctor_run(const char *guest_dir, bool json);

#endif
