/* SPDX-License-Identifier: GPL-2.0-only */
/* What the module found at load. */
#ifndef VMBOX_MAIN_H
#define VMBOX_MAIN_H

#include "backend.h"

extern const struct vmbox_arch_ops *vmbox_ops; /* (c) */

#endif
