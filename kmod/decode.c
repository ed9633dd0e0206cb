// SPDX-License-Identifier: GPL-2.0-only
/*
 * The length decoder. Knows the dozen instructions that can cause an exit on
 * which the driver acts, and nothing else; it executes nothing. The bytes are
 * the guest's: they were copied once, and whatever they say, the answer is one
 * instruction within them or an error. Encodings: AMD APM vol 3, appendix A.
 */
#include "decode.h"
#include "limits.h"

#define REX_B 1
#define REX_X 2
#define REX_R 4
#define REX_W 8

#define SEG_SS 2
#define SEG_DS 3

struct cursor {
	const u8 *p, *end;
	u8 rex;
	bool opsize16;
	bool long_mode;
};

static int next(struct cursor *c)
{
	return c->p < c->end ? *c->p++ : -EINVAL;
}

/* Prefixes up to the opcode. The opcode's first byte, or -EINVAL. */
static int skip_prefixes(struct cursor *c, struct insn *insn)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	int b;
	u8 i;

	while ((b = next(c)) >= 0) {
		if (b == 0x66)
			c->opsize16 = true;
		else if (b == 0x67)
			insn->addr32 = c->long_mode; /* 16-bit addresses are refused below */
		else if (b == 0xf2 || b == 0xf3)
			;
		else {
			for (i = 0; i < sizeof(segments) && segments[i] != b; i++)
				;
			if (i == sizeof(segments))
				break;
			insn->seg = i;
		}
		if (b == 0x67 && !c->long_mode)
			return -EINVAL;
	}
	if (c->long_mode && b >= 0x40 && b <= 0x4f) {
		c->rex = b;
		b = next(c);
	}
	return b;
}

/* A memory operand's ModRM, SIB and displacement. AMD APM vol 3 §1.4. */
static int decode_address(struct cursor *c, u8 modrm, struct insn *insn)
{
	u8 mod = modrm >> 6, rm = modrm & 7;
	int disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	bool seg_given = insn->seg != INSN_NO_REG;
	u32 disp = 0;
	int i, b;

	insn->base = insn->index = INSN_NO_REG;
	insn->addr32 |= !c->long_mode;
	if (rm == 4) {
		b = next(c);
		if (b < 0)
			return b;
		insn->scale = b >> 6;
		insn->index = ((b >> 3) & 7) | (c->rex & REX_X ? 8 : 0);
		if (insn->index == 4)
			insn->index = INSN_NO_REG;
		rm = b & 7;
		if (mod == 0 && rm == 5)
			disp_bytes = 4;
		else
			insn->base = rm | (c->rex & REX_B ? 8 : 0);
	} else if (mod == 0 && rm == 5) {
		disp_bytes = 4;
		insn->rip_relative = c->long_mode;
	} else {
		insn->base = rm | (c->rex & REX_B ? 8 : 0);
	}
	for (i = 0; i < disp_bytes; i++) {
		b = next(c);
		if (b < 0)
			return b;
		disp |= (u32)b << (8 * i);
	}
	insn->disp = disp_bytes == 1 ? (s8)disp : (s32)disp;
	if (!seg_given)
		insn->seg = (insn->base == 4 || insn->base == 5) ? SEG_SS : SEG_DS;
	return 0;
}

/* 0F 01: LMSW, SMSW, INVLPG. */
static int decode_group7(struct cursor *c, struct insn *insn)
{
	int modrm = next(c);
	bool is_reg = modrm >= 0xc0;

	if (modrm < 0)
		return modrm;
	insn->reg = (modrm & 7) | (c->rex & REX_B ? 8 : 0);
	switch ((modrm >> 3) & 7) {
	case 4:
		insn->op = INSN_SMSW;
		insn->opsize = c->rex & REX_W ? 8 : c->opsize16 ? 2 : 4;
		return is_reg ? 0 : -EINVAL;
	case 6:
		insn->op = INSN_LMSW;
		return is_reg ? 0 : -EINVAL;
	case 7:
		insn->op = INSN_INVLPG;
		return is_reg ? -EINVAL : decode_address(c, modrm, insn);
	}
	return -EINVAL;
}

/* 0F 20..23: the ModRM's mod field is ignored. AMD APM vol 3, "MOV CRn". */
static int decode_mov_cr(struct cursor *c, int opcode, struct insn *insn)
{
	static const enum insn_op ops[] = { INSN_CR_READ, INSN_DR_READ, INSN_CR_WRITE,
					    INSN_DR_WRITE };
	int modrm = next(c);

	if (modrm < 0)
		return modrm;
	insn->op = ops[opcode - 0x20];
	insn->cr = ((modrm >> 3) & 7) | (c->rex & REX_R ? 8 : 0);
	insn->reg = (modrm & 7) | (c->rex & REX_B ? 8 : 0);
	return 0;
}

static int decode_0f(struct cursor *c, struct insn *insn)
{
	int opcode = next(c);

	switch (opcode) {
	case 0x01:
		return decode_group7(c, insn);
	case 0x06:
		insn->op = INSN_CLTS;
		return 0;
	case 0x08:
	case 0x09:
		insn->op = INSN_WBINVD;
		return 0;
	case 0x20 ... 0x23:
		return decode_mov_cr(c, opcode, insn);
	case 0x30:
		insn->op = INSN_WRMSR;
		return 0;
	case 0x32:
		insn->op = INSN_RDMSR;
		return 0;
	case 0xa2:
		insn->op = INSN_CPUID;
		return 0;
	}
	return -EINVAL;
}

/**
 * vmbox_decode - decode the instruction at the guest's RIP
 * @bytes: the guest's instruction bytes, a private copy
 * @n: how many there are, at most VMBOX_INSN_MAX count
 * @long_mode: 64-bit code segment; else a 32-bit one
 * @insn: filled in on success
 *
 * -EINVAL: none of the instructions above, or not whole.
 */
int vmbox_decode(const u8 *bytes, size_t n, bool long_mode, struct insn *insn)
{
	struct cursor c = { .p = bytes, .long_mode = long_mode };
	int opcode, err;

	c.end = bytes + (n < VMBOX_INSN_MAX ? n : VMBOX_INSN_MAX);
	memset(insn, 0, sizeof(*insn));
	insn->seg = INSN_NO_REG;
	opcode = skip_prefixes(&c, insn);
	if (opcode == 0xf4) {
		insn->op = INSN_HLT;
		err = 0;
	} else if (opcode == 0x0f) {
		err = decode_0f(&c, insn);
	} else {
		err = -EINVAL;
	}
	if (!err)
		insn->len = c.p - bytes;
	return err;
}
