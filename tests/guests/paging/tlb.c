// SPDX-License-Identifier: GPL-2.0-only
/* What a TLB may not keep. AMD APM vol 2 §5.5, Intel SDM vol 3 §4.10. */
#include "guest.h"

static struct space s;
static u32 a, b; /* data pages: all words are 0xaaaaaaaa, 0xbbbbbbbb */

static void fill(u32 page, u32 value)
{
	u32 i;

	for (i = 0; i < 1024; i++)
		at(page)[i] = value;
}

#define EXPECT(va, value)                                                             \
	do {                                                                          \
		u32 got_ = *at(va);                                                   \
		check(got_ == (value), name, #va " reads as " #value, (value), got_); \
	} while (0)

static void not_present_to_present(const char *name)
{
	u32 i;

	for (i = 0; i < 64; i++) {
		u32 va = WINDOW + i * 4096;

		map(&s, va, 0);
		invlpg(va);
		try((u32)kernel_read, va, 0, 0, 2);
		check(fault_vector == 14 && !fault_error, name, "#PF before", 0, fault_error);
		map(&s, va, (i & 1 ? b : a) | RWX);
		EXPECT(va, i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa);
	}
	/* An upper entry. */
	for (i = 0; i < 8; i++) {
		u32 va = WINDOW + 0x1000000, at2 = entry_at(&s, va, 2);
		u64 pde;

		map(&s, va, (i & 1 ? b : a) | RWX);
		pde = get(&s, at2);
		put(&s, at2, 0);
		flush();
		try((u32)kernel_read, va, 0, 0, 2);
		check(fault_vector == 14 && !fault_error, name, "#PF by the PDE", 0, fault_error);
		put(&s, at2, pde);
		EXPECT(va, i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa);
	}
}

static void flushes_show_changes(const char *name)
{
	u32 i;

	for (i = 0; i < 256; i++) {
		u32 va = WINDOW + random32() % 64 * 4096;

		map(&s, va, a | RWX);
		invlpg(va);
		EXPECT(va, 0xaaaaaaaa);
		map(&s, va, b | RWX);
		if (random32() & 1)
			invlpg(va + (random32() & 0xfff));
		else
			flush();
		EXPECT(va, 0xbbbbbbbb);
		/* less rights */
		map(&s, va, b | P | A);
		if (random32() & 1)
			invlpg(va);
		else
			flush();
		try((u32)kernel_write, va, 0xdead, 0, 2);
		check(fault_vector == 14 && fault_error == 3, name, "#PF by a write", 3,
		      fault_error);
		/* D is set again once it has been cleared */
		map(&s, va, b | P | W | A);
		invlpg(va);
		at(va)[5] = 0xbbbbbbbb;
		check(get(&s, entry_at(&s, va, 1)) & D, name, "D", D, 0);
	}
}

static void global_pages(const char *name)
{
	u32 i, va = WINDOW;

	write_cr4(read_cr4() | CR4_PGE);
	for (i = 0; i < 16; i++) {
		map(&s, va, a | RWX | G);
		invlpg(va);
		EXPECT(va, 0xaaaaaaaa);
		map(&s, va, b | RWX | G);
		if (i & 1) {
			write_cr4(read_cr4() & ~CR4_PGE);
			write_cr4(read_cr4() | CR4_PGE);
		} else {
			invlpg(va);
		}
		EXPECT(va, 0xbbbbbbbb);
	}
	write_cr4(read_cr4() & ~CR4_PGE);
	map(&s, va, 0);
	flush();
}

/* INVLPG anywhere in a large page is for all of it. */
static void large_page(const char *name)
{
	u32 size = s.mode == M_32 ? 0x400000 : 0x200000, i, table = alloc_page();
	u32 va = WINDOW, at2 = entry_at(&s, va, 2);
	u64 pde = get(&s, at2);

	for (i = 0; i < size; i += 4096)
		put(&s, table + (i >> 12) * entry_size(&s), a | RWX);
	for (i = 0; i < 16; i++) {
		u32 x = random32() % size & ~3U, y = random32() % size & ~3U;

		*at(BIG + x) = 0xcccc0000 + i;
		put(&s, at2, BIG | RWX | PS);
		flush();
		EXPECT(va + x, 0xcccc0000 + i);
		put(&s, at2, table | RWX | U);
		invlpg(va + y);
		EXPECT(va + x, 0xaaaaaaaa);
		EXPECT(va + y, 0xaaaaaaaa);
	}
	put(&s, at2, pde);
	flush();
}

/* Each entry above the last, replaced by one with another table; INVLPG for one address. */
static void upper_entry(const char *name)
{
	int top = s.mode == M_PAE ? 2 : s.mode == M_64 ? 3 : 2, level;
	u32 va = WINDOW + 0x3000, i;

	for (level = 2; level <= top; level++) {
		u32 entry = entry_at(&s, va, level);
		u64 one = get(&s, entry), two;

		map(&s, va, a | RWX);
		put(&s, entry, 0);
		map(&s, va, b | RWX); /* makes a second tree */
		two = get(&s, entry);
		for (i = 0; i < 16; i++) {
			put(&s, entry, i & 1 ? one : two);
			invlpg(va);
			EXPECT(va, i & 1 ? 0xaaaaaaaa : 0xbbbbbbbb);
		}
		/* less rights */
		put(&s, entry, one & ~(u64)W);
		invlpg(va);
		try((u32)kernel_write, va, 0, 0, 2);
		check(fault_vector == 14 && fault_error == 3, name, "#PF by a write", 3,
		      fault_error);
		put(&s, entry, one);
		invlpg(va);
	}
}

/* A table gets data, is written without flushes, and is a table again. */
static void table_reused(const char *name)
{
	u32 va = WINDOW + 0x2000000, at2 = entry_at(&s, va, 2), table = alloc_page(), i, j;

	for (i = 0; i < 32; i++) {
		for (j = 0; j < 512; j++)
			put(&s, table + j * entry_size(&s), ((i + j) & 1 ? a : b) | RWX);
		put(&s, at2, table | RWX);
		flush();
		for (j = 0; j < 512; j += 37)
			EXPECT(va + j * 4096, (i + j) & 1 ? 0xaaaaaaaa : 0xbbbbbbbb);
		put(&s, at2, 0);
		flush();
		for (j = 0; j < 1024; j++)
			at(table)[j] = random32();
		for (j = 0; j < 1024; j++)
			at(table)[j] = i * j;
		for (j = 0; j < 1024; j++)
			EXPECT(table + j * 4, i * j);
		try((u32)kernel_read, va, 0, 0, 2);
		check(fault_vector == 14 && !fault_error, name, "#PF", 0, fault_error);
	}
}

/* Two roots that share all but one table; edits of the shared one. */
static void two_roots(const char *name)
{
	struct space other = { s.mode, alloc_page() };
	u32 own = WINDOW, shared = WINDOW + 0x1000000, i, j;
	int level;

	map(&s, own, a | RWX);
	map(&s, shared, a | RWX);
	for (j = 0; j < 1024; j++)
		at(other.root)[j] = at(s.root)[j];
	for (level = top_level(&s) - 1; level >= 1; level--) { /* a copy of the path to own */
		u32 up = entry_at(&other, own, level + 1), copy = alloc_page();
		u32 from = get(&s, entry_at(&s, own, level + 1)) & ADDR_MASK;

		for (j = 0; j < 1024; j++)
			at(copy)[j] = at(from)[j];
		put(&other, up, copy | (s.mode == M_PAE && level == 2 ? P : RWX | U));
	}
	map(&other, own, b | RWX);
	for (i = 0; i < 200; i++) {
		bool edit = !(random32() & 3);

		write_cr3(i & 1 ? other.root : s.root);
		EXPECT(own, i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa);
		if (edit) {
			map(&s, shared, (i & 4 ? b : a) | RWX);
			invlpg(shared);
			EXPECT(shared, i & 4 ? 0xbbbbbbbb : 0xaaaaaaaa);
			write_cr3(i & 1 ? s.root : other.root);
			EXPECT(shared, i & 4 ? 0xbbbbbbbb : 0xaaaaaaaa);
		}
	}
	write_cr3(s.root);
}

static const struct {
	const char *name;
	void (*run)(const char *name);
} tests[] = {
	{ "not_present_to_present", not_present_to_present },
	{ "flushes_show_changes", flushes_show_changes },
	{ "global_pages", global_pages },
	{ "large_page", large_page },
	{ "upper_entry", upper_entry },
	{ "table_reused", table_reused },
	{ "two_roots", two_roots },
};

void test_tlb(void)
{
	u32 i;

	for (s.mode = M_32; s.mode <= M_64; s.mode++) {
		for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
			alloc_reset();
			s = new_space(s.mode);
			fill(a = alloc_page(), 0xaaaaaaaa);
			fill(b = alloc_page(), 0xbbbbbbbb);
			enter(&s, CR4_PSE);
			tests[i].run(tests[i].name);
			leave_paging();
			done(tests[i].name);
		}
	}
}
