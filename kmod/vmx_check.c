// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a VM entry failed: the checks of Intel SDM vol 3 chapter 27 (26 in
 * editions before 2022) on the current VMCS, in the manual's order, and of these
 * what vmbox's controls make matter. Runs after a failure only; changes nothing.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <asm/desc_defs.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#include "regs.h"
#include "vmx.h"

/* In a checker: what is wrong, unless @ok. */
#define CHECK(ok, text)              \
	do {                         \
		if (!(ok))           \
			return text; \
	} while (0)

#define AR_DPL(ar) ((ar) >> VMX_AR_DPL_SHIFT & 3)

#define SELECTOR_RPL 3
#define SELECTOR_TI  4

#define RFLAGS_ZERO  (GENMASK_ULL(63, 22) | BIT(15) | BIT(5) | BIT(3))
#define PENDING_ZERO (GENMASK_ULL(63, 17) | BIT(15) | BIT(13) | GENMASK(11, 4))
#define PENDING_BS   BIT(14)
#define PDPTE_ZERO   (GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1))

static bool is_physical(u64 addr)
{
	return !(addr >> boot_cpu_data.x86_phys_bits);
}

/* A capability MSR: bits that must be 1, and bits that may be. SDM appendix A. */
static bool control_fits(u32 field, u32 msr)
{
	u32 must, may, control = vmcs_read(field);

	rdmsr(msr, must, may);
	return !(must & ~control) && !(control & ~may);
}

static bool register_fits(u64 val, u32 fixed0, u32 fixed1)
{
	u64 must, may;

	rdmsrl(fixed0, must);
	rdmsrl(fixed1, may);
	return !(must & ~val) && !(val & ~may);
}

/* §27.2.1.3 */
static const char *check_event(void)
{
	u32 info = vmcs_read(VM_ENTRY_INTR_INFO_FIELD);
	u32 type = info & INTR_INFO_INTR_TYPE_MASK, vector = info & INTR_INFO_VECTOR_MASK;
	const u32 with_error = BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17);
	bool has_error = info & INTR_INFO_DELIVER_CODE_MASK;

	if (!(info & INTR_INFO_VALID_MASK))
		return NULL;
	CHECK(!(info & GENMASK(30, 12)), "the event's reserved bits");
	CHECK(type == INTR_TYPE_EXT_INTR || type == INTR_TYPE_HARD_EXCEPTION, "the event's type");
	CHECK(type == INTR_TYPE_EXT_INTR || vector < 32, "the event's vector");
	CHECK(has_error == (type == INTR_TYPE_HARD_EXCEPTION && (BIT(vector & 31) & with_error)),
	      "the event has an error code and should not, or the other way round");
	CHECK(!has_error || !(vmcs_read(VM_ENTRY_EXCEPTION_ERROR_CODE) >> 16),
	      "the event's error code");
	return NULL;
}

/* §27.2.1.1 to §27.2.1.3 */
static const char *check_controls(void)
{
	u32 primary = vmcs_read(CPU_BASED_VM_EXEC_CONTROL), truly = 0;
	u64 basic;

	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	if (basic & BASIC_TRUE_CONTROLS)
		truly = MSR_IA32_VMX_TRUE_PINBASED_CTLS - MSR_IA32_VMX_PINBASED_CTLS;
	CHECK(control_fits(PIN_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_PINBASED_CTLS + truly),
	      "pin-based controls");
	CHECK(control_fits(CPU_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_PROCBASED_CTLS + truly),
	      "primary processor-based controls");
	CHECK(!(primary & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS) ||
		      control_fits(SECONDARY_VM_EXEC_CONTROL, MSR_IA32_VMX_PROCBASED_CTLS2),
	      "secondary processor-based controls");
	CHECK(vmcs_read(CR3_TARGET_COUNT) == 0, "the number of CR3 targets");
	CHECK(!offset_in_page(vmcs_read(MSR_BITMAP)) && is_physical(vmcs_read(MSR_BITMAP)),
	      "the MSR bitmap's address");
	CHECK(control_fits(VM_EXIT_CONTROLS, MSR_IA32_VMX_EXIT_CTLS + truly), "exit controls");
	CHECK(!(vmcs_read(VM_EXIT_MSR_STORE_ADDR) & 15) &&
		      is_physical(vmcs_read(VM_EXIT_MSR_STORE_ADDR)) &&
		      !(vmcs_read(VM_EXIT_MSR_LOAD_ADDR) & 15) &&
		      is_physical(vmcs_read(VM_EXIT_MSR_LOAD_ADDR)),
	      "the exit's MSR lists");
	CHECK(control_fits(VM_ENTRY_CONTROLS, MSR_IA32_VMX_ENTRY_CTLS + truly), "entry controls");
	CHECK(!(vmcs_read(VM_ENTRY_MSR_LOAD_ADDR) & 15) &&
		      is_physical(vmcs_read(VM_ENTRY_MSR_LOAD_ADDR)),
	      "the entry's MSR list");
	return check_event();
}

/* §27.2.2 to §27.2.4 */
static const char *check_host(void)
{
	u32 selector;

	CHECK(register_fits(vmcs_read(HOST_CR0), MSR_IA32_VMX_CR0_FIXED0, MSR_IA32_VMX_CR0_FIXED1),
	      "the host's CR0");
	CHECK(register_fits(vmcs_read(HOST_CR4), MSR_IA32_VMX_CR4_FIXED0, MSR_IA32_VMX_CR4_FIXED1),
	      "the host's CR4");
	CHECK(is_physical(vmcs_read(HOST_CR3) & ~BIT_ULL(63)), "the host's CR3");
	CHECK(is_canonical(vmcs_read(HOST_IA32_SYSENTER_ESP)) &&
		      is_canonical(vmcs_read(HOST_IA32_SYSENTER_EIP)),
	      "the host's SYSENTER addresses");
	for (selector = HOST_ES_SELECTOR; selector <= HOST_TR_SELECTOR; selector += 2)
		CHECK(!(vmcs_read(selector) & (SELECTOR_RPL | SELECTOR_TI)), "a host selector");
	CHECK(vmcs_read(HOST_CS_SELECTOR) && vmcs_read(HOST_TR_SELECTOR), "the host's CS or TR");
	CHECK(is_canonical(vmcs_read(HOST_FS_BASE)) && is_canonical(vmcs_read(HOST_GS_BASE)) &&
		      is_canonical(vmcs_read(HOST_GDTR_BASE)) &&
		      is_canonical(vmcs_read(HOST_IDTR_BASE)) &&
		      is_canonical(vmcs_read(HOST_TR_BASE)),
	      "a host base");
	CHECK(vmcs_read(HOST_CR4) & X86_CR4_PAE, "the host's CR4.PAE");
	CHECK(is_canonical(vmcs_read(HOST_RIP)), "the host's RIP");
	return NULL;
}

/* §27.3.1.1 */
static const char *check_registers(bool long_mode)
{
	u64 cr0 = vmcs_read(GUEST_CR0), cr4 = vmcs_read(GUEST_CR4);

	CHECK(register_fits(cr0, MSR_IA32_VMX_CR0_FIXED0, MSR_IA32_VMX_CR0_FIXED1), "CR0");
	CHECK((cr0 & X86_CR0_PE) || !(cr0 & X86_CR0_PG), "CR0.PG without PE");
	CHECK(register_fits(cr4, MSR_IA32_VMX_CR4_FIXED0, MSR_IA32_VMX_CR4_FIXED1), "CR4");
	CHECK(!long_mode || ((cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE)),
	      "long mode without CR0.PG or CR4.PAE");
	CHECK(long_mode || !(cr4 & X86_CR4_PCIDE), "CR4.PCIDE outside long mode");
	CHECK(is_physical(vmcs_read(GUEST_CR3)), "CR3");
	CHECK(!(vmcs_read(GUEST_DR7) >> 32), "DR7");
	CHECK(!vmcs_read(GUEST_IA32_DEBUGCTL), "DEBUGCTL");
	CHECK(is_canonical(vmcs_read(GUEST_SYSENTER_ESP)) &&
		      is_canonical(vmcs_read(GUEST_SYSENTER_EIP)),
	      "SYSENTER addresses");
	return NULL;
}

/* §27.3.1.2: a usable code or data segment, or TR, or LDTR: granularity and reserved bits. */
static bool is_plain(int i)
{
	u32 ar = vmcs_read(GUEST_ES_AR_BYTES + 2 * i), limit = vmcs_read(GUEST_ES_LIMIT + 2 * i);

	return (ar & VMX_AR_P_MASK) && !(ar & VMX_AR_RESERVD_MASK) &&
	       ((limit & 0xfff) == 0xfff || !(ar & VMX_AR_G_MASK)) &&
	       (!(limit & 0xfff00000) || (ar & VMX_AR_G_MASK));
}

enum segment {
	ES,
	CS,
	SS,
	DS,
	FS,
	GS,
	LDTR,
	TR
};

/* §27.3.1.2 of DS, ES, FS, GS */
static bool is_data(int i)
{
	u32 ar = vmcs_read(GUEST_ES_AR_BYTES + 2 * i), type = ar & VMX_AR_TYPE_MASK;
	u32 rpl = vmcs_read(GUEST_ES_SELECTOR + 2 * i) & SELECTOR_RPL;

	if (ar & VMX_AR_UNUSABLE_MASK)
		return true;
	/* Accessed; if code, readable; if not conforming code, DPL no less than RPL. */
	return (type & 1) && (!(type & 8) || (type & 2)) && (ar & VMX_AR_S_MASK) &&
	       (type >= 12 || AR_DPL(ar) >= rpl) && is_plain(i);
}

/* §27.3.1.2 in virtual-8086 mode */
static bool is_8086(int i)
{
	u64 base = vmcs_read(GUEST_ES_BASE + 2 * i);

	return base == vmcs_read(GUEST_ES_SELECTOR + 2 * i) << 4 &&
	       vmcs_read(GUEST_ES_LIMIT + 2 * i) == 0xffff &&
	       vmcs_read(GUEST_ES_AR_BYTES + 2 * i) == 0xf3;
}

/* §27.3.1.2 */
static const char *check_segments(bool long_mode, bool v8086)
{
	u32 cs = vmcs_read(GUEST_CS_AR_BYTES), ss = vmcs_read(GUEST_SS_AR_BYTES);
	u32 tr = vmcs_read(GUEST_TR_AR_BYTES), ldtr = vmcs_read(GUEST_LDTR_AR_BYTES);
	u32 cs_rpl = vmcs_read(GUEST_CS_SELECTOR) & SELECTOR_RPL;
	u32 ss_rpl = vmcs_read(GUEST_SS_SELECTOR) & SELECTOR_RPL;
	u32 type = cs & VMX_AR_TYPE_MASK, ss_type = ss & VMX_AR_TYPE_MASK,
	    tr_type = tr & VMX_AR_TYPE_MASK;
	int i;

	CHECK(!(vmcs_read(GUEST_TR_SELECTOR) & SELECTOR_TI), "TR's selector");
	CHECK((ldtr & VMX_AR_UNUSABLE_MASK) || !(vmcs_read(GUEST_LDTR_SELECTOR) & SELECTOR_TI),
	      "LDTR's selector");
	CHECK(v8086 || ss_rpl == cs_rpl, "SS's and CS's RPL differ");
	CHECK(is_canonical(vmcs_read(GUEST_TR_BASE)) && is_canonical(vmcs_read(GUEST_FS_BASE)) &&
		      is_canonical(vmcs_read(GUEST_GS_BASE)) &&
		      ((ldtr & VMX_AR_UNUSABLE_MASK) || is_canonical(vmcs_read(GUEST_LDTR_BASE))),
	      "a base is not canonical");
	CHECK(!(vmcs_read(GUEST_CS_BASE) >> 32), "CS's base");
	for (i = ES; i <= DS; i++)
		CHECK(i == CS || (vmcs_read(GUEST_ES_AR_BYTES + 2 * i) & VMX_AR_UNUSABLE_MASK) ||
			      !(vmcs_read(GUEST_ES_BASE + 2 * i) >> 32),
		      "the base of SS, DS or ES");
	if (v8086) {
		for (i = ES; i <= GS; i++)
			CHECK(is_8086(i), "a segment of virtual-8086 mode");
	} else {
		CHECK((type & 9) == 9 && (cs & VMX_AR_S_MASK) && is_plain(CS),
		      "CS's access rights");
		CHECK(type >= 12 ? AR_DPL(cs) <= AR_DPL(ss) : AR_DPL(cs) == AR_DPL(ss), "CS's DPL");
		CHECK(!long_mode || !(cs & VMX_AR_L_MASK) || !(cs & VMX_AR_DB_MASK),
		      "CS has both L and D");
		CHECK((ss & VMX_AR_UNUSABLE_MASK) || ((ss_type == 3 || ss_type == 7) &&
						      (ss & VMX_AR_S_MASK) && is_plain(SS)),
		      "SS's access rights");
		CHECK(AR_DPL(ss) == ss_rpl, "SS's DPL is not its RPL");
		for (i = ES; i <= GS; i++)
			CHECK(i == CS || i == SS || is_data(i), "a data segment");
	}
	CHECK((tr_type == 11 || (tr_type == 3 && !long_mode)) &&
		      !(tr & (VMX_AR_S_MASK | VMX_AR_UNUSABLE_MASK)) && is_plain(TR),
	      "TR's access rights");
	CHECK((ldtr & VMX_AR_UNUSABLE_MASK) ||
		      ((ldtr & VMX_AR_TYPE_MASK) == 2 && !(ldtr & VMX_AR_S_MASK) && is_plain(LDTR)),
	      "LDTR's access rights");
	return NULL;
}

/* §27.3.1.3, §27.3.1.4 */
static const char *check_rip(bool long_mode, bool v8086)
{
	u64 rip = vmcs_read(GUEST_RIP), rflags = vmcs_read(GUEST_RFLAGS);
	u32 event = vmcs_read(VM_ENTRY_INTR_INFO_FIELD);

	CHECK(is_canonical(vmcs_read(GUEST_GDTR_BASE)) && is_canonical(vmcs_read(GUEST_IDTR_BASE)),
	      "the base of GDTR or IDTR");
	CHECK(vmcs_read(GUEST_GDTR_LIMIT) <= 0xffff && vmcs_read(GUEST_IDTR_LIMIT) <= 0xffff,
	      "the limit of GDTR or IDTR");
	CHECK((long_mode && (vmcs_read(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK)) ? is_canonical(rip)
									    : !(rip >> 32),
	      "RIP");
	CHECK(!(rflags & RFLAGS_ZERO) && (rflags & X86_EFLAGS_FIXED), "RFLAGS's reserved bits");
	CHECK(!v8086 || (!long_mode && (vmcs_read(GUEST_CR0) & X86_CR0_PE)), "RFLAGS.VM");
	CHECK((rflags & X86_EFLAGS_IF) || !(event & INTR_INFO_VALID_MASK) ||
		      (event & INTR_INFO_INTR_TYPE_MASK) != INTR_TYPE_EXT_INTR,
	      "an interrupt with RFLAGS.IF off");
	return NULL;
}

/* §27.3.1.5 */
static const char *check_other(void)
{
	u32 blocking = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u32 event = vmcs_read(VM_ENTRY_INTR_INFO_FIELD);
	u64 pending = vmcs_read(GUEST_PENDING_DBG_EXCEPTIONS), rflags = vmcs_read(GUEST_RFLAGS);

	CHECK(vmcs_read(GUEST_ACTIVITY_STATE) == GUEST_ACTIVITY_ACTIVE, "the activity state");
	CHECK(!(blocking & ~0xfU), "the interruptibility's reserved bits");
	CHECK((blocking & 3) != 3, "blocking by both STI and MOV SS");
	CHECK((rflags & X86_EFLAGS_IF) || !(blocking & GUEST_INTR_STATE_STI),
	      "blocking by STI with RFLAGS.IF off");
	CHECK(!(blocking & 3) || !(event & INTR_INFO_VALID_MASK) ||
		      (event & INTR_INFO_INTR_TYPE_MASK) != INTR_TYPE_EXT_INTR,
	      "an interrupt that STI or MOV SS blocks");
	CHECK(!(blocking & GUEST_INTR_STATE_SMI), "blocking by SMI");
	CHECK(!(pending & PENDING_ZERO), "the pending debug exceptions' reserved bits");
	CHECK(!(blocking & 3) || !!(pending & PENDING_BS) == !!(rflags & X86_EFLAGS_TF),
	      "a pending single step that is not RFLAGS.TF");
	CHECK(vmcs_read(VMCS_LINK_POINTER) == ~0ULL, "the VMCS link pointer");
	return NULL;
}

/* §27.3.1.6: without EPT, from memory: our own root. */
static const char *check_pdptes(bool long_mode)
{
	u64 cr3 = vmcs_read(GUEST_CR3) & ~0x1fULL;
	const u64 *pdpte = __va(cr3);
	int i;

	if (long_mode || !(vmcs_read(GUEST_CR0) & X86_CR0_PG) ||
	    !(vmcs_read(GUEST_CR4) & X86_CR4_PAE))
		return NULL;
	CHECK(!(cr3 >> 32), "a PAE root above 4 GiB");
	for (i = 0; i < 4; i++)
		CHECK(!(pdpte[i] & 1) || (!(pdpte[i] & PDPTE_ZERO) && is_physical(pdpte[i])),
		      "a PDPTE");
	return NULL;
}

/**
 * vmbox_vmx_check - the first check of a VM entry that the current VMCS breaks
 * @reason: VM_EXIT_REASON, if the entry failed after the controls were accepted; else 0
 *
 * The entry has failed; interrupts are off. Intel SDM vol 3 §27.2, §27.3, §27.8.
 */
const char *vmbox_vmx_check(u32 reason)
{
	bool long_mode = vmcs_read(VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE;
	bool v8086 = vmcs_read(GUEST_RFLAGS) & X86_EFLAGS_VM;
	const char *bad;

	switch ((u16)reason) {
	case EXIT_REASON_MSR_LOAD_FAIL:
		return "a value in the entry's MSR list (§27.4)";
	case EXIT_REASON_MCE_DURING_VMENTRY:
		return "a machine check (§27.9)";
	}
	bad = check_controls();
	bad = bad ?: check_host();
	bad = bad ?: check_registers(long_mode);
	bad = bad ?: check_segments(long_mode, v8086);
	bad = bad ?: check_rip(long_mode, v8086);
	bad = bad ?: check_other();
	bad = bad ?: check_pdptes(long_mode);
	return bad ?: "none that vmbox knows; please report it";
}
