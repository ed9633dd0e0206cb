// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random guests. A guest is NR_STEPS slots of code, each with an instruction or two whose operands
 * are worth it. An exception's handler tells its vector by the port that it writes to, which clobbers
 * no register, and goes on with the next slot after a fault.
 *
 * What is left out, for one of the drivers is not meant to do it, or no lab can show it:
 *  - real mode, virtual-8086 mode, 16-bit code, task switches, string I/O, a memory operand of SMSW
 *    and LMSW, DR7.GD, other MSRs than the listed, VME, PVI, MCE, PCE and what follows XSAVE:
 *    vmbox.ko does not have them (docs/decisions.md), stock KVM has most;
 *  - RDTSC, RDTSCP, RDPMC, RDRAND: not the same twice; VMMCALL: stock KVM's own interface;
 *  - the APIC's base, and CR8 over 15, ICEBP, breakpoints on what is executed: QEMU takes what no
 *    CPU does, or has none (tests/driver/driver_test.c says which);
 *  - DR6 and DR7 with bits that are reserved: stock KVM has QEMU keep them, which keeps too many.
 */
#include <cpuid.h>
#include <string.h>

#include "arch.h"
#include "vm.h"

#define P	1UL
#define W	2UL
#define U	4UL
#define A	0x20UL
#define PS	0x80UL
#define EFER_NX 0x800UL

/* Where system calls and call gates lead to: none is after it, so that it is not come to again. */
#define LANDING (CODE + SLOT * (NR_STEPS - 4))

/* splitmix64 */
uint64_t arch_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(struct arch_guest *g, uint64_t n)
{
	return arch_random(&g->random) % n;
}

static bool one_in(struct arch_guest *g, uint64_t n)
{
	return below(g, n) == 0;
}

#define PICK(g, array) ((array)[below(g, sizeof(array) / sizeof((array)[0]))])

/* Each bit of @mask, or not. */
static uint64_t some_bits(struct arch_guest *g, uint64_t mask)
{
	return arch_random(&g->random) & mask;
}

static bool is_long(const struct arch_guest *g)
{
	return g->mode == LONG || g->mode == COMPAT;
}

/* ---- memory ---- */

static void put(uint8_t *mem, uint64_t at, uint64_t val, int size)
{
	memcpy(mem + at, &val, size);
}

static void flip(uint8_t *mem, uint64_t at, uint64_t mask, int size)
{
	uint64_t val = 0;

	memcpy(&val, mem + at, size);
	put(mem, at, val ^ mask, size);
}

bool arch_has_error(int vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static const uint64_t gdt[] = {
	0,
	0x00af9a000000ffff, /* 0x08: 64-bit code */
	0x00cf92000000ffff, /* 0x10: data */
	0x00cf9a000000ffff, /* 0x18: 32-bit code */
	0x00cffa000000ffff, /* 0x20: 32-bit code of ring 3 */
	0x00cff2000000ffff, /* 0x28: data of ring 3 */
	0x00affa000000ffff, /* 0x30: 64-bit code of ring 3 */
	0x00008900b0000088, /* 0x38: the TSS */
	0,
	0x000082005800003f, /* 0x48: an LDT, at GDT + 0x800 */
	0,
	0x00cf72000000ffff, /* 0x58: data that is not present */
	0x00cff0000000ffff, /* 0x60: read-only data */
	0x00cf9e000000ffff, /* 0x68: conforming code */
	0x0000ec0000180000, /* 0x70: a call gate to 0x18, in long mode to 0x08; made below */
	0,
	0x00008900b0000067, /* 0x80: a TSS without a map of ports */
	0,
	0x4000f20000000fff, /* 0x90: one page of data at DATA_VA */
	0x00cff6000000001f, /* 0x98: data that grows down */
};

/* A selector of the GDT, or of what is in none. */
static uint16_t some_selector(struct arch_guest *g)
{
	uint16_t s = below(g, sizeof(gdt) / 8 + 2) * 8;

	if (one_in(g, 4))
		s = some_bits(g, 0x18) | 4; /* of the LDT */
	if (one_in(g, 3))
		s |= 3;
	return s;
}

/* Tells DR6 as well, by EAX on DR6_PORT, and clears it: push, mov, out, xor, mov, pop. */
static const uint8_t tell_dr6[] = { 0x50, 0x0f, 0x21, 0xf0, 0xe7, DR6_PORT,
				    0x31, 0xc0, 0x0f, 0x23, 0xf0, 0x58 };

/*
 * A fault is gone on from at the next slot: what is returned to is at a slot's start. The error
 * code of its vector is dropped.
 */
static void make_handlers(const struct arch_guest *g, uint8_t *mem)
{
	static const uint8_t next64[] = { 0x48, 0x83, 0x24, 0x24, (uint8_t)-SLOT,
					  0x48, 0x83, 0x04, 0x24, SLOT };
	static const uint8_t next32[] = { 0x83, 0x24, 0x24, (uint8_t)-SLOT, 0x83, 0x04, 0x24, SLOT };
	int v;

	for (v = 0; v < NR_VECTORS; v++) {
		uint8_t *p = mem + STUBS + v * 32;

		*p++ = 0xe6; /* out %al, $v */
		*p++ = v;
		if (v == 1) {
			memcpy(p, tell_dr6, sizeof(tell_dr6));
			p += sizeof(tell_dr6);
		}
		if (arch_has_error(v)) {
			memcpy(p, "\x48\x83\xc4\x08\x83\xc4\x04" + (is_long(g) ? 0 : 4), 4);
			p += is_long(g) ? 4 : 3;
		}
		if (v < 32 && v != 1 && v != 3 && v != 4) {
			memcpy(p, is_long(g) ? next64 : next32,
			       is_long(g) ? sizeof(next64) : sizeof(next32));
			p += is_long(g) ? sizeof(next64) : sizeof(next32);
		}
		memcpy(p, is_long(g) ? "\x48\xcf" : "\xcf\xcf", 2); /* iret */
	}
}

static void make_descriptors(struct arch_guest *g, uint8_t *mem)
{
	bool by_ist = one_in(g, 3);
	uint64_t target;
	int v;

	memcpy(mem + GDT, gdt, sizeof(gdt));
	if (!is_long(g)) { /* with D: 0 is 16-bit code here */
		put(mem, GDT + 0x08, gdt[3], 8);
		put(mem, GDT + 0x30, gdt[4], 8);
	}
	target = LANDING; /* the call gate's */
	put(mem, GDT + 0x70,
	    (target & 0xffff) | (is_long(g) ? 0x080000 : 0x180000) | 0xecUL << 40 |
		    (target >> 16 & 0xffff) << 48,
	    8);
	put(mem, GDT + 0x800, 0x00cff2000000ffff, 8);
	put(mem, GDT + 0x808, 0x00cffa000000ffff, 8);
	put(mem, GDT + 0x810, 0x00cf92000000ffff, 8);
	for (v = 0; v < NR_VECTORS; v++) {
		uint64_t at = STUBS + v * 32, dpl = v == 3 || v == 4 || v >= 0x30 ? 0x60 : 0;
		uint64_t ist = v == 8 || (v == 14 && by_ist) ? 1 : 0;

		if (is_long(g))
			put(mem, IDT + v * 16, at | 8UL << 16 | ist << 32 | (0x8eUL | dpl) << 40,
			    8);
		else
			put(mem, IDT + v * 8, at | 0x18UL << 16 | (0x8eUL | dpl) << 40, 8);
	}
	put(mem, TSS + 4, KSTACK, is_long(g) ? 8 : 4);
	if (!is_long(g))
		put(mem, TSS + 8, 0x10, 4);
	else
		put(mem, TSS + 0x24, IST, 8);
	put(mem, TSS + 0x66, 0x68, 2);
	for (v = 0; v < 32; v += 8)
		put(mem, TSS + 0x68 + v, arch_random(&g->random) & arch_random(&g->random), 8);
	put(mem, TSS + 0x88, 0xff, 1);
}

static void make_tables(struct arch_guest *g, uint8_t *mem)
{
	uint64_t data = P | W | (g->ring == 3 || one_in(g, 3) ? U : 0);
	uint64_t code = P | W | (g->ring == 3 || one_in(g, 6) ? U : 0);
	uint64_t above = P | (g->mode == PAE ? 0 : W | U);
	uint64_t i;

	put(mem, PML4, PDPT | 7, 8);
	put(mem, PML4 + 8, PDPT | 7, 8);
	put(mem, PDPT, PD | above, 8);
	put(mem, PDPT + 8, PD_DATA | above, 8);
	memcpy(mem + PDPT_OTHER, mem + PDPT, 16);
	put(mem, PD, PT_LOW | 7, 8);
	put(mem, PD_DATA, PT | 7, 8);
	put(mem, PD_DATA + 8, BIG | data | PS, 8);
	put(mem, PD_32, PT_32_LOW | 7, 4);
	put(mem, PD_32 + 256 * 4, PT_32_DATA | 7, 4);
	put(mem, PD_32 + 257 * 4, BIG | data | PS, 4);
	for (i = 0; i < LOW_END >> 12; i++) {
		uint64_t flags = P | W;

		if (i << 12 == CODE || i << 12 == CODE + 0x1000)
			flags = code;
		if (i << 12 == STACK_PAGE)
			/* A: stock KVM sets it even if what faults there is an event's delivery */
			flags = P | W | (g->ring == 3 ? U : 0) | A;
		put(mem, PT_LOW + i * 8, i << 12 | flags, 8);
		put(mem, PT_32_LOW + i * 4, i << 12 | flags, 4);
	}
	for (i = 0; i < NR_DATA; i++) {
		put(mem, PT + i * 8, (DATA + (i << 12)) | data, 8);
		put(mem, PT_32_DATA + i * 4, (DATA + (i << 12)) | data, 4);
	}
	put(mem, TOOL_PML4, TOOL_PDPT | 3, 8);
	put(mem, TOOL_PDPT, PS | 3, 8); /* all of it, as a page of 1 GiB */
	memcpy(mem + TOOL, arch_load, arch_tool_end - arch_load);
}

/* An entry on the way to the data, and its size; but in PAE mode none of level 3. */
static uint64_t data_entry(struct arch_guest *g, int *size)
{
	uint64_t k = below(g, NR_DATA);

	*size = 8;
	if (g->mode == LEGACY) {
		*size = 4;
		return one_in(g, 5)   ? PD_32 + 256 * 4
		       : one_in(g, 4) ? PD_32 + 257 * 4
				      : PT_32_DATA + k * 4;
	}
	switch (below(g, 8)) {
	case 0:
		return PD_DATA;
	case 1:
	case 2:
		return PD_DATA + 8;
	case 3:
		return is_long(g) ? PDPT + 8 : PT;
	case 4:
		return is_long(g) ? PML4 + 8 : PT + 8;
	default:
		return PT + k * 8;
	}
}

/* A bit of an entry. Those of the address give what is not the guest's memory, and end it. */
static uint64_t entry_bit(struct arch_guest *g, uint64_t at, int size)
{
	static const uint8_t bits[] = { 0, 1, 1, 1,  2,	 2,  2, 3,  4,	5,  5,	6,
					6, 7, 8, 63, 63, 63, 9, 10, 11, 12, 52, 61 };
	static const uint8_t reserved[] = { 7, 8, 13, 20, 40, 45, 51, 52, 62 };
	uint8_t bit = PICK(g, bits);

	if (size == 4)
		bit = bit < 9					    ? bit
		      : at == PD_32 + 257 * 4 && !g->hardware_walks ? 21
								    : 9 + bit % 3;
	else if (!g->hardware_walks && one_in(g, 4))
		bit = PICK(g, reserved);
	/* QEMU sets A on the way to a fault as well, and does not tell P with a reserved bit. */
	if (g->hardware_walks && (bit == 5 || (size == 8 && (bit == 7 || bit == 8)) ||
				  (bit == 63 && !(g->sregs.efer & EFER_NX))))
		bit = 1;
	if ((bit == 13 || bit == 20) && at != PD_DATA + 8)
		bit = 6; /* another page of the memory's; of a large page reserved */
	if (bit == 12 && at != PD_DATA + 8)
		bit = 1;
	return 1UL << bit;
}

static void edit_tables(struct arch_guest *g, uint8_t *mem)
{
	int n = below(g, 4), size;
	uint64_t at;

	while (n--) {
		at = data_entry(g, &size);
		flip(mem, at, entry_bit(g, at, size), size);
	}
	size = g->mode == LEGACY ? 4 : 8;
	at = size == 4 ? PT_32_LOW : PT_LOW;
	if (one_in(g, 12)) {
		at += (CODE >> 12) * size;
		flip(mem, at, entry_bit(g, at, size) & ~PS, size);
	} else if (one_in(g, 12)) {
		at += (STACK_PAGE >> 12) * size;
		flip(mem, at, entry_bit(g, at, size) & ~(PS | A), size);
	}
}

/* ---- operands ---- */

/* Addresses: of each page, at its ends, of nothing. */
static uint64_t some_address(struct arch_guest *g)
{
	static const uint16_t offsets[] = { 0,	   8,	  0x10,	 0x7c0, 0xff0,
					    0xff8, 0xffa, 0xffc, 0xffe, 0xfff };
	uint64_t big = g->mode == LEGACY ? BIG_VA_32 : BIG_VA, page;

	switch (below(g, 12)) {
	case 0:
		page = big;
		break;
	case 1:
		page = big + (g->mode == LEGACY ? 0x3ff000 : 0x1ff000); /* nothing follows */
		break;
	case 2:
		page = KSTACK - 0x1000; /* the supervisor's */
		break;
	case 3:
		page = g->mode == LONG ? 0x7ffffffff000 : big ^ BIG_VA ^ BIG_VA_32;
		break;
	default:
		page = DATA_VA + (below(g, NR_DATA) << 12);
	}
	if (g->mode == LONG && page >= DATA_VA && page < BIG_VA_32 && one_in(g, 4))
		page += ALIAS_VA;
	return page + PICK(g, offsets);
}

static uint64_t some_value(struct arch_guest *g)
{
	static const uint64_t values[] = { 0,
					   1,
					   2,
					   0x7f,
					   0x80,
					   0xff,
					   0x7fff,
					   0x8000,
					   0x7fffffff,
					   0x80000000,
					   0xffffffff,
					   0x7fffffffffffffff,
					   0x8000000000000000,
					   ~0UL,
					   0x800000000000,
					   0xffff800000000000 };

	switch (below(g, 3)) {
	case 0:
		return PICK(g, values);
	case 1:
		return arch_random(&g->random);
	default:
		return some_address(g);
	}
}

static const uint64_t msrs[NR_HIDDEN_MSRS] = { 0x174,	   0x175,      0x176,	   0x277,
					       0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					       0xc0000100, 0xc0000101, 0xc0000102 };

/* What an MSR may have: QEMU's CPU takes anything, so it is something that any takes. */
static uint64_t msr_value(struct arch_guest *g, uint64_t msr)
{
	uint64_t val;

	switch (msr) {
	case 0x174:
		return one_in(g, 4) ? 0 : 0x18;
	case 0x175:
		return KSTACK - 0x100;
	case 0x176:
	case 0xc0000082:
	case 0xc0000083:
		return LANDING;
	case 0x277:
		return one_in(g, 3) ? 0x0007040600070401 : 0x0607050400010506;
	case 0xc0000081:
		return 0x0020000800000000 | LANDING;
	case 0xc0000084:
		return some_bits(g, 0x47fd5);
	case 0xc0000080:
		/* By nested paging QEMU stands still where LME is set without paging. */
		val = g->hardware_walks ? g->sregs.efer & ~1UL : 0x500 | some_bits(g, EFER_NX);
		if (g->mode == LEGACY)
			val &= ~EFER_NX;
		return val | some_bits(g, 1) | (one_in(g, 4) ? some_bits(g, 0x1f0fe) : 0);
	default: /* bases */
		return one_in(g, 2) ? some_address(g) : 0;
	}
}

static uint64_t cr0_value(struct arch_guest *g)
{
	uint64_t val = g->sregs.cr0 ^ some_bits(g, 0x1000e);

	switch (below(g, 8)) {
	case 0:
		val ^= 1UL << 18; /* AM */
		break;
	case 1:
		val ^= 1UL << 30; /* CD */
		break;
	case 2:
		val ^= 1UL << 29; /* NW, with CD or not */
		break;
	case 3:
		val ^= 1UL << 8; /* reserved; stock KVM takes those of the upper half */
		break;
	case 4:
		/* PG: off, or on. Out of long mode its IDT makes no sense; where QEMU walks, it stands still. */
		val ^= g->hardware_walks || is_long(g) ? 0 : 1UL << 31;
		break;
	}
	return val & 1UL << 31 && one_in(g, 20) ? val & ~1UL
						: val | 1; /* paging without protection */
}

static uint64_t cr4_value(struct arch_guest *g)
{
	/* UMIP SMAP SMEP FSGSBASE OSXMMEXCPT OSFXSR PGE PSE DE TSD */
	static const uint8_t bits[] = { 11, 21, 20, 16, 10, 9, 7, 4, 3, 2 };
	static const uint8_t refused[] = { 5, 5, 5, 5, 12, 13, 14, 15, 17, 18, 22, 23, 24, 31 };
	uint64_t val = g->sregs.cr4;
	int n = below(g, 4);

	while (n--)
		val ^= 1UL << PICK(g, bits);
	return one_in(g, 6) ? val ^ 1UL << PICK(g, refused) : val;
}

static uint64_t cr3_value(struct arch_guest *g)
{
	static const uint64_t others[] = { 0x18, 0xfe0, 1UL << 40, 1UL << 63 };
	uint64_t val = g->sregs.cr3;

	if (g->mode == PAE && one_in(g, 3))
		val ^= PDPT ^ PDPT_OTHER;
	if (one_in(g, 2))
		val ^= PICK(g, others);
	if (g->hardware_walks) /* QEMU takes any, and then enters no more */
		val = (uint32_t)val;
	return g->mode == PAE ? val & ~0x20UL & ~0xfc0UL : val;
}

static uint64_t cr_value(struct arch_guest *g, int n)
{
	switch (n) {
	case 0:
		return cr0_value(g);
	case 3:
		return cr3_value(g);
	case 4:
		return cr4_value(g);
	case 8:
		return below(g, 16);
	}
	return some_value(g);
}

/* Of no breakpoint that is where code is. */
static uint64_t dr_value(struct arch_guest *g, int n)
{
	if (n == 6 || n == 4)
		return 0xffff0ff0 | some_bits(g, 0xe000); /* stock KVM clears B0 to B3 at a #DB */
	if (n == 7 || n == 5)
		return 0x400 | some_bits(g, 0xffff0300);
	return DATA_VA + below(g, 4) * 8;
}

static uint64_t flags_value(struct arch_guest *g)
{
	uint64_t flags = 2 | some_bits(g, 0xcd5); /* CF PF AF ZF SF DF OF */

	if (one_in(g, 2))
		flags |= 0x200; /* IF */
	if (one_in(g, 4))
		flags |= some_bits(g, 0x247000); /* IOPL NT AC ID */
	if (one_in(g, 6))
		flags |= 0x100; /* TF */
	return flags;
}

/* ---- instructions ---- */

struct code {
	uint8_t *p;
	bool is64;
	uint64_t next; /* the address of the next slot */
};

static void emit(struct code *c, const void *bytes, int n)
{
	memcpy(c->p, bytes, n);
	c->p += n;
}

#define EMIT(c, ...)                                  \
	do {                                          \
		const uint8_t b_[] = { __VA_ARGS__ }; \
		emit(c, b_, sizeof(b_));              \
	} while (0)

static void emit_number(struct code *c, uint64_t val, int size)
{
	emit(c, &val, size);
}

/* mov $val, %reg; the upper half of a register is cleared, or not there. */
static void emit_mov(struct code *c, int reg, uint64_t val)
{
	bool wide = c->is64 && val >> 32;

	if (wide || reg >= 8)
		EMIT(c, 0x40 | (wide ? 8 : 0) | reg >> 3);
	EMIT(c, 0xb8 | (reg & 7));
	emit_number(c, val, wide ? 8 : 4);
}

/* Any but RSP's; of 8, or of 16. */
static int some_reg(struct arch_guest *g, const struct code *c)
{
	int r = below(g, c->is64 ? 16 : 8);

	return r == 4 ? 0 : r;
}

/* What does not count, or makes an instruction undefined; and REX where it must be. */
static void emit_prefixes(struct arch_guest *g, struct code *c, uint8_t rex)
{
	static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	if (one_in(g, 5))
		EMIT(c, PICK(g, prefixes));
	if (rex && c->is64)
		EMIT(c, 0x40 | rex);
}

#define B(reg) ((reg) >> 3)

static void emit_control_register(struct arch_guest *g, struct code *c)
{
	static const uint8_t numbers[] = { 0, 0, 0, 2, 3, 3, 4, 4, 4, 8, 8, 1, 5, 7, 15 };
	int n = PICK(g, numbers), r = some_reg(g, c);
	bool to = one_in(g, 2);

	if (!c->is64 || (to && g->irqs))
		n &= 7;
	if (to)
		emit_mov(c, r, cr_value(g, n));
	emit_prefixes(g, c, n >> 3 << 2 | B(r));
	EMIT(c, 0x0f, to ? 0x22 : 0x20, 0xc0 | (n & 7) << 3 | (r & 7));
}

static void emit_debug_register(struct arch_guest *g, struct code *c)
{
	int n = below(g, 8), r = some_reg(g, c);
	bool to = one_in(g, 2);

	if (to)
		emit_mov(c, r, dr_value(g, n));
	emit_prefixes(g, c, B(r));
	EMIT(c, 0x0f, to ? 0x23 : 0x21, 0xc0 | n << 3 | (r & 7));
}

static void emit_status_word(struct arch_guest *g, struct code *c)
{
	int r = some_reg(g, c);

	switch (below(g, 4)) {
	case 0:
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x06); /* clts */
		break;
	case 1:
		emit_mov(c, r, some_bits(g, 0xffffffff));
		emit_prefixes(g, c, B(r));
		EMIT(c, 0x0f, 0x01, 0xf0 | (r & 7)); /* lmsw */
		break;
	default:
		if (one_in(g, 3))
			EMIT(c, 0x66);
		emit_prefixes(g, c, B(r) | (one_in(g, 3) ? 8 : 0));
		EMIT(c, 0x0f, 0x01, 0xe0 | (r & 7)); /* smsw */
	}
}

/* ModRM of (%reg), after the register's number of it: which is not 4, 5, 12 or 13. */
#define AT(reg) (reg)

static void emit_flush(struct arch_guest *g, struct code *c)
{
	if (one_in(g, 3)) {
		EMIT(c, 0x0f, 0x08 | below(g, 2)); /* invd, wbinvd */
		return;
	}
	emit_mov(c, 7, some_address(g));
	emit_prefixes(g, c, 0);
	EMIT(c, 0x0f, 0x01, 0x38 | AT(7)); /* invlpg */
}

/* A bit of an entry on the way to data, and the flush after it. */
static void emit_table_edit(struct arch_guest *g, struct code *c)
{
	uint64_t at, mask;
	int size;

	at = data_entry(g, &size);
	mask = entry_bit(g, at, size);
	emit_mov(c, 6, at);
	EMIT(c, 0xf0);
	if (size == 8 && c->is64)
		EMIT(c, 0x48);
	else
		EMIT(c,
		     0x36); /* by SS, which is always flat: KVM looks at limits and types, QEMU does not */
	if (!c->is64 && mask >> 32) {
		EMIT(c, 0x0f, 0xba, 0x7e, 4,
		     __builtin_ctzl(mask) - 32); /* lock btc $bit, 4(%esi) */
	} else {
		EMIT(c, 0x0f, 0xba, 0x3e, __builtin_ctzl(mask)); /* lock btc $bit, (%rsi) */
	}
	if (one_in(g, 3)) { /* mov %cr3, %rax; mov %rax, %cr3 */
		EMIT(c, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
	} else {
		emit_mov(c, 7,
			 at == PD_DATA + 8	 ? BIG_VA
			 : at == PD_32 + 257 * 4 ? BIG_VA_32
						 : DATA_VA + (at & 0xfff) / size * 0x1000);
		EMIT(c, 0x0f, 0x01, 0x3f);
	}
}

static void emit_tables(struct arch_guest *g, struct code *c)
{
	static const uint8_t loads[] = { 0x10, 0x18 };
	static const uint8_t stores[] = { 0x00, 0x08 };
	bool is_load = one_in(g, 2);

	switch (below(g, 4)) {
	case 0: /* sldt, str, lldt, ltr, verr, verw of a register */
		emit_mov(c, 0, one_in(g, 3) ? some_selector(g) : one_in(g, 2) ? 0x48 : 0x80);
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x00, 0xc0 | below(g, 6) << 3);
		break;
	case 1: /* lar, lsl */
		emit_mov(c, 0, some_selector(g));
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x02 | below(g, 2), 0xc8);
		break;
	default: /* sgdt, sidt; lgdt, lidt of what they are at the end of TOOL_IN's page */
		emit_mov(c, 7,
			 is_load && one_in(g, 2) ? TOOL_IN + 0xf00 + below(g, 4) * 16
						 : some_address(g));
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x01, (is_load ? PICK(g, loads) : PICK(g, stores)) | AT(7));
	}
}

/* What LGDT and LIDT are given. */
static void make_pseudo_descriptors(struct arch_guest *g, uint8_t *mem)
{
	uint64_t at = TOOL_IN + 0xf00;

	put(mem, at, GDT << 16 | (sizeof(gdt) - 1), 8);
	put(mem, at + 16, IDT << 16 | (NR_VECTORS * (is_long(g) ? 16 : 8) - 1), 8);
	put(mem, at + 32, GDT << 16 | 0x9f, 8);
	put(mem, at + 48, IDT << 16 | 0x3ff, 8);
	put(mem, at + 40, is_long(g) && one_in(g, 2) ? 0x8000 : 0,
	    2); /* a base that is not canonical */
	put(mem, at + 56, 0, 8);
}

static void emit_msr(struct arch_guest *g, struct code *c)
{
	static const uint64_t others[] = { 0xc0000080, 0xc0000080, 0x2ff0, 0xc0011fff };
	uint64_t msr = one_in(g, 3) ? PICK(g, others) : PICK(g, msrs);
	uint64_t val = msr_value(g, msr);

	emit_mov(c, 1, msr);
	if (one_in(g, 2)) {
		emit_mov(c, 0, (uint32_t)val);
		emit_mov(c, 2, val >> 32);
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x30);
	} else {
		emit_prefixes(g, c, 0);
		EMIT(c, 0x0f, 0x32);
	}
}

static void emit_base(struct arch_guest *g, struct code *c)
{
	if (one_in(g, 2)) {
		EMIT(c, 0x0f, 0x01, 0xf8); /* swapgs */
		return;
	}
	emit_mov(c, 0, one_in(g, 4) ? 0x800000000000 : some_address(g));
	EMIT(c, 0xf3);
	if (c->is64)
		EMIT(c, 0x48);
	EMIT(c, 0x0f, 0xae, 0xc0 | below(g, 4) << 3); /* rdfsbase, rdgsbase, wrfsbase, wrgsbase */
}

static void emit_system_call(struct arch_guest *g, struct code *c)
{
	/* SYSENTER and SYSEXIT are #UD in long mode, but stock KVM emulates the one, and dies by the other. */
	switch (below(g, is_long(g) ? 2 : 4)) {
	case 0:
		EMIT(c, 0x0f, 0x05); /* syscall */
		break;
	case 1: /* sysret: flags are R11's */
		emit_mov(c, 1, c->next);
		if (c->is64) {
			emit_mov(c, 11, flags_value(g));
			EMIT(c, 0x48);
		}
		EMIT(c, 0x0f, 0x07);
		break;
	case 2:
		EMIT(c, 0x0f, 0x34); /* sysenter */
		break;
	case 3:
		emit_mov(c, 2, c->next);
		emit_mov(c, 1, STACK - 0x80);
		EMIT(c, 0x0f, 0x35); /* sysexit */
		break;
	}
}

static void emit_push(struct code *c, uint32_t val)
{
	EMIT(c, 0x68);
	emit_number(c, val, 4);
}

/* A code segment that goes with the mode; seldom any. */
static uint16_t code_selector(struct arch_guest *g)
{
	static const uint8_t of64[] = { 0x08, 0x33, 0x18, 0x23, 0x6b };
	static const uint8_t of32[] = { 0x18, 0x23, 0x68, 0x6b, 0x10, 0x0f,
					0x18, 0x23, 0xa0, 0x58, 0x70 };

	if (one_in(g, 6) && is_long(g)) /* a TSS is a task switch in legacy mode */
		return some_selector(g);
	return is_long(g) ? PICK(g, of64) : PICK(g, of32);
}

static void emit_far(struct arch_guest *g, struct code *c)
{
	uint16_t cs = code_selector(g);
	uint8_t rex = c->is64 && !one_in(g, 4) ? 0x48 : 0x2e;

	/* From ring 3 QEMU uses the stack as the supervisor does: with SMAP it must not be used. */
	bool no_stack = g->ring == 3 && (g->sregs.cr4 & 1 << 21);

	switch (no_stack ? 4 : below(g, 5)) {
	case 0: /* lret */
		emit_push(c, cs);
		emit_push(c, c->next);
		EMIT(c, rex, 0xcb);
		break;
	case 1: /* to an inner or the same ring: an outer one takes two more from the stack */
	case 2: /* iret */
		emit_push(c, (cs & 3) == 3 ? 0x2b : 0x10);
		emit_push(c, STACK - 0x100);
		emit_push(c, flags_value(g));
		emit_push(c, cs);
		emit_push(c, c->next);
		EMIT(c, rex, 0xcf);
		break;
	case 3: /* ljmp, lcall *(%rsp), of what was pushed: an offset of 4 bytes, a selector */
		emit_push(c, cs);
		emit_push(c, c->next);
		if (c->is64) {
			EMIT(c, 0x66, 0xc7, 0x44, 0x24, 4); /* movw $cs, 4(%rsp) */
			emit_number(c, cs, 2);
		}
		EMIT(c, 0xff, one_in(g, 2) ? 0x2c : 0x1c, 0x24);
		break;
	case 4: /* the same, direct: not in 64-bit mode */
		EMIT(c, no_stack || one_in(g, 2) ? 0xea : 0x9a);
		emit_number(c, c->next, 4);
		emit_number(c, !no_stack && one_in(g, 3) ? 0x73 : cs, 2);
		break;
	}
}

static void emit_flags(struct arch_guest *g, struct code *c)
{
	if (one_in(g, 4)) {
		EMIT(c, 0x9c); /* pushf */
		return;
	}
	emit_push(c, flags_value(g) | (one_in(g, 8) ? 0x10000 : 0)); /* RF is cleared */
	if (one_in(g, 8))
		EMIT(c, 0x66);
	EMIT(c, 0x9d);
}

static void emit_interrupt(struct arch_guest *g, struct code *c)
{
	/*
	 * The last five are not for ring 3: stock KVM intercepts the #GP, of which QEMU says now and then
	 * that it is of the next instruction.
	 */
	static const uint8_t vectors[] = { 3, 4, 0x30, 0x31, 0x80, 0, 8, 13, 14, 0x20 };

	switch (below(g, 5)) {
	case 0:
		EMIT(c, 0xcc); /* int3 */
		break;
	case 1:
		EMIT(c, 0xce); /* into */
		break;
	case 2:
		EMIT(c, 0x0f, 0x0b); /* ud2 */
		break;
	default:
		EMIT(c, 0xcd, vectors[below(g, g->ring == 3 ? 5 : 10)]);
	}
}

static void emit_simple(struct arch_guest *g, struct code *c)
{
	static const uint8_t one[] = { 0xf4, 0xfa, 0xfb, 0xfb, 0xfc, 0xfd, 0xf5,
				       0x9b, 0x9e, 0x9f, 0x98, 0x99, 0xd7, 0xc9 };
	static const uint8_t two[][2] = { { 0xd9, 0xe8 }, { 0xdb, 0xe3 }, { 0x0f, 0x77 },
					  { 0xd8, 0xc1 }, { 0x0f, 0x08 }, { 0x0f, 0xff },
					  { 0x0f, 0xb9 } };
	static const uint8_t three[][3] = { { 0x0f, 0x01, 0xca }, { 0x0f, 0x01, 0xcb },
					    { 0x0f, 0x28, 0xc1 }, { 0x0f, 0x6f, 0xc1 },
					    { 0x0f, 0xae, 0xf0 }, { 0x0f, 0x01, 0xd8 },
					    { 0x0f, 0x01, 0xdd }, { 0x0f, 0x01, 0xd0 } };

	switch (below(g, 4)) {
	case 0: /* hlt, cli, sti, cld, std, cmc, wait, sahf, lahf, cwde, cdq, xlat, leave */
		emit_prefixes(g, c, 0);
		EMIT(c, PICK(g, one));
		break;
	case 1: /* fld1, fninit, emms, fadd, invd, ud0, ud1 */
		emit(c, PICK(g, two), 2);
		break;
	default: /* clac, stac, movaps, movq, mfence; vmrun, clgi, xgetbv, of which the guest has none */
		emit(c, PICK(g, three), 3);
	}
}

static void emit_port(struct arch_guest *g, struct code *c)
{
	uint8_t op = 0xe4 | below(g, 4); /* in, out; of 1 or 4 bytes */

	emit_mov(c, 2, 0x40 + below(g, 0xc0) + (one_in(g, 4) ? 0x1234 : 0));
	emit_prefixes(g, c, 0);
	if (one_in(g, 2))
		EMIT(c, op | 8);
	else
		EMIT(c, op, 0x40 + below(g, 0xc0));
}

static void emit_string(struct arch_guest *g, struct code *c)
{
	static const uint8_t ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
	uint64_t di = some_address(g), si = some_address(g);

	emit_mov(c, 7, di >> 32 ? DATA_VA : di);
	emit_mov(c, 6, si >> 32 ? DATA_VA + 0xffc : si);
	emit_mov(c, 1, below(g, 12));
	if (!one_in(g, 4))
		EMIT(c, 0xf2 | below(g, 2));
	if (c->is64 && one_in(g, 2))
		EMIT(c, 0x48);
	EMIT(c, PICK(g, ops));
}

/* Loads, stores, read-modify-write, by (%rdi). */
static void emit_access(struct arch_guest *g, struct code *c)
{
	static const uint8_t ops[][4] = {
		/* length, bytes with ModRM */
		{ 2, 0x8b, 0x07 },	 { 2, 0x89, 0x07 },	  { 2, 0x01, 0x07 },
		{ 2, 0x03, 0x0f },	 { 2, 0x88, 0x0f },	  { 2, 0x87, 0x1f },
		{ 2, 0x8f, 0x07 },	 { 2, 0xff, 0x37 },	  { 2, 0xfe, 0x07 },
		{ 3, 0x0f, 0xb1, 0x0f }, { 3, 0x0f, 0xc1, 0x0f }, { 3, 0x0f, 0xbc, 0x07 },
		{ 3, 0x0f, 0xc7, 0x0f }, { 3, 0x0f, 0x28, 0x07 }, { 3, 0x0f, 0x11, 0x07 },
		{ 3, 0x0f, 0xae, 0x3f }, { 2, 0xd9, 0x07 },	  { 2, 0xdd, 0x17 },
		{ 2, 0xf7, 0x37 },	 { 2, 0x8e, 0x27 },	  { 2, 0x8c, 0x1f }
	};
	const uint8_t *op = PICK(g, ops);

	emit_mov(c, 7, some_address(g));
	if (one_in(g, 4))
		EMIT(c, 0xf0); /* of what may not be locked as well */
	else
		emit_prefixes(g, c, 0);
	if (c->is64 && one_in(g, 2))
		EMIT(c, 0x48);
	emit(c, op + 1, op[0]);
}

static void emit_segment(struct arch_guest *g, struct code *c)
{
	static const uint8_t pops[][2] = {
		{ 0x0f, 0xa1 }, { 0x0f, 0xa9 }, { 0x07, 0x90 }, { 0x1f, 0x90 }, { 0x17, 0x90 }
	};
	int seg = below(g, 6);

	switch (below(g, 4)) {
	case 0:
		EMIT(c, 0x8c, 0xc0 | seg << 3 | 3); /* mov %seg, %ebx */
		break;
	case 1: /* push, pop */
		emit_push(c, some_selector(g));
		emit(c, PICK(g, pops), 2);
		break;
	default:
		emit_mov(c, 0,
			 one_in(g, 3) && seg == 2 ? (g->ring == 3 ? 0x2b : 0x10)
						  : some_selector(g));
		EMIT(c, 0x8e, 0xc0 | seg << 3);
	}
}

/* An entry of PAE's level 3, where the guest gets to it; and CR3, which loads it. */
static void emit_pdpte(struct arch_guest *g, struct code *c)
{
	static const uint8_t bits[] = { 0, 1, 2, 3, 4, 7, 8, 40, 51, 63 };
	int bit = g->hardware_walks ? below(g, 2) * 3 : PICK(g, bits);

	if (g->mode != PAE) {
		emit_table_edit(g, c);
		return;
	}
	emit_mov(c, 6, PDPT + 8);
	EMIT(c, 0x0f, 0xba, 0x7e, bit >= 32 ? 4 : 0, bit & 31); /* btc $bit, (%esi) */
	EMIT(c, 0x0f, 0x20, 0xd8);
	if (!one_in(g, 4))
		EMIT(c, 0x0f, 0x22, 0xd8);
}

static void emit_cpuid(struct arch_guest *g, struct code *c)
{
	static const uint32_t leaves[] = { 0,	       1,	   7,	 0x80000000,
					   0x80000001, 0x80000008, 0x40, 0x8fffffff };

	emit_mov(c, 0, PICK(g, leaves));
	emit_mov(c, 1, below(g, 2));
	emit_prefixes(g, c, 0);
	EMIT(c, 0x0f, 0xa2);
}

static void emit_load(struct arch_guest *g, struct code *c)
{
	emit_mov(c, some_reg(g, c), some_value(g));
}

static const struct {
	void (*fn)(struct arch_guest *g, struct code *c);
	uint8_t weight;
} classes[] = {
	{ emit_control_register, 6 },
	{ emit_debug_register, 2 },
	{ emit_status_word, 2 },
	{ emit_flush, 2 },
	{ emit_table_edit, 3 },
	{ emit_tables, 3 },
	{ emit_msr, 3 },
	{ emit_base, 1 },
	{ emit_system_call, 2 },
	{ emit_far, 3 },
	{ emit_flags, 3 },
	{ emit_interrupt, 2 },
	{ emit_simple, 4 },
	{ emit_port, 3 },
	{ emit_string, 3 },
	{ emit_access, 8 },
	{ emit_segment, 2 },
	{ emit_pdpte, 1 },
	{ emit_cpuid, 1 },
	{ emit_load, 1 },
};

static void emit_step(struct arch_guest *g, struct code *c)
{
	unsigned int i, n = 0, at;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		n += classes[i].weight;
	at = below(g, n);
	for (i = 0; at >= classes[i].weight; i++)
		at -= classes[i].weight;
	if (c->next > LANDING && (classes[i].fn == emit_system_call || classes[i].fn == emit_far))
		i = 0;
	classes[i].fn(g, c);
}

static void make_code(struct arch_guest *g, uint8_t *mem)
{
	struct code c = { .is64 = g->mode == LONG };
	int i;

	for (i = 0; i < NR_STEPS; i++) {
		uint8_t *slot = mem + CODE + i * SLOT;

		c.p = slot;
		c.next = CODE + (i + 1) * SLOT;
		emit_step(g, &c);
		if (c.p < slot + SLOT)
			EMIT(&c, 0xeb, slot + SLOT - c.p - 2); /* jmp to the next */
	}
	for (i = NR_STEPS; i < 4096 / SLOT; i++) /* where the end faults: again */
		memcpy(mem + CODE + i * SLOT, "\xcd\x3f\xeb\x1c", 4);
}

/* ---- registers ---- */

/* The bits of CR4 that this CPU lacks. */
static uint64_t missing_cr4(void)
{
	unsigned int eax, ebx = 0, ecx = 0, edx;

	__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	return (ebx & 1 << 0 ? 0 : 1 << 16) | (ebx & 1 << 7 ? 0 : 1 << 20) | /* FSGSBASE, SMEP */
	       (ebx & 1 << 20 ? 0 : 1 << 21) | (ecx & 1 << 2 ? 0 : 1 << 11); /* SMAP, UMIP */
}

static void make_sregs(struct arch_guest *g)
{
	bool paging = g->mode != NO_PAGING;
	bool ring3 = g->ring == 3;
	uint16_t code = g->mode == LONG ? (ring3 ? 0x33 : 8) : ring3 ? 0x23 : 0x18;
	struct kvm_segment data = vm_segment(ring3 ? 0x2b : 0x10, 3, false);

	g->sregs = (struct kvm_sregs){
		.cs = vm_segment(code, 11, g->mode == LONG),
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		/* QEMU's is as LTR reads it, available: by another it ends where the stack changes. */
		.tr = { .base = TSS, .limit = 0x88, .selector = 0x38, .type = 9, .present = 1 },
		.ldt = { .unusable = 1 },
		.gdt = { .base = GDT, .limit = sizeof(gdt) - 1 },
		.idt = { .base = IDT, .limit = NR_VECTORS * (is_long(g) ? 16 : 8) - 1 },
		.cr0 = 0x11 | (paging ? 1UL << 31 : 0),
		.cr3 = g->mode == PAE	   ? PDPT
		       : g->mode == LEGACY ? PD_32
					   : PML4,
		.cr4 = g->mode == LEGACY || g->mode == NO_PAGING ? 0x10 : 0x20,
		.efer = is_long(g) ? 0x500 : 0,
		.cr8 = below(g, 16),
	};
	g->sregs.cr0 |= 0x20 | (one_in(g, 3) ? some_bits(g, 0x1000e) : 0x10002); /* WP TS EM MP */
	if (one_in(g, 4))
		g->sregs.cr0 |= 1UL << 18; /* AM */
	/* TSD DE PGE OSFXSR OSXMMEXCPT UMIP FSGSBASE; SMEP SMAP */
	g->sregs.cr4 |= some_bits(g, 0x10e8c);
	if (one_in(g, 3))
		g->sregs.cr4 |= some_bits(g, 0x300000);
	g->sregs.cr4 &= ~missing_cr4();
	g->sregs.efer |= some_bits(g, 0x801) | (one_in(g, 2) ? 0x800 : 0);
	if (g->mode == LEGACY) /* has no NX; stock KVM tells of a fetch nevertheless */
		g->sregs.efer &= ~0x800ULL;
}

static void make_hidden(struct arch_guest *g, uint8_t *mem)
{
	struct arch_hidden *h = &g->hidden;
	int i;

	*h = (struct arch_hidden){ .end = 0 };
	for (i = 0; i < NR_HIDDEN_MSRS; i++) {
		h->msr[i].number = msrs[i];
		h->msr[i].val = msr_value(g, msrs[i]);
	}
	for (i = 0; i < 6; i++)
		h->dr[i] = i == 4 ? 0xffff0ff0 : i == 5 ? 0x400 : dr_value(g, i);
	*(uint16_t *)h->fx = 0x37f;
	*(uint32_t *)(h->fx + 24) = 0x1f80;
	for (i = 160; i < 416; i++) /* XMM registers */
		h->fx[i] = arch_random(&g->random);
	memcpy(mem + TOOL_IN, h, sizeof(*h));
	memcpy(mem + TOOL_OUT, h, sizeof(*h));
}

void arch_make(struct arch_guest *g, uint8_t *mem, uint64_t seed, uint64_t i)
{
	__u64 *reg;
	uint64_t at;

	g->random = seed;
	g->random = arch_random(&g->random) + i;
	g->mode = below(g, NR_MODES);
	if (g->mode == PAE && g->hardware_walks) /* QEMU sets A in entries of level 3 */
		g->mode = LONG;
	g->ring = one_in(g, 3) ? 3 : 0;
	g->irqs = one_in(g, 3) ? some_bits(g, arch_random(&g->random)) : 0;
	make_sregs(g);
	make_handlers(g, mem);
	make_descriptors(g, mem);
	make_tables(g, mem);
	edit_tables(g, mem);
	make_hidden(g, mem);
	make_pseudo_descriptors(g, mem);
	make_code(g, mem);
	for (at = 0; at < NR_DATA << 12; at += 8)
		put(mem, DATA + at, arch_random(&g->random), 8);
	for (reg = &g->regs.rax; reg <= &g->regs.r15; reg++)
		*reg = g->mode == LONG	      ? some_value(g)
		       : g->mode == NO_PAGING ? some_address(g)
					      : (uint32_t)some_value(g);
	g->regs.rsp = STACK - 0x40;
	g->regs.rip = CODE;
	g->regs.rflags = flags_value(g) & ~0x4100UL;
}
