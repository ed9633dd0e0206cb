/* SPDX-License-Identifier: GPL-2.0-only */
/* Every bound that the driver puts on what a guest or a caller can ask for. */
#ifndef VMBOX_LIMITS_H
#define VMBOX_LIMITS_H

#define VMBOX_MAX_SLOTS	       8
#define VMBOX_MAX_CPUID	       64 /* entries of KVM_SET_CPUID2 */
#define VMBOX_GPA_BITS	       40 /* guest MAXPHYADDR */
#define VMBOX_GPA_LIMIT	       (1ULL << VMBOX_GPA_BITS)
#define VMBOX_MAX_VMS	       512  /* per host */
#define VMBOX_MMU_MAX_TABLES   8192 /* shadow page tables per VM: 32 MiB */
#define VMBOX_MMU_MAX_RESTARTS 16   /* of one guest walk that lost a race */
#define VMBOX_INSN_MAX	       15   /* bytes; AMD APM vol 3 §1.1 */

#endif
