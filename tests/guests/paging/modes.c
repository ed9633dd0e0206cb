// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of mode and of control bits. "qemu": PDPTEs are read at each walk, as nested paging
 * may (AMD APM vol 2 §15.25.10); what depends on it is left out.
 */
#include "guest.h"

static struct space spaces[M_64 + 1];
static u32 data[M_64 + 1]; /* what the window maps in each mode: words of the mode's number */

extern const u8 s_mov_cr0[], s_mov_cr3[], s_mov_cr4[];

static void expect_fault(const char *name, const char *what, u32 vector, u32 error)
{
	check(fault_vector == vector, name, what, vector, fault_vector);
	if (vector != 128)
		check(fault_error == error, name, what, error, fault_error);
}

/* Off, and any mode, and off. The window is mapped anew now and then, with paging off. */
static void cycle(void)
{
	u32 i, got;

	for (i = 0; i < 60; i++) {
		enum mode m = i < 6 ? i % 3 + 1 : random32() % 3 + 1;
		struct space *s = &spaces[m];

		if (random32() & 1)
			map(s, WINDOW, data[m] | RWX);
		enter(s, random32() & CR4_PGE);
		got = *at(WINDOW);
		check(got == (u32)m, "cycle", "what the window maps", m, got);
		try((u32)user_read, WINDOW, 0, 1, 2);
		expect_fault("cycle", "user #PF", 14, 5);
		leave_paging();
		check(*at(data[m]) == (u32)m, "cycle", "with paging off", m, *at(data[m]));
	}
	done("cycle");
}

/* PS counts only with PSE: what BIG holds is a table, or the data. */
static void toggle_pse(void)
{
	struct space *s = &spaces[M_32];
	u32 entry = entry_at(s, WINDOW, 2), i, got;
	u64 old = get(s, entry);

	put(s, BIG, data[M_32] | RWX);
	put(s, entry, BIG | RWX | PS);
	enter(s, 0);
	for (i = 0; i < 20; i++) {
		write_cr4(i & 1 ? CR4_PSE : 0);
		got = *at(WINDOW) & ~(A | D);
		check(got == (i & 1 ? data[M_32] | P | W : (u32)M_32), "pse", "the word",
		      i & 1 ? data[M_32] | P | W : (u32)M_32, got);
	}
	leave_paging();
	put(s, entry, old);
	done("pse");
}

static void toggle_bits(enum mode m)
{
	struct space *s = &spaces[m];
	u32 i, user = WINDOW + 0x1000, readonly = WINDOW + 0x2000, nx = WINDOW + 0x3000;

	*at(BIG) = 0x80cd;
	map(s, user, BIG | RWX | U);
	map(s, readonly, BIG | P);
	map(s, nx, BIG | RWX | (m == M_32 ? 0 : NX));
	enter(s, 0);
	for (i = 0; i < 24; i++) {
		u32 bits = random32();
		bool wp = bits & 1, smep = (bits & 2) && has_smep(), nxe = m != M_32;
		bool smap = (bits & 4) && has_smap(), ac = bits & 8;

		write_cr0((read_cr0() & ~CR0_WP) | (wp ? CR0_WP : 0));
		write_cr4((read_cr4() & ~(CR4_SMEP | CR4_SMAP | CR4_PGE)) | (smep ? CR4_SMEP : 0) |
			  (smap ? CR4_SMAP : 0) | (bits & 16 ? CR4_PGE : 0));
		if (m != M_32 && !(bits & 0x60)) {
			nxe = false;
			write_efer(0, EFER_NXE);
			flush();
			try((u32)kernel_read, nx, 0, 0, 2);
			expect_fault("bits", "NX without NXE", 14, option("qemu", 0) ? 8 : 9);
		}
		try((u32)kernel_write, readonly, 0x80cd, 0, 2);
		expect_fault("bits", "WP", wp ? 14 : 128, 3);
		try((u32)kernel_fetch, user, 0, 0, 2);
		expect_fault("bits", "SMEP", smep ? 14 : 128, 0x11);
		try((u32)kernel_read, user, 0, 0, 2 | (ac ? FLAG_AC : 0));
		expect_fault("bits", "SMAP", smap && !ac ? 14 : 128, 1);
		try((u32)user_fetch, user, 0, 1, 2);
		expect_fault("bits", "the user's fetch", 128, 0);
		if (!nxe) {
			write_efer(EFER_NXE, 0);
			flush();
		}
		if (m != M_32) {
			try((u32)kernel_fetch, nx, 0, 0, 2);
			expect_fault("bits", "NX", 14, 0x11);
		}
	}
	leave_paging();
	done("bits");
}

/* Registers, loaded with CR3 and by changes of CR4.PGE, PSE. */
static void pdptes(void)
{
	struct space *s = &spaces[M_PAE], other = { M_PAE, alloc_page() };
	bool lazy = option("qemu", 0);
	u32 entry = entry_at(s, WINDOW, 3), i, got;
	u64 one = get(s, entry), two;

	entry_at(&other, WINDOW, 1);
	map(&other, WINDOW, data[M_32] | RWX);
	two = get(&other, entry_at(&other, WINDOW, 3));
	enter(s, 0);
	for (i = 0; i < 30; i++) {
		put(s, entry, i & 1 ? one : two);
		invlpg(WINDOW);
		if (!lazy) {
			got = *at(WINDOW);
			check(got == (u32)(i & 1 ? M_32 : M_PAE), "pdptes", "before the load",
			      i & 1 ? M_32 : M_PAE, got);
		}
		if (i % 3 == 0)
			flush();
		else
			write_cr4(read_cr4() ^ (i % 3 == 1 ? CR4_PGE : CR4_PSE));
		got = *at(WINDOW);
		check(got == (u32)(i & 1 ? M_PAE : M_32), "pdptes", "after the load",
		      i & 1 ? M_PAE : M_32, got);
	}
	for (i = 0; i < 64 && !lazy; i++) {
		bool bad = (i >= 1 && i <= 2) || (i >= 5 && i <= 8) || i >= max_phys_bits();

		put(s, entry, (i && i < 12) || bad ? one | 1ULL << i : one);
		run((u32)s_mov_cr3, s->root, 0, 0, 0, 0, 0);
		expect_fault("pdptes", "MOV CR3 with a reserved bit", bad ? 13 : 128, 0);
		/* the same bit of an entry that is not present is nothing */
		put(s, entry, 1ULL << i & ~1ULL);
		run((u32)s_mov_cr3, s->root, 0, 0, 0, 0, 0);
		expect_fault("pdptes", "MOV CR3, not present", 128, 0);
		put(s, entry, one);
		flush();
		got = *at(WINDOW);
		check(got == M_PAE, "pdptes", "afterwards", M_PAE, got);
	}
	leave_paging();
	done("pdptes");
}

/* What CPUID does not offer, and what long mode does not allow, is #GP and changes nothing. */
static void refusals(enum mode m)
{
	struct space *s = &spaces[m];
	u32 i, before, got;
	const struct {
		const char *what;
		u32 stub, value;
		bool is_long;
	} refused[] = {
		{ "LA57", (u32)s_mov_cr4, 1U << 12, false },
		{ "PCIDE", (u32)s_mov_cr4, 1U << 17, false },
		{ "a reserved bit of CR4", (u32)s_mov_cr4, 1U << 31, false },
		{ "PAE off in long mode", (u32)s_mov_cr4, CR4_PAE, true },
		{ "PG without PE", (u32)s_mov_cr0, CR0_PE, false },
		{ "NW without CD", (u32)s_mov_cr0, 1U << 29, false },
	};

	enter(s, 0);
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (refused[i].is_long && m != M_64)
			continue;
		before = refused[i].stub == (u32)s_mov_cr4 ? read_cr4() : read_cr0();
		run(refused[i].stub, before ^ refused[i].value, 0, 0, 0, 0, 0);
		expect_fault("refusals", refused[i].what, 13, 0);
		got = refused[i].stub == (u32)s_mov_cr4 ? read_cr4() : read_cr0();
		check(got == before, "refusals", refused[i].what, before, got);
	}
	leave_paging();
	done("refusals");
}

void test_modes(void)
{
	enum mode m;
	u32 i;

	for (m = M_32; m <= M_64; m++) {
		spaces[m] = new_space(m);
		data[m] = alloc_page();
		for (i = 0; i < 1024; i++)
			at(data[m])[i] = m;
		map(&spaces[m], WINDOW, data[m] | RWX);
	}
	cycle();
	toggle_pse();
	for (m = M_32; m <= M_64; m++) {
		toggle_bits(m);
		refusals(m);
	}
	pdptes();
}
