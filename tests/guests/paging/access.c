// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access rights. Each case draws entries for every level, control bits and an access; makes it;
 * and compares what happened with a plain reading of AMD APM vol 2 §5.3 to §5.6 and §8.4.2.
 * "cases=N": how many a mode; "kinds=N" (1 to 12): see each_level().
 */
#include "guest.h"

enum {
	READ,
	WRITE,
	FETCH
};

struct kase {
	bool wp, nxe, smep, smap, ac, pse;
	u32 access;
	bool user;
	u32 high;     /* of the address */
	u64 entry[5]; /* by level */
};

#define DATA_WORD 0x12345678U

static struct space s;
static u32 table[5]; /* by level: the address of the entry used; long mode's level 4 moves */
static u32 phys_bits;

static bool one_in(u32 n)
{
	return random32() % n == 0;
}

static bool can_be_large(const struct kase *k, int level)
{
	if (s.mode == M_32)
		return level == 2 && k->pse;
	return level == 2 || (level == 3 && s.mode == M_64);
}

/* Does @bit have to be 0 in an entry of this kind? */
static bool is_reserved(const struct kase *k, int level, bool large, u32 bit)
{
	static const u32 shift[] = { 0, 12, 21, 30, 39 };

	if (s.mode == M_32)
		return large && bit == 21; /* PSE-36 with 40 address bits: 13 to 20 are address */
	if (bit == 63)
		return !k->nxe;
	if (bit >= 52)
		return s.mode == M_PAE;
	if (bit >= phys_bits)
		return true;
	if (bit == 7)
		return level == 4;
	if (bit == 8) /* AMD APM vol 2 §5.3.3; Intel ignores it */
		return level == 4 && is_amd();
	return large && bit > 12 && bit < shift[level];
}

static u64 draw_entry(const struct kase *k, int level, u32 pointed_to)
{
	u64 e = pointed_to;
	u32 bits = random32(), bit;
	bool large;

	e |= (one_in(16) ? 0 : P) | (one_in(4) ? 0 : W) | (one_in(4) ? 0 : U);
	e |= bits & (A | 0xe00); /* and the bits that are the guest's own */
	if (!option("qemu", 0))	 /* which does not know of it */
		e |= one_in(8) ? G : 0;
	if (level > 1)
		e |= one_in(level == 4 ? 32 : 4) ? PS : 0;
	if (s.mode == M_32 && !k->pse && level == 2)
		e |= bits & PS;
	large = (e & PS) && can_be_large(k, level);
	if (large)
		e = (e & 0xfff) | (level == 3 ? 0 : BIG);
	if (level == 1 || large || (bits & 1))
		e |= bits & D;
	if (s.mode == M_32) {
		if (large && one_in(24))
			e |= 1U << 21;
		return e;
	}
	e |= one_in(4) && (k->nxe || one_in(8)) ? NX : 0;
	if (s.mode == M_64)
		e |= (u64)(random32() & 0x7ff) << 52;
	if (one_in(24)) {
		bit = 12 + random32() % 51;
		if (is_reserved(k, level, large, bit))
			e |= 1ULL << bit;
	}
	return e;
}

/* The vector, 14 or 128; for 14 the error code; else the level of the leaf. */
static u32 expect(const struct kase *k, u32 *error, int *leaf)
{
	bool w = true, u = true, x = true, large, good;
	int level = top_level(&s);
	u32 bit;

	*error = (k->access == WRITE ? 2 : 0) | (k->user ? 4 : 0);
	if (k->access == FETCH && ((k->nxe && s.mode != M_32) || k->smep))
		*error |= 16;
	for (;; level--) {
		u64 e = k->entry[level];

		if (!(e & P))
			return 14;
		if (s.mode == M_PAE && level == 3)
			continue;
		large = (e & PS) && can_be_large(k, level);
		for (bit = 0; bit < 64; bit++) {
			if ((e >> bit & 1) && is_reserved(k, level, large, bit)) {
				*error |= option("qemu", 0) ? 8 : 9;
				return 14;
			}
		}
		w &= !!(e & W);
		u &= !!(e & U);
		x &= !(e & NX);
		if (level == 1 || large)
			break;
	}
	*leaf = level;
	if (k->user)
		good = u && (k->access != WRITE || w) && (k->access != FETCH || x);
	else if (k->access == FETCH)
		good = x && !(u && k->smep);
	else
		good = !(u && k->smap && !k->ac) && (k->access != WRITE || w || !k->wp);
	*error |= 1;
	return good ? 128 : 14;
}

static void set_controls(const struct kase *k)
{
	u32 cr4 = read_cr4() & ~(CR4_PSE | CR4_SMEP | CR4_SMAP);

	write_cr0((read_cr0() & ~CR0_WP) | (k->wp ? CR0_WP : 0));
	write_cr4(cr4 | (k->pse ? CR4_PSE : 0) | (k->smep ? CR4_SMEP : 0) |
		  (k->smap ? CR4_SMAP : 0));
	if (s.mode != M_32)
		write_efer(k->nxe ? EFER_NXE : 0, k->nxe ? 0 : EFER_NXE);
}

static void describe(const struct kase *k)
{
	int level;

	print("# wp %u nxe %u smep %u smap %u ac %u pse %u %s %s high %x", k->wp, k->nxe, k->smep,
	      k->smap, k->ac, k->pse, k->user ? "user" : "supervisor",
	      k->access == READ	   ? "read"
	      : k->access == WRITE ? "write"
				   : "fetch",
	      k->high);
	for (level = top_level(&s); level; level--)
		print(" %X", k->entry[level]);
	print("\n");
}

static const u8 *const accesses[2][3] = { { kernel_read, kernel_write, kernel_fetch },
					  { user_read, user_write, user_fetch } };

static bool compare(const struct kase *k, const char *name, u32 va)
{
	int level, leaf = 0;
	u32 error, vector = expect(k, &error, &leaf);
	u64 e, want, cr2 = (u64)k->high << 32 | va;
	bool good;

	good = check(fault_vector == vector, name, "the vector", vector, fault_vector);
	if (good && vector == 14) {
		good = check(fault_error == error, name, "the error code", error, fault_error);
		good &= check(fault_cr2 == cr2, name, "CR2", cr2, fault_cr2);
	}
	if (good && vector == 128 && k->access == READ)
		good = check(fault_eax == DATA_WORD, name, "the word read", DATA_WORD, fault_eax);
	want = vector == 128 && k->access == WRITE ? ~DATA_WORD : DATA_WORD;
	good &= check(*at(BIG + 16) == (u32)want, name, "the word in memory", (u32)want,
		      *at(BIG + 16));
	for (level = s.mode == M_PAE ? 2 : top_level(&s); level >= 1 && level >= leaf; level--) {
		e = get(&s, table[level]);
		want = k->entry[level];
		if (vector == 128)
			want |= A | (level == leaf && k->access == WRITE ? D : 0);
		else
			e = (e & ~(u64)A) | (want & A); /* may be set or not */
		good &= check(e == want, name, "an entry, after", want, e);
	}
	return good;
}

static void run_case(const struct kase *k, const char *name)
{
	u32 va = WINDOW + (k->access == FETCH ? 0 : 16), flags = 2 | (k->ac ? FLAG_AC : 0);
	int level;

	if (s.mode == M_64)
		table[4] = entry_at(&s, (u64)k->high << 32 | WINDOW, 4);
	for (level = 1; level <= top_level(&s); level++)
		put(&s, table[level], k->entry[level]);
	*at(BIG + 16) = DATA_WORD;
	flush();
	if (s.mode == M_64)
		try64((u32)accesses[k->user][k->access], va, ~DATA_WORD, k->user, flags, k->high);
	else
		try((u32)accesses[k->user][k->access], va, ~DATA_WORD, k->user, flags);
	if (!compare(k, name, va))
		describe(k);
	if (s.mode == M_64)
		put(&s, table[4], 0);
}

static void draw_controls(struct kase *k)
{
	u32 bits = random32();

	k->wp = bits & 1;
	k->nxe = s.mode != M_32 && !(bits >> 1 & 1);
	k->smep = (bits >> 2 & 1) && has_smep();
	k->smap = (bits >> 3 & 1) && has_smap();
	k->pse = s.mode == M_32 && (bits >> 4 & 1);
	set_controls(k);
}

static void random_cases(u32 n, const char *name)
{
	static const u32 highs[] = { 0x80, 0x7f80, 0xffff8000, 0xffffff80 };
	struct kase k = { 0 };
	u32 i;
	int level;

	for (i = 0; i < n; i++) {
		if (i % 16 == 0)
			draw_controls(&k);
		k.ac = random32() & 1;
		k.user = random32() & 1;
		k.access = random32() % 3;
		k.high = s.mode == M_64 ? highs[random32() & 3] : 0;
		for (level = 1; level <= top_level(&s); level++)
			k.entry[level] = draw_entry(&k, level,
						    level == 1 ? BIG : table[level - 1] & ~0xfffU);
		if (s.mode == M_PAE)
			k.entry[3] = (table[2] & ~0xfffU) | (one_in(16) ? 0 : P);
		run_case(&k, name);
	}
}

/* Entry @bits of @level: P, W, U, A, D, PS and NX, numbered so that they can be counted through. */
static u64 numbered_entry(const struct kase *k, int level, u32 bits)
{
	u64 e = (bits & 1 ? P : 0) | (bits & 2 ? W : 0) | (bits & 4 ? U : 0) | (bits & 8 ? A : 0) |
		(bits & 16 ? D : 0);
	bool large = (bits & 32) && can_be_large(k, level);

	if ((bits & 32) && level > 1) /* level 1 has PAT there */
		e |= PS;
	if ((bits & 64) && s.mode != M_32)
		e |= NX;
	if (level == 1 || (large && level == 2))
		return e | BIG;
	return large ? e : e | (table[level - 1] & ~0xfffU);
}

/*
 * Every combination of bits at each level in turn, the others allowing all, with every combination
 * of control bits; of the 12 kinds of access, @n for each, others each time.
 */
static void each_level(u32 n, const char *name)
{
	struct kase k = { 0 };
	u32 controls, bits, i, kind = 0;
	int level, l;

	for (controls = 0; controls < 32; controls++) {
		k.wp = controls & 1;
		k.smep = (controls & 2) && has_smep();
		k.smap = (controls & 4) && has_smap();
		k.nxe = s.mode != M_32 && (controls & 8);
		k.pse = s.mode == M_32 && (controls & 8);
		k.high = s.mode == M_64 ? (controls & 16 ? 0xffffff80 : 0x80) : 0;
		set_controls(&k);
		for (level = s.mode == M_PAE ? 2 : top_level(&s); level; level--) {
			for (bits = 0; bits < (s.mode == M_32 ? 64 : 128); bits++) {
				for (l = 1; l <= top_level(&s); l++)
					k.entry[l] = numbered_entry(&k, l, l == level ? bits : 7);
				if (s.mode == M_PAE)
					k.entry[3] = (table[2] & ~0xfffU) | P;
				for (i = 0; i < n; i++, kind += 5) { /* 5 and 12 are coprime */
					k.ac = kind & 1;
					k.user = kind & 2;
					k.access = kind / 4 % 3;
					run_case(&k, name);
				}
			}
		}
	}
}

void test_access(void)
{
	u32 n = 2000, kinds = 1;
	int level;

	option("cases", &n);
	option("kinds", &kinds);
	phys_bits = max_phys_bits();
	*at(BIG) = 0x80cd; /* INT 0x80 */
	for (s.mode = M_32; s.mode <= M_64; s.mode++) {
		alloc_reset();
		s = new_space(s.mode);
		if (s.mode == M_64)
			for (level = 3; level; level--)
				table[level] = alloc_page() + (level == 3   ? 8
							       : level == 2 ? 32
									    : 0);
		else
			for (level = top_level(&s); level; level--)
				table[level] = entry_at(&s, WINDOW, level);
		enter(&s, 0);
		random_cases(n, "access_random");
		each_level(kinds, "access_each_level");
		leave_paging();
		done("access");
	}
}
