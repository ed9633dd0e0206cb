// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's instruction decoder: encodings from the manual, and random bytes
 * in a buffer that ends where the instruction may not read on (ASan watches).
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../kmod/decode.h"

static int bad;

#define CHECK(cond)                                                               \
	do {                                                                      \
		if (!(cond)) {                                                    \
			printf("not ok: %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			bad = 1;                                                  \
		}                                                                 \
	} while (0)

struct example {
	const char *text;
	u8 bytes[16];
	u8 n;
	bool long_mode;
	struct insn want;
};

#define NONE INSN_NO_REG
#define PLAIN(o, l)                            \
	{                                      \
		.op = o, .len = l, .seg = NONE \
	}

static const struct example good[] = {
	{ "cpuid", { 0x0f, 0xa2 }, 2, true, PLAIN(INSN_CPUID, 2) },
	{ "rep cpuid", { 0xf3, 0x0f, 0xa2 }, 3, true, PLAIN(INSN_CPUID, 3) },
	{ "hlt", { 0xf4 }, 1, false, PLAIN(INSN_HLT, 1) },
	{ "rdmsr", { 0x0f, 0x32 }, 2, true, PLAIN(INSN_RDMSR, 2) },
	{ "wrmsr", { 0x0f, 0x30 }, 2, true, PLAIN(INSN_WRMSR, 2) },
	{ "clts", { 0x0f, 0x06 }, 2, true, PLAIN(INSN_CLTS, 2) },
	{ "wbinvd", { 0x0f, 0x09 }, 2, true, PLAIN(INSN_WBINVD, 2) },
	{ "invd", { 0x0f, 0x08 }, 2, true, PLAIN(INSN_WBINVD, 2) },
	{ "mov rax, cr3",
	  { 0x0f, 0x20, 0xd8 },
	  3,
	  true,
	  { .op = INSN_CR_READ, .len = 3, .cr = 3, .reg = 0, .seg = NONE } },
	{ "mov cr4, r9",
	  { 0x41, 0x0f, 0x22, 0xe1 },
	  4,
	  true,
	  { .op = INSN_CR_WRITE, .len = 4, .cr = 4, .reg = 9, .seg = NONE } },
	{ "mov cr8, rdi",
	  { 0x44, 0x0f, 0x22, 0xc7 },
	  4,
	  true,
	  { .op = INSN_CR_WRITE, .len = 4, .cr = 8, .reg = 7, .seg = NONE } },
	{ "mov dr7, rbx",
	  { 0x0f, 0x23, 0xfb },
	  3,
	  true,
	  { .op = INSN_DR_WRITE, .len = 3, .cr = 7, .reg = 3, .seg = NONE } },
	{ "smsw r8d",
	  { 0x41, 0x0f, 0x01, 0xe0 },
	  4,
	  true,
	  { .op = INSN_SMSW, .len = 4, .reg = 8, .opsize = 4, .seg = NONE } },
	{ "smsw ax",
	  { 0x66, 0x0f, 0x01, 0xe0 },
	  4,
	  true,
	  { .op = INSN_SMSW, .len = 4, .reg = 0, .opsize = 2, .seg = NONE } },
	{ "lmsw cx",
	  { 0x0f, 0x01, 0xf1 },
	  3,
	  true,
	  { .op = INSN_LMSW, .len = 3, .reg = 1, .seg = NONE } },
	{ "invlpg [rdi]",
	  { 0x0f, 0x01, 0x3f },
	  3,
	  true,
	  { .op = INSN_INVLPG, .len = 3, .reg = 7, .base = 7, .index = NONE, .seg = 3 } },
	{ "invlpg [r13+rax*8-16]",
	  { 0x41, 0x0f, 0x01, 0x7c, 0xc5, 0xf0 },
	  6,
	  true,
	  { .op = INSN_INVLPG,
	    .len = 6,
	    .reg = 12,
	    .base = 13,
	    .index = 0,
	    .scale = 3,
	    .disp = -16,
	    .seg = 3 } },
	{ "invlpg [rsp+0x12345678]",
	  { 0x0f, 0x01, 0xbc, 0x24, 0x78, 0x56, 0x34, 0x12 },
	  8,
	  true,
	  { .op = INSN_INVLPG,
	    .len = 8,
	    .reg = 4,
	    .base = 4,
	    .index = NONE,
	    .disp = 0x12345678,
	    .seg = 2 } },
	{ "invlpg gs:[rip-1]",
	  { 0x65, 0x0f, 0x01, 0x3d, 0xff, 0xff, 0xff, 0xff },
	  8,
	  true,
	  { .op = INSN_INVLPG,
	    .len = 8,
	    .reg = 5,
	    .base = NONE,
	    .index = NONE,
	    .disp = -1,
	    .rip_relative = true,
	    .seg = 5 } },
	{ "invlpg [abs32]",
	  { 0x0f, 0x01, 0x3c, 0x25, 1, 0, 0, 0x80 },
	  8,
	  true,
	  { .op = INSN_INVLPG,
	    .len = 8,
	    .reg = 4,
	    .base = NONE,
	    .index = NONE,
	    .disp = (s32)0x80000001,
	    .seg = 3 } },
	{ "invlpg [eax], 32-bit code",
	  { 0x0f, 0x01, 0x38 },
	  3,
	  false,
	  { .op = INSN_INVLPG, .len = 3, .base = 0, .index = NONE, .addr32 = true, .seg = 3 } },
	{ "invlpg [edi] with 67",
	  { 0x67, 0x0f, 0x01, 0x3f },
	  4,
	  true,
	  { .op = INSN_INVLPG,
	    .len = 4,
	    .reg = 7,
	    .base = 7,
	    .index = NONE,
	    .addr32 = true,
	    .seg = 3 } },
};

static const struct example refused[] = {
	{ "nop", { 0x90 }, 1, true, {} },
	{ "lock cpuid", { 0xf0, 0x0f, 0xa2 }, 3, true, {} },
	{ "cut mov cr", { 0x0f, 0x22 }, 2, true, {} },
	{ "cut 0f", { 0x0f }, 1, true, {} },
	{ "nothing", { 0 }, 0, true, {} },
	{ "cut invlpg", { 0x0f, 0x01, 0x3c, 0x25, 1, 0, 0 }, 7, true, {} },
	{ "lmsw [mem]", { 0x0f, 0x01, 0x30 }, 3, true, {} },
	{ "smsw [mem]", { 0x0f, 0x01, 0x20 }, 3, true, {} },
	{ "swapgs", { 0x0f, 0x01, 0xf8 }, 3, true, {} },
	{ "lidt", { 0x0f, 0x01, 0x18 }, 3, true, {} },
	{ "16-bit address", { 0x67, 0x0f, 0x01, 0x3f }, 4, false, {} },
	{ "rex in 32-bit code is dec", { 0x48, 0x0f, 0xa2 }, 3, false, {} },
	{ "prefixes without end",
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0x0f, 0xa2 },
	  16,
	  true,
	  {} },
};

/* A copy that ends at the heap block's end. */
static int decode_copy(const u8 *bytes, size_t n, bool long_mode, struct insn *insn)
{
	u8 *copy = malloc(n ? n : 1);
	int err;

	memcpy(copy, bytes, n);
	err = vmbox_decode(copy, n, long_mode, insn);
	free(copy);
	return err;
}

static void check_good(const struct example *e)
{
	const struct insn *w = &e->want;
	struct insn i;

	if (decode_copy(e->bytes, e->n, e->long_mode, &i)) {
		printf("not ok: %s is refused\n", e->text);
		bad = 1;
		return;
	}
	if (i.op != w->op || i.len != w->len || i.cr != w->cr || i.disp != w->disp ||
	    i.base != w->base || i.index != w->index || i.scale != w->scale || i.seg != w->seg ||
	    i.rip_relative != w->rip_relative || i.addr32 != w->addr32 || i.opsize != w->opsize ||
	    (w->op != INSN_INVLPG && i.reg != w->reg)) {
		printf("not ok: %s is decoded wrongly\n", e->text);
		bad = 1;
	}
}

int main(void)
{
	struct insn insn;
	unsigned long i;
	u8 bytes[16];
	size_t j;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check_good(&good[i]);
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (!decode_copy(refused[i].bytes, refused[i].n, refused[i].long_mode, &insn)) {
			printf("not ok: %s is accepted\n", refused[i].text);
			bad = 1;
		}
	}
	srandom(1);
	for (i = 0; i < 3000000; i++) {
		size_t n = random() % 16;

		for (j = 0; j < n; j++)
			bytes[j] = random() % 4 ? (u8[]){ 0x0f, 1,    0x66, 0x67,
							  0x22, 0x41, 0x3c, 0x48 }[random() % 8]
						: random();
		if (decode_copy(bytes, n, random() & 1, &insn))
			continue;
		CHECK(insn.len >= 1 && insn.len <= n);
		CHECK(insn.reg < 16 && insn.cr < 16);
		if (insn.op == INSN_INVLPG) {
			CHECK(insn.base < 16 || insn.base == NONE);
			CHECK(insn.index < 16 || insn.index == NONE);
			CHECK(insn.seg < 6 && insn.scale < 4);
		}
	}
	puts(bad ? "failed" : "ok");
	return bad;
}
