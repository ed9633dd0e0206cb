/* SPDX-License-Identifier: GPL-2.0-only */
/* Every bound that the driver puts on what a guest or a caller can ask for. */
#ifndef VMBOX_LIMITS_H
#define VMBOX_LIMITS_H

#define VMBOX_MAX_SLOTS	       8
#define VMBOX_MAX_SLOT_PAGES   (1UL << 26) /* 256 GiB; 8 bytes are kept for each */
#define VMBOX_MAX_CPUID	       64	   /* entries of KVM_SET_CPUID2 */
#define VMBOX_GPA_BITS	       40	   /* guest MAXPHYADDR */
#define VMBOX_GPA_LIMIT	       (1ULL << VMBOX_GPA_BITS)
#define VMBOX_MAX_VMS	       512  /* per host */
#define VMBOX_MMU_MAX_PAGES    4096 /* shadow pages per VM: 48 MiB with what belongs to them */
#define VMBOX_MMU_MIN_PAGES    64   /* more than any one instruction can need */
#define VMBOX_MMU_HASH	       1024 /* buckets for them */
#define VMBOX_MMU_MAX_MAPPED   1024 /* shadow entries of one guest page; all go if there are more */
#define VMBOX_MMU_ZAP_PAGES    262144 /* the host takes more than this: everything goes */
#define VMBOX_MMU_QUIET	       4  /* guest flushes without a change until a table is protected */
#define VMBOX_MMU_PREFETCH     8  /* entries, aligned, looked at around one that faulted */
#define VMBOX_MMU_MAX_RESTARTS 16 /* of one guest walk that lost a race */
#define VMBOX_INSN_MAX	       15 /* bytes; AMD APM vol 3 §1.1 */

#endif
