// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device supports, less what the guest is not to have: vmbox.ko hides
 * all of this by itself, stock KVM offers it. Pure data over two ioctls.
 */
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "cpuid.h"

#define MAX_ENTRIES 64

/* Bits to clear, by leaf. A leaf of its own mask ~0 is emptied. */
static const struct mask {
	__u32 function, ebx, ecx, edx;
} hidden[] = {
	/* MONITOR VMX x2APIC PCID TSC-deadline XSAVE OSXSAVE AVX FMA F16C; APIC MCE MTRR MCA */
	{ 0x1, 0, 0x3d221028, 0x00005280 },
	/* AVX2 INVPCID AVX512; PKU OSPKE LA57 RDPID; SPEC_CTRL and friends */
	{ 0x7, 0xdc230420, 0x00410018, 0xfc000400 },
	{ 0xd, ~0U, ~0U, ~0U },
	{ 0x40000000, ~0U, ~0U, ~0U }, /* KVM's paravirtual features */
	{ 0x40000001, ~0U, ~0U, ~0U },
	/* SVM XOP FMA4 topology and performance extensions; RDTSCP, 1 GiB pages */
	{ 0x80000001, 0, 0x00c10804, 0x0c000000 },
	{ 0x80000008, ~0U, 0, 0 }, /* speculation controls */
	{ 0x8000000a, ~0U, ~0U, ~0U },
};

static void hide(struct kvm_cpuid_entry2 *e)
{
	size_t i;

	for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		const struct mask *m = &hidden[i];

		if (m->function != e->function)
			continue;
		e->ebx &= ~m->ebx;
		e->ecx &= ~m->ecx;
		e->edx &= ~m->edx;
		if (m->ebx == ~0U && m->ecx == ~0U)
			e->eax = 0;
	}
}

const char *cpuid_setup(int device, int vcpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));
	const char *error = NULL;
	__u32 i;

	if (!c)
		return "memory";
	c->nent = MAX_ENTRIES;
	if (ioctl(device, KVM_GET_SUPPORTED_CPUID, c)) {
		error = "KVM_GET_SUPPORTED_CPUID";
	} else {
		for (i = 0; i < c->nent; i++)
			hide(&c->entries[i]);
		if (ioctl(vcpu, KVM_SET_CPUID2, c))
			error = "KVM_SET_CPUID2";
	}
	free(c);
	return error;
}
