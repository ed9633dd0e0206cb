// SPDX-License-Identifier: GPL-2.0-only
/*
 * The recursive map: the top table's last-but-some entry points to the top table, and so every
 * table is at a fixed address. Here all edits go through it, and are read back through it.
 */
#include "guest.h"

#define SLOT64 510U

static struct space s;
static u32 a, b;

/* The address of the entry of @level for @va, seen through the map. */
static u64 window_of(u32 va, int level)
{
	u64 top = SLOT64, base;

	switch (s.mode) {
	case M_32: /* directory's entry 1023 */
		return level == 2 ? 0xfffff000U + (va >> 22) * 4 : 0xffc00000U + (va >> 12) * 4;
	case M_PAE: /* the fourth directory's entries 508 to 511 */
		return level == 2 ? 0xffffc000U + (va >> 21) * 8 : 0xff800000U + (va >> 12) * 8;
	default:
		base = 0xffffULL << 48 | top << 39;
		if (level == 1)
			return base + (u64)(va >> 12) * 8;
		base |= top << 30;
		if (level == 2)
			return base + (va >> 21) * 8;
		base |= top << 21;
		if (level == 3)
			return base + (va >> 30) * 8;
		return base | top << 12;
	}
}

static u64 window_get(u32 va, int level)
{
	u64 w = window_of(va, level);

	if (s.mode == M_64)
		return peek64(w, w >> 32);
	return get(&s, w);
}

static void window_put(u32 va, int level, u64 entry)
{
	u64 w = window_of(va, level);

	if (s.mode == M_64)
		poke64(w, w >> 32, entry);
	else
		put(&s, w, entry);
}

static void window_invlpg(u32 va, int level)
{
	u64 w = window_of(va, level);

	if (s.mode == M_64)
		invlpg64(w, w >> 32);
	else
		invlpg(w);
}

static void make_recursive(void)
{
	u32 i;

	switch (s.mode) {
	case M_32:
		put(&s, s.root + 1023 * 4, s.root | RWX);
		break;
	case M_PAE:
		for (i = 0; i < 4; i++)
			put(&s, entry_at(&s, 0xff800000U + i * 0x200000, 2),
			    (get(&s, s.root + i * 8) & ADDR_MASK) | RWX);
		break;
	default:
		put(&s, s.root + SLOT64 * 8, s.root | RWX);
	}
}

static void edits(const char *name)
{
	u32 i, va, got;
	u64 entry;

	for (i = 0; i < 300; i++) {
		va = WINDOW + random32() % 256 * 4096;
		entry = window_get(va, 1);
		if (!entry) { /* present at once */
			window_put(va, 1, (i & 1 ? b : a) | RWX);
		} else {
			window_put(va, 1, (i & 1 ? b : a) | RWX);
			invlpg(va);
		}
		got = *at(va);
		check(got == (i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa), name, "what the entry maps",
		      i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
		check(window_get(va, 1) == get(&s, entry_at(&s, va, 1)), name, "the entry",
		      get(&s, entry_at(&s, va, 1)), window_get(va, 1));
		if (i % 16 == 0)
			flush();
	}
}

/* Each upper entry is changed through the map; what the map then shows is the new table. */
static void upper_edits(const char *name)
{
	int level, top = s.mode == M_64 ? 3 : 2;
	u32 va = WINDOW + 0x5000, i, got;

	for (level = 2; level <= top; level++) {
		u64 trees[2], old = window_get(va, level);

		for (i = 0; i < 2; i++) {
			put(&s, entry_at(&s, va, level), 0);
			map(&s, va, (i ? b : a) | RWX);
			trees[i] = get(&s, entry_at(&s, va, level));
		}
		flush();
		for (i = 0; i < 40; i++) {
			u64 want = (i & 1 ? b : a) | RWX;
			int l;

			window_put(va, level, trees[i & 1]);
			for (l = level - 1; l >= 1; l--)
				window_invlpg(va, l);
			invlpg(va);
			got = *at(va);
			check(got == (i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa), name, "what it maps",
			      i & 1 ? 0xbbbbbbbb : 0xaaaaaaaa, got);
			check(window_get(va, 1) == want, name, "the entry in the new table", want,
			      window_get(va, 1));
			window_put(va, 1, 0);
			invlpg(va);
			try((u32)kernel_read, va, 0, 0, 2);
			check(fault_vector == 14 && !fault_error, name, "#PF", 0, fault_error);
			window_put(va, 1, want);
		}
		window_put(va, level, old);
		flush();
	}
}

/* The map is taken away and given back through itself. */
static void own_entry(const char *name)
{
	u32 i, where = s.mode == M_32 ? s.root + 1023 * 4 : s.root + SLOT64 * 8;
	u32 own = s.mode == M_32 ? 0xfffffffc : 0xfffffff8;
	u64 w = window_of(0, 4), entry;

	if (s.mode == M_PAE)
		where = entry_at(&s, 0xffe00000, 2);
	entry = get(&s, where);
	for (i = 0; i < 20; i++) {
		/* through itself, not writable; then a write faults */
		if (s.mode == M_64) {
			poke64(w + SLOT64 * 8, (w + SLOT64 * 8) >> 32, entry & ~(u64)W);
			flush();
			try64((u32)kernel_write, w + 8, 0, 0, 2, w >> 32);
		} else {
			put(&s, own, entry & ~(u64)W);
			flush();
			try((u32)kernel_write, 0xfffff800, 0, 0, 2);
		}
		check(fault_vector == 14 && fault_error == 3, name, "#PF by a write", 3,
		      fault_error);
		put(&s, where, entry);
		check(window_get(WINDOW, 2) == get(&s, entry_at(&s, WINDOW, 2)), name,
		      "the directory", get(&s, entry_at(&s, WINDOW, 2)), window_get(WINDOW, 2));
		flush();
	}
}

static const struct {
	const char *name;
	void (*run)(const char *name);
} tests[] = {
	{ "selfmap_edits", edits },
	{ "selfmap_upper_edits", upper_edits },
	{ "selfmap_own_entry", own_entry },
};

void test_selfmap(void)
{
	u32 i, j;

	for (s.mode = M_32; s.mode <= M_64; s.mode++) {
		for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
			alloc_reset();
			s = new_space(s.mode);
			make_recursive();
			a = alloc_page();
			b = alloc_page();
			for (j = 0; j < 1024; j++) {
				at(a)[j] = 0xaaaaaaaa;
				at(b)[j] = 0xbbbbbbbb;
			}
			enter(&s, 0);
			tests[i].run(tests[i].name);
			leave_paging();
			done(tests[i].name);
		}
	}
}
