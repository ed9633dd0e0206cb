// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID. An allow-list: a bit that is in no row is 0, a leaf that is in no row
 * is all zeros. AMD APM vol 3 appendix E.
 *
 * Not there on purpose: APIC, MCE, MTRR, PCID, XSAVE and all that needs it,
 * RDTSCP, LA57, SVM, speculation controls, performance counters.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/processor.h>

#include "regs.h"

#define BIT_RANGE_ALL 0xffffffffU

struct cpuid_row {
	u32 function;
	u32 eax, ebx, ecx, edx; /* masks over the host's values */
	bool indexed;		/* subleaf 0 only */
};

static const struct cpuid_row rows[] = {
	/* highest leaf (limited below), vendor */
	{ 0x0, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	/*
	 * EBX: CLFLUSH size. ECX: SSE3 PCLMULQDQ SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND.
	 * EDX: FPU DE PSE TSC MSR PAE CX8 SEP PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2.
	 */
	{ 0x1, BIT_RANGE_ALL, 0x0000ff00, 0x42d82203, 0x078ba97d },
	/* EBX: FSGSBASE BMI1 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA. ECX: UMIP. EDX: FSRM. */
	{ 0x7, 0, 0x219c0389, 0x00000004, 0x00000010, true },
	{ 0x80000000, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	/* ECX: LAHF LZCNT SSE4A MISALIGNSSE PREFETCHW. EDX: SYSCALL NX LM, and leaf 1's. */
	{ 0x80000001, BIT_RANGE_ALL, 0, 0x000001e1, 0x2193a97d },
	{ 0x80000002, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	{ 0x80000003, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	{ 0x80000004, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	/* caches */
	{ 0x80000005, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	{ 0x80000006, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL, BIT_RANGE_ALL },
	{ 0x80000007, 0, 0, 0, 0x00000100 }, /* invariant TSC */
	{ 0x80000008, 0, 0, 0, 0 },	     /* address sizes, set below */
};

#define CPUID1_ECX_HYPERVISOR BIT(31)
#define CPUID1_EDX_1GB	      BIT(26) /* of leaf 0x80000001: the MMU's, whatever the host has */
#define GVA_BITS	      48

static u32 last_leaf(u32 first)
{
	u32 last = first;
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if ((rows[i].function & 0x80000000) == (first & 0x80000000))
			last = max(last, rows[i].function);
	return last;
}

/**
 * vmbox_supported_cpuid - KVM_GET_SUPPORTED_CPUID
 * @entries: filled in
 * @max: how many fit
 *
 * Returns the number of entries, or -E2BIG.
 */
int vmbox_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max)
{
	int i;

	if (max < ARRAY_SIZE(rows))
		return -E2BIG;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct cpuid_row *row = &rows[i];
		struct kvm_cpuid_entry2 *e = &entries[i];
		u32 leaf = row->function;

		*e = (struct kvm_cpuid_entry2){ .function = leaf };
		if (row->indexed)
			e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		if (leaf > cpuid_eax(leaf & 0x80000000))
			continue;
		cpuid_count(leaf, 0, &e->eax, &e->ebx, &e->ecx, &e->edx);
		e->eax &= row->eax;
		e->ebx &= row->ebx;
		e->ecx &= row->ecx;
		e->edx &= row->edx;
		switch (leaf) {
		case 0x0:
		case 0x80000000:
			e->eax = min(e->eax, last_leaf(leaf));
			break;
		case 0x1:
			e->ecx |= CPUID1_ECX_HYPERVISOR;
			break;
		case 0x7: /* what the host's command line or a quirk turned off is off */
			e->ebx &= boot_cpu_data.x86_capability[CPUID_7_0_EBX];
			e->ecx &= boot_cpu_data.x86_capability[CPUID_7_ECX];
			break;
		case 0x80000001:
			e->edx |= CPUID1_EDX_1GB;
			break;
		case 0x80000008:
			e->eax = VMBOX_GPA_BITS | GVA_BITS << 8;
			break;
		}
	}
	return ARRAY_SIZE(rows);
}

/* The guest's CPUID: EAX and ECX select. A leaf that the caller did not set is zeros. */
void vmbox_cpuid(const struct vmbox_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	u32 function = *eax, index = *ecx, i;

	*eax = *ebx = *ecx = *edx = 0;
	for (i = 0; i < vcpu->nr_cpuid; i++) {
		const struct kvm_cpuid_entry2 *e = &vcpu->cpuid[i];

		if (e->function != function)
			continue;
		if ((e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) && e->index != index)
			continue;
		*eax = e->eax;
		*ebx = e->ebx;
		*ecx = e->ecx;
		*edx = e->edx;
		return;
	}
}
