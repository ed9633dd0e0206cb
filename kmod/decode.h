/* SPDX-License-Identifier: GPL-2.0-only */
/* Names the one instruction that caused an exit, where the CPU does not say. */
#ifndef VMBOX_DECODE_H
#define VMBOX_DECODE_H

#include <vmbox_types.h>

enum insn_op {
	INSN_CPUID,
	INSN_HLT,
	INSN_RDMSR,
	INSN_WRMSR,
	INSN_CR_READ, /* MOV reg, CRcr */
	INSN_CR_WRITE,
	INSN_DR_READ,
	INSN_DR_WRITE,
	INSN_CLTS,
	INSN_SMSW, /* to a register */
	INSN_LMSW, /* from a register */
	INSN_INVLPG,
	INSN_WBINVD, /* and INVD: the same exit on some CPUs */
};

#define INSN_NO_REG 0xff

struct insn {
	enum insn_op op;
	u8 len;	   /* bytes */
	u8 reg;	   /* general register operand, 0..15 */
	u8 cr;	   /* control or debug register number */
	u8 opsize; /* SMSW: bytes written to the register */
	/* INVLPG's address: base + (index << scale) + disp, in segment seg */
	u8 base, index, scale; /* INSN_NO_REG: absent */
	bool rip_relative, addr32;
	u8 seg; /* 0..5: ES CS SS DS FS GS */
	s32 disp;
};

__must_check int vmbox_decode(const u8 *bytes, size_t n, bool long_mode, struct insn *insn);

#endif
