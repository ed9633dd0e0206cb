/* SPDX-License-Identifier: GPL-2.0-only */
/* The CPUs' virtualization: on while there is a VM. */
#ifndef VMBOX_HARDWARE_H
#define VMBOX_HARDWARE_H

#include "backend.h"

extern const struct vmbox_arch_ops *vmbox_ops; /* (c) */

int vmbox_hardware_init(void);
void vmbox_hardware_fini(void);
int vmbox_hardware_get(void);
void vmbox_hardware_put(void);

#endif
