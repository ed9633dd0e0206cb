/* SPDX-License-Identifier: GPL-2.0-only */
/* The language of the portable core, in the kernel. tests/unit/env has the other one. */
#ifndef VMBOX_TYPES_H
#define VMBOX_TYPES_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/string.h>
#include <linux/types.h>

#endif
