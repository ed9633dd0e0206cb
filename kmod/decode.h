/* SPDX-License-Identifier: GPL-2.0-only */
/* Names the one instruction that caused an exit, where the CPU does not say. */
#ifndef VMBOX_DECODE_H
#define VMBOX_DECODE_H

#include <vmbox_types.h>

#define VMBOX_INSNS(X)                          \
	X(CPUID, cpuid)                         \
	X(HLT, hlt)                             \
	X(RDMSR, rdmsr)                         \
	X(WRMSR, wrmsr)                         \
	X(CR_READ, cr_read) /* MOV reg, CRcr */ \
	X(CR_WRITE, cr_write)                   \
	X(DR_READ, dr_read)                     \
	X(DR_WRITE, dr_write)                   \
	X(CLTS, clts)                           \
	X(SMSW, smsw) /* to a register */       \
	X(LMSW, lmsw) /* from a register */     \
	X(INVLPG, invlpg)                       \
	X(WBINVD, wbinvd) /* and INVD: the same exit on some CPUs */

#define VMBOX_INSN_OP(op, name) INSN_##op,
enum insn_op {
	VMBOX_INSNS(VMBOX_INSN_OP) NR_INSN_OPS
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
