// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that are also what the instruction at hand needs: its code, its stack, its operand,
 * the IDT. Nothing is checked but the result, and that there is one.
 *
 * T is the last-level table of the window. Its entry SELF maps T itself, at self; code, stack
 * and IDT are in entries that translate nothing that is used.
 */
#include "guest.h"

#define SELF	 0
#define FREE	 1	/* entries that tests change */
#define CODE_AT	 0x400U /* in T */
#define STACK_AT 0x800U
#define IDT_AT	 0x600U
#define ROUNDS	 12

static struct space s;
static u32 t, self, a, b; /* a, b: data pages of words 0xaaaaaaaa, 0xbbbbbbbb */

static u32 va_of(u32 index)
{
	return WINDOW + index * 4096;
}

static u32 self_at(u32 index) /* where T's entry is, through T's own mapping */
{
	return self + index * entry_size(&s);
}

static void copy(u32 to, const u8 *from, const u8 *end)
{
	volatile u8 *p = (volatile u8 *)to;

	while (from < end)
		*p++ = *from++;
}

/* Lets a table be still for so many flushes that its shadow may be kept. */
static void quiet(u32 round)
{
	u32 i;

	for (i = 0; i < round % 7; i++) {
		flush();
		(void)*at(self);
	}
}

#define SNIPPET(name) extern const u8 name[], name##_end[]
SNIPPET(s_edit_read);
SNIPPET(s_push_read);
SNIPPET(s_push2_read);
SNIPPET(s_invlpg_self);
SNIPPET(s_xchg);
SNIPPET(s_cmpxchg);
SNIPPET(s_incb);
SNIPPET(s_bts);
SNIPPET(s_movs);

#define PUT_CODE(name) copy(t + CODE_AT, name, name##_end)

static void expect(const char *name, const char *what, u32 want, u32 got)
{
	check(fault_vector == 128, name, "the vector", 128, fault_vector);
	check(want == got, name, what, want, got);
}

static void code(const char *name, u32 round)
{
	u32 got;

	PUT_CODE(s_edit_read);
	put(&s, t + FREE * entry_size(&s), 0);
	flush();
	quiet(round);
	got = run(self + CODE_AT, (round & 1 ? b : a) | RWX, self_at(FREE), va_of(FREE), 0, 0, 0);
	expect(name, "what the entry maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
}

/* Code, stack and operand in one page, which is the table. */
static void stack(const char *name, u32 round)
{
	u32 got;

	PUT_CODE(s_edit_read);
	put(&s, t + FREE * entry_size(&s), 0);
	flush();
	quiet(round);
	got = run(self + CODE_AT, (round & 1 ? b : a) | RWX, self_at(FREE), va_of(FREE), 0, 0,
		  self + STACK_AT);
	expect(name, "what the entry maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
	/* The frame of INT 0x80 is there. */
	check(*at(t + STACK_AT - (s.mode == M_64 ? 32 : 8)) == 8, name, "CS in the frame", 8,
	      *at(t + STACK_AT - (s.mode == M_64 ? 32 : 8)));
}

/* The entry itself is pushed. */
static void push(const char *name, u32 round)
{
	bool wide = entry_size(&s) == 8;
	u32 got;

	put(&s, t + 64 * entry_size(&s), 0);
	flush();
	quiet(round);
	got = run((u32)(wide ? s_push2_read : s_push_read), (round & 1 ? b : a) | RWX, 0, va_of(64),
		  0, 0, self_at(65));
	expect(name, "what the entry maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
}

static void idt(const char *name, u32 round)
{
	u32 size, from = idt_of(s.mode, &size), got;

	copy(t + IDT_AT, (u8 *)from, (u8 *)from + size);
	PUT_CODE(s_edit_read);
	put(&s, t + FREE * entry_size(&s), 0);
	flush();
	quiet(round);
	load_idt(s.mode, self + IDT_AT);
	try((u32)kernel_read, va_of(FREE), 0, 0, 2);
	check(fault_vector == 14 && !fault_error, name, "#PF", 0, fault_error);
	got = run((u32)s_edit_read, (round & 1 ? b : a) | RWX, self_at(FREE), va_of(FREE), 0, 0, 0);
	expect(name, "what the entry maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
	/* and through the handler from user mode */
	try((u32)user_read, va_of(FREE), 0, 1, 2);
	check(fault_vector == 14 && fault_error == 5, name, "user #PF", 5, fault_error);
	load_idt(s.mode, from);
}

/* Stores that are not an entry's: across two entries; across two pages, both of them tables. */
static void unaligned(const char *name, u32 round)
{
	u32 size = entry_size(&s), value = (round & 1 ? b : a) | RWX, last = 4096 / size - 1;
	u32 t2 = alloc_page(), entry2 = entry_at(&s, WINDOW, 2) + size, i;
	u64 old2 = get(&s, entry2);

	put(&s, t + FREE * size, 0);
	map(&s, va_of(2), 0);
	flush();
	quiet(round);
	*at(self_at(FREE) - 1) = value << 8 | *(volatile u8 *)(self_at(FREE) - 1);
	check(*at(va_of(FREE)) == (round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa), name, "what it maps",
	      round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, *at(va_of(FREE)));

	/* Entry 2 maps T, entry 3 the next table, T2: a store over the boundary of the two. */
	put(&s, entry2, t2 | RWX | U);
	map(&s, va_of(2), t | RWX);
	map(&s, va_of(3), t2 | RWX);
	put(&s, t + last * size, 0);
	flush();
	quiet(round);
	for (i = 0; i < 2; i++) { /* T2[0] by its first bytes; 8-byte entries end in zeros */
		u32 offset = 1 + i * 2;

		*at(va_of(3) - offset) = value << offset * 8;
		if (offset == 3) /* 1 byte of the value fits; the rest */
			*at(va_of(3) + 1) = value >> 8;
		check(*at(va_of(last + 1)) == (round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa), name,
		      "what the next table maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa,
		      *at(va_of(last + 1)));
		put(&s, t2, 0);
		put(&s, t + last * size, 0);
		invlpg(va_of(last + 1));
	}
	put(&s, entry2, old2);
	map(&s, va_of(2), 0);
	map(&s, va_of(3), 0);
	flush();
}

/* Locked instructions on the entry that maps their operand. */
static void atomics(const char *name, u32 round)
{
	u32 entry = t | RWX, got;

	put(&s, t + SELF * entry_size(&s), entry);
	flush();
	quiet(round);
	got = run((u32)s_xchg, entry | 0x400, self_at(SELF), 0, 0, 0, 0);
	expect(name, "XCHG's result", entry, got);
	check(*at(t) == (entry | 0x400), name, "after XCHG", entry | 0x400, *at(t));
	quiet(round);
	got = run((u32)s_cmpxchg, entry | 0x400, self_at(SELF), entry | 0x800, 0, 0, 0);
	expect(name, "CMPXCHG's result", entry | 0x400, got);
	check(*at(t) == (entry | 0x800), name, "after CMPXCHG", entry | 0x800, *at(t));
	quiet(round);
	got = run((u32)s_incb, 0, self_at(SELF), 0, 0, 0, 0);
	expect(name, "after INC", entry + 0x900, got);
	quiet(round);
	got = run((u32)s_bts, 0, self_at(SELF), 0, 0, 0, 0);
	expect(name, "after BTS", entry + 0xb00, got);
	check(*at(t) == entry + 0xb00, name, "the entry", entry + 0xb00, *at(t));
	/* D clear: the CPU sets it in the word that it reads and writes. */
	put(&s, t + SELF * entry_size(&s), t | P | W);
	flush();
	quiet(round);
	got = run((u32)s_bts, 0, self_at(SELF), 0, 0, 0, 0);
	expect(name, "BTS with D clear", t | RWX | 0x200, got);
	put(&s, t + SELF * entry_size(&s), entry);
	flush();
}

/* INVLPG of the table's page, from code on it. */
static void invlpg_self(const char *name, u32 round)
{
	u32 got;

	PUT_CODE(s_invlpg_self);
	put(&s, t + FREE * entry_size(&s), 0);
	flush();
	quiet(round);
	got = run(self + CODE_AT, (round & 1 ? b : a) | RWX, self_at(FREE), va_of(FREE), self, 0,
		  round & 2 ? self + STACK_AT : 0);
	expect(name, "what the entry maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
}

/* From a table into the one in use, all of it, through the one in use. */
static void movs(const char *name, u32 round)
{
	u32 size = entry_size(&s), from = alloc_page(), i, got;

	put(&s, t + 2 * size, from | RWX);
	for (i = 0; i < 1024; i++)
		at(from)[i] = at(t)[i];
	for (i = 8; i < 40; i++)
		put(&s, from + i * size, ((i + round) & 1 ? b : a) | RWX);
	flush();
	quiet(round);
	got = run((u32)s_movs, 0, 1024, va_of(8), va_of(2), self, 0);
	expect(name, "what entry 8 maps", round & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
	flush();
	for (i = 8; i < 40; i++)
		check(*at(va_of(i)) == ((i + round) & 1 ? 0xbbbbbbbb : 0xaaaaaaaa), name,
		      "what an entry maps", (i + round) & 1 ? 0xbbbbbbbb : 0xaaaaaaaa,
		      *at(va_of(i)));
	for (i = 2; i < 40; i++)
		put(&s, t + i * size, 0);
	flush();
}

static const struct {
	const char *name;
	void (*run)(const char *name, u32 round);
} tests[] = {
	{ "code_in_table", code },
	{ "stack_in_table", stack },
	{ "push_entry", push },
	{ "idt_in_table", idt },
	{ "unaligned", unaligned },
	{ "atomics", atomics },
	{ "invlpg_of_itself", invlpg_self },
	{ "movs_tables", movs },
};

void test_livelock(void)
{
	u32 i, j;

	for (s.mode = M_32; s.mode <= M_64; s.mode++) {
		for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
			alloc_reset();
			s = new_space(s.mode);
			t = get(&s, entry_at(&s, WINDOW, 2)) & ADDR_MASK;
			self = va_of(SELF);
			put(&s, t + SELF * entry_size(&s), t | RWX);
			a = alloc_page();
			b = alloc_page();
			for (j = 0; j < 1024; j++) {
				at(a)[j] = 0xaaaaaaaa;
				at(b)[j] = 0xbbbbbbbb;
			}
			enter(&s, 0);
			for (j = 0; j < ROUNDS; j++)
				tests[i].run(tests[i].name, j);
			leave_paging();
			done(tests[i].name);
		}
	}
}
