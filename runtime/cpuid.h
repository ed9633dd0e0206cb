/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's CPUID: the same on vmbox.ko and on stock KVM. */
#ifndef VMBOX_CPUID_H
#define VMBOX_CPUID_H

/* NULL, or the name of the ioctl that failed, with errno. */
const char *cpuid_setup(int device, int vcpu);

#endif
