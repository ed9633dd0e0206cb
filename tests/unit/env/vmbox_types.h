/* SPDX-License-Identifier: GPL-2.0-only */
/* The language of the driver's portable core, in a test program. */
#ifndef VMBOX_TYPES_H
#define VMBOX_TYPES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef int8_t s8;

#define __must_check	   __attribute__((warn_unused_result))
#define WRITE_ONCE(x, val) (*(volatile __typeof__(x) *)&(x) = (val))

#endif
