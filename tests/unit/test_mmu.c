// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow MMU against a model. A guest that edits its page tables by its
 * own accesses, flushes, changes modes; a host that takes pages away, reads
 * the dirty log, changes slots, runs short of memory. After each step the audit
 * runs. Each access goes through a model of the hardware (a TLB that is
 * flushed only when the MMU asks for it, and the shadow tree) and is judged by
 *
 *  - a reference walker, written from the manuals: what a fault must do;
 *  - the set of translations that a CPU could have cached since the guest's
 *    last flush: what the hardware may still allow;
 *  - the host's pages and the slots as they are now: no licence there.
 *
 * `test_mmu [STEPS [SEED]]`; the seed is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mmu_world.h"

#define MAX_GVAS     64
#define MAX_PREFIXES 24
#define MAX_TRIES    16 /* exits without progress */

/* Guest pages: 1 to 4 the tables of a direct map that is never edited, 10 to 27 tables. */
#define FIRST_TABLE  10U
#define LAST_TABLE   27U
#define LARGE_TABLES 4U /* more tables, from LARGE_GFN: within what may be one 2 MiB page */

static struct mmu_regs regs;
static unsigned long step;
static u64 seed;
static unsigned long counts[11];

_Noreturn void world_die(const char *what, u64 a, u64 b)
{
	printf("not ok: %s (%#llx, %#llx) at step %lu, seed %llu\n", what, (unsigned long long)a,
	       (unsigned long long)b, step, (unsigned long long)seed);
	abort();
}

#define rnd world_rnd

/* ---- the reference: AMD APM vol 2 chapter 5 and §8.4.2, read aloud ---- */

enum {
	OFF,
	P32,
	PAE,
	P64
};

static int mode(void)
{
	if (!(regs.cr0 >> 31 & 1))
		return OFF;
	if (!(regs.cr4 >> 5 & 1))
		return P32;
	return regs.efer >> 10 & 1 ? P64 : PAE;
}

static bool nxe(void)
{
	return regs.efer >> 11 & 1;
}

struct rights {
	bool w, u, x;
};

/* One entry: where it leads. */
struct step_to {
	bool present, reserved, leaf;
	u64 gpa; /* of the next table, or of the page */
};

static struct step_to read_entry(int level, u64 e)
{
	struct step_to s = { .present = e & 1 };
	int m = mode();

	if (m == P32) {
		s.gpa = e & 0xfffff000;
		if (level == 2 && (e & 0x80) && (regs.cr4 >> 4 & 1)) {
			s.leaf = true;
			s.reserved = e >> 21 & 1;
			s.gpa = (e & 0xffc00000) + ((e >> 13 & 0xff) << 32);
		}
	} else {
		s.gpa = e & 0xfffffff000;
		s.reserved = e >> 40 & 0xfff;
		if (m == PAE)
			s.reserved |= e >> 52 & 0x7ff;
		if (!nxe())
			s.reserved |= e >> 63;
		if (level == 4)
			s.reserved |= e >> 7 & (world.mmu.amd_format ? 3 : 1);
		if (level == 2 && (e & 0x80)) {
			s.leaf = true;
			s.reserved |= e >> 13 & 0xff;
			s.gpa = e & 0xffffe00000;
		}
		if (level == 3 && (e & 0x80)) {
			s.leaf = true;
			s.reserved |= e >> 13 & 0x1ffff;
			s.gpa = e & 0xffc0000000;
		}
	}
	s.leaf |= level == 1;
	return s;
}

static int top_level(void)
{
	return mode() == P64 ? 4 : 2;
}

static u32 entry_size(void)
{
	return mode() == P32 ? 4 : 8;
}

static int shift_of(int level)
{
	return mode() == P32 ? (level == 2 ? 22 : 12) : 12 + 9 * (level - 1);
}

static u64 entry_gpa(u64 table, u64 gva, int level)
{
	u64 index = gva >> shift_of(level) & (mode() == P32 ? 1023 : 511);

	return table + index * entry_size();
}

/* Where the walk of @gva starts. False: a PDPTE is not present. */
static bool top_table(u64 gva, u64 *table)
{
	u64 pdpte;

	switch (mode()) {
	case P64:
		*table = regs.cr3 & 0xfffffff000;
		return true;
	case PAE:
		pdpte = regs.pdpte[gva >> 30 & 3];
		*table = pdpte & 0xfffffff000;
		return pdpte & 1;
	default:
		*table = regs.cr3 & 0xfffff000;
		return true;
	}
}

static u8 *guest_memory(u64 gpa)
{
	int page = world_page_of_gfn(gpa >> 12);

	return page < 0 ? NULL : &world.mem[page][gpa & 4095];
}

static bool allowed(u32 access, struct rights r)
{
	bool smep = regs.cr4 >> 20 & 1, smap = regs.cr4 >> 21 & 1, wp = regs.cr0 >> 16 & 1;
	bool write = access & 2, user = access & 4, fetch = access & 16;

	if (mode() == OFF)
		return true;
	if (user && !r.u)
		return false;
	if (fetch && !r.x)
		return false;
	if (write && !r.w && (user || wp))
		return false;
	if (!user && r.u && fetch && smep)
		return false;
	return user || !r.u || fetch || !smap || (regs.cpl != 3 && (regs.rflags >> 18 & 1));
}

struct expected {
	enum mmu_status status;
	u32 pfec;
	u64 gpa;
	struct rights r;
	u64 path[5]; /* gpa of the guest entries used, top first */
	int depth;
};

static struct expected reference_walk(u64 gva, u32 access)
{
	struct expected x = { .status = MMU_OK, .r = { true, true, true } };
	bool smep = regs.cr4 >> 20 & 1, pae = regs.cr4 >> 5 & 1;
	u32 code = (access & 6) | ((access & 16) && ((nxe() && pae) || smep) ? 16 : 0);
	int level, i;
	u64 table;

	if (mode() == OFF) {
		x.gpa = gva;
		return x;
	}
	if (!top_table(gva, &table)) {
		x.status = MMU_INJECT;
		x.pfec = code;
		return x;
	}
	for (level = top_level();; level--) {
		u64 addr = entry_gpa(table, gva, level), e = 0;
		struct step_to s;

		if (!guest_memory(addr)) {
			x.status = MMU_EXIT;
			x.gpa = addr;
			return x;
		}
		memcpy(&e, guest_memory(addr), entry_size());
		s = read_entry(level, e);
		if (!s.present || s.reserved) {
			x.status = MMU_INJECT;
			x.pfec = code | (s.present ? 9 : 0);
			return x;
		}
		x.path[x.depth++] = addr;
		x.r.w &= e >> 1 & 1;
		x.r.u &= e >> 2 & 1;
		x.r.x &= !(e >> 63);
		table = s.gpa;
		if (s.leaf) {
			x.gpa = s.gpa + (gva & ((1ULL << shift_of(level)) - 1));
			break;
		}
	}
	if (!allowed(access, x.r)) {
		x.status = MMU_INJECT;
		x.pfec = code | 1;
		return x;
	}
	for (i = 0; i < x.depth; i++) { /* A and D that cannot be set */
		const struct world_slot *s = world_slot_of(x.path[i] >> 12);
		u64 need = 0x20 | (i == x.depth - 1 && (access & 2) ? 0x40 : 0), e = 0;

		memcpy(&e, guest_memory(x.path[i]), entry_size());
		if (s->readonly && (e & need) != need) {
			x.status = MMU_EXIT;
			x.gpa = x.path[i];
			return x;
		}
	}
	return x;
}

/* ---- what a CPU may have cached since the last flush ---- */

struct prefix {
	u64 table;
	struct rights r;
};

struct leaf {
	u64 gfn;	 /* of the 4 KiB page */
	u64 first, last; /* gvas that the guest's page covers */
	struct rights r;
	bool dirty;
};

static struct cached {
	u64 gva;
	u64 table_gfn;				 /* direct map: the page it reaches; else -1 */
	struct prefix prefixes[5][MAX_PREFIXES]; /* by level: tables that may be walked */
	int nr_prefixes[5];
	struct leaf leaves[MAX_PREFIXES];
	int nr_leaves;
	bool anything; /* more than fit: not judged until the next flush */
	struct {
		bool valid;
		u64 spte;
	} tlb;
} gvas[MAX_GVAS];
static int nr_gvas;
static unsigned long judged_by_page; /* accesses of which only the page was looked at */

static void add_prefix(struct cached *c, int level, struct prefix p)
{
	int i;

	for (i = 0; i < c->nr_prefixes[level]; i++)
		if (!memcmp(&c->prefixes[level][i], &p, sizeof(p)))
			return;
	if (c->nr_prefixes[level] == MAX_PREFIXES)
		c->anything = true;
	else
		c->prefixes[level][c->nr_prefixes[level]++] = p;
}

static void add_leaf(struct cached *c, struct leaf l)
{
	int i;

	for (i = 0; i < c->nr_leaves; i++)
		if (!memcmp(&c->leaves[i], &l, sizeof(l)))
			return;
	if (c->nr_leaves == MAX_PREFIXES)
		c->anything = true;
	else
		c->leaves[c->nr_leaves++] = l;
}

/* Takes in what could be cached from memory as it is now. */
static void learn(struct cached *c)
{
	struct prefix top;
	int level, i;

	memset(&top, 0, sizeof(top));
	top.r = (struct rights){ true, true, true };
	if (mode() == OFF) {
		struct leaf l;

		memset(&l, 0, sizeof(l));
		l = (struct leaf){ .gfn = c->gva >> 12,
				   .first = c->gva,
				   .last = c->gva + 4095,
				   .r = top.r,
				   .dirty = true };
		add_leaf(c, l);
		return;
	}
	if (top_table(c->gva, &top.table))
		add_prefix(c, top_level(), top);
	for (level = top_level(); level >= 1; level--) {
		for (i = 0; i < c->nr_prefixes[level]; i++) {
			struct prefix p = c->prefixes[level][i];
			u64 addr = entry_gpa(p.table, c->gva, level), e = 0, size;
			struct step_to s;
			struct leaf l;

			if (!guest_memory(addr))
				continue;
			memcpy(&e, guest_memory(addr), entry_size());
			s = read_entry(level, e);
			if (!s.present || s.reserved || !(e & 0x20))
				continue;
			p.table = s.gpa;
			p.r.w &= e >> 1 & 1;
			p.r.u &= e >> 2 & 1;
			p.r.x &= !(e >> 63);
			if (!s.leaf) {
				add_prefix(c, level - 1, p);
				continue;
			}
			size = 1ULL << shift_of(level);
			memset(&l, 0, sizeof(l));
			l.gfn = (s.gpa + (c->gva & (size - 1))) >> 12;
			l.first = c->gva & ~(size - 1);
			l.last = l.first + size - 1;
			l.r = p.r;
			l.dirty = e >> 6 & 1;
			add_leaf(c, l);
		}
	}
}

static void learn_all(void)
{
	int i;

	for (i = 0; i < nr_gvas; i++)
		learn(&gvas[i]);
}

static void forget(struct cached *c, bool leaves)
{
	memset(c->nr_prefixes, 0, sizeof(c->nr_prefixes));
	if (!leaves)
		return;
	c->nr_leaves = 0;
	c->anything = false;
}

static void forget_all(void)
{
	int i;

	for (i = 0; i < nr_gvas; i++)
		forget(&gvas[i], true);
	learn_all();
}

static void forget_page(u64 gva)
{
	int i, k;

	for (i = 0; i < nr_gvas; i++) {
		struct cached *c = &gvas[i];

		forget(c, c->gva == (gva & ~4095ULL));
		for (k = 0; k < c->nr_leaves;)
			if (c->leaves[k].first <= gva && gva <= c->leaves[k].last)
				c->leaves[k] = c->leaves[--c->nr_leaves];
			else
				k++;
	}
	learn_all();
}

/* ---- the hardware ---- */

static void enter(void)
{
	int i;

	if (!world.mmu.root && vmbox_mmu_load(&world.mmu, &regs))
		world_die("load", 0, 0);
	if (!world.mmu.flush_owed)
		return;
	world.mmu.flush_owed = false;
	for (i = 0; i < nr_gvas; i++)
		gvas[i].tlb.valid = false;
}

/* The leaf that the CPU finds, with the address of the 4 KiB page; 0: none. */
static u64 hardware_walk(u64 gva)
{
	struct mmu_sp *sp = world.mmu.root;

	if (sp->role.level == 3 && sp->hpa >> 32)
		world_die("CR3 of 32 bits cannot hold the root", sp->hpa, 0);
	for (;;) {
		int level = sp->role.level;
		u64 *entry = &sp->spt[gva >> (12 + 9 * (level - 1)) & 511], spte = *entry;

		if (!(spte & 1))
			return 0;
		if (level == 1 || (spte & 0x80))
			*entry |= PTE_A;
		if (level == 1)
			return spte;
		if (level == 2 && (spte & 0x80))
			return (spte & ~0x80ULL) + (gva & 0x1ff000);
		if (level > 2 && (spte & 0x80))
			world_die("large page at a level that has none", gva, spte);
		sp = mmu_env_page_owner(spte & 0xffffffffff000);
		if (!sp || sp->role.level != level - 1)
			world_die("the hardware walks into nothing", gva, spte);
	}
}

/* CR0.WP and EFER.NXE are on; SMEP and SMAP are the guest's if it has paging on. */
static bool hardware_allows(u64 spte, u32 access)
{
	bool u = spte & 4, smep = regs.cr4 >> 20 & 1, smap = regs.cr4 >> 21 & 1;

	if (!(spte & 1) || ((access & 2) && !(spte & 2)) || ((access & 16) && spte >> 63) ||
	    ((access & 4) && !u))
		return false;
	if ((access & 4) || !u || mode() == OFF)
		return true;
	if (access & 16)
		return !smep;
	return !smap || (regs.cpl != 3 && (regs.rflags >> 18 & 1));
}

/* The hardware lets the guest do it: was that right? Returns the gfn. */
static u64 judge(const struct cached *c, u32 access, u64 spte)
{
	bool wp = regs.cr0 >> 16 & 1, smap = regs.cr4 >> 21 & 1;
	u64 hpa = spte & 0xffffffffff000;
	int i;

	for (i = 0; i < c->nr_leaves; i++) {
		const struct leaf *l = &c->leaves[i];
		const struct world_slot *s = world_slot_of(l->gfn);
		int page = world_page_of_gfn(l->gfn);
		struct rights r = l->r;

		if (!wp && smap && r.u && !(access & 20)) /* see decisions.md: AC is not seen */
			r.u = false;
		if (page < 0 || world.host[page].hpa != hpa || !allowed(access, r))
			continue;
		if ((access & 2) && (!l->dirty || s->readonly || !world.host[page].writable))
			continue;
		return l->gfn;
	}
	if (c->anything) {
		u64 gfn;

		judged_by_page++;
		for (gfn = 0; gfn < 4096; gfn++)
			if (world_page_of_gfn(gfn) >= 0 &&
			    world.host[world_page_of_gfn(gfn)].hpa == hpa)
				return gfn;
	}
	world_die("the hardware allows what no cached translation does", c->gva, spte);
}

/* ---- accesses ---- */

static void store(u64 gfn, u32 offset, u64 val, u32 size)
{
	u64 gpa = gfn << 12 | offset;

	/* what the direct map hangs on */
	if (gfn < FIRST_TABLE || (gfn <= 11 && offset >= 0xff8) ||
	    ((gfn == 24 || gfn == 25) && offset >= 24 && offset < 32) ||
	    ((gfn == 26 || gfn == 27) && offset + size > 0xffc))
		return;
	memcpy(guest_memory(gpa), &val, size);
	learn_all();
}

static void check_accessed_dirty(const struct expected *x, u32 access)
{
	int i;

	for (i = 0; i < x->depth; i++) {
		u64 e = 0;

		memcpy(&e, guest_memory(x->path[i]), entry_size());
		if (!(e & 0x20))
			world_die("accessed bit not set", x->path[i], e);
		if (i == x->depth - 1 && (access & 2) && !(e & 0x40))
			world_die("dirty bit not set", x->path[i], e);
	}
}

/* A fault. True: try again. */
static bool fault(struct cached *c, u32 access)
{
	struct expected x = reference_walk(c->gva, access);
	u64 changes = world.changes;
	struct mmu_walk walk;
	enum mmu_status got;

	world.no_memory = !rnd(1000);
	world.steal = rnd(64) ? 0 : 1 + rnd(2);
	got = vmbox_mmu_fault(&world.mmu, &regs, (mmu_gva_t){ c->gva + rnd(4096) }, access, &walk);
	world.steal = 0;
	if (world.changes != changes)
		learn_all();
	if (world.no_memory && got == MMU_ERROR) {
		world.no_memory = false;
		return true;
	}
	world.no_memory = false;
	if (x.status == MMU_OK) {
		const struct world_slot *s = world_slot_of(x.gpa >> 12);

		if (!s || (s->readonly && (access & 2)))
			x.status = MMU_EXIT;
	}
	if (got != x.status)
		world_die("a fault's outcome", got, x.status);
	if (got == MMU_INJECT && walk.pfec != x.pfec)
		world_die("error code", walk.pfec, x.pfec);
	if (got == MMU_EXIT && walk.gpa.val >> 12 != x.gpa >> 12)
		world_die("address of the exit", walk.gpa.val, x.gpa);
	if (got != MMU_OK)
		return false;
	check_accessed_dirty(&x, access);
	return true;
}

/* An access as the hardware does it; true with the gfn if it was done. */
static bool access_page(struct cached *c, u32 access, u64 *gfn)
{
	int tries;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		u64 spte;

		enter();
		if (c->tlb.valid && hardware_allows(c->tlb.spte, access)) {
			spte = c->tlb.spte;
		} else {
			c->tlb.valid = false; /* a fault on an address drops its entry */
			spte = hardware_walk(c->gva);
		}
		if (spte && hardware_allows(spte, access)) {
			c->tlb.valid = true;
			c->tlb.spte = spte;
			*gfn = judge(c, access, spte);
			if (access & 2)
				world_note_write(*gfn);
			counts[0]++;
			return true;
		}
		if (!fault(c, access)) {
			counts[1]++;
			return false;
		}
	}
	world_die("no progress", c->gva, access);
}

static u64 random_entry(u64 gfn, bool large);
static u64 data_gfn(void);

/* One of the addresses; often the one of before, so that what is done meets what was done. */
static struct cached *pick_gva(void)
{
	static int last;

	if (last >= nr_gvas || !rnd(3))
		last = rnd(nr_gvas);
	return &gvas[last];
}

/* May the guest use it as a table? */
static bool is_table(u64 gfn)
{
	return (gfn >= FIRST_TABLE && gfn <= LAST_TABLE) ||
	       (gfn >= LARGE_GFN && gfn < LARGE_GFN + LARGE_TABLES);
}

static void do_access(void)
{
	static const u32 kinds[] = { 0, PFEC_WRITE, PFEC_FETCH };
	struct cached *c = pick_gva();
	u32 access = kinds[rnd(3)];
	u64 gfn;

	regs.cpl = rnd(2) ? 3 : 0;
	regs.rflags = rnd(2) << 18;
	if (regs.cpl == 3 && rnd(8))
		access |= PFEC_USER;
	if (access_page(c, access, &gfn) && (access & 2) && is_table(gfn) && rnd(2))
		store(gfn, (gvas[rnd(nr_gvas)].gva >> 12 & 511) * 8,
		      random_entry(data_gfn(), false), 8);
}

/* ---- edits of tables, through the direct map ---- */

/* Bits of an entry that mean something in most modes. */
static const u64 usual_bits[] = { PTE_P, PTE_W, PTE_U, PTE_A, PTE_D, PTE_PS, PTE_NX };

static u64 random_entry(u64 gfn, bool large)
{
	static const u64 flags[] = { PTE_W, PTE_U, PTE_A, PTE_D, PTE_G };
	u64 e = gfn << 12 | (rnd(16) ? PTE_P : 0), i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (rnd(4))
			e |= flags[i];
	if (world.mmu.amd_format && rnd(8)) /* or few upper entries would be good */
		e &= ~PTE_G;
	if (!rnd(8))
		e |= PTE_NX;
	if (!rnd(64))
		e ^= 1ULL << rnd(64);
	return e | (large ? PTE_PS : 0);
}

static u64 data_gfn(void)
{
	switch (rnd(8)) {
	case 0:
		return FIRST_TABLE + rnd(LAST_TABLE - FIRST_TABLE + 1); /* a table as data */
	case 1:
	case 2:
		return LARGE_GFN + rnd(rnd(2) ? LARGE_TABLES : NR_LARGE + 16);
	default:
		return 28 + rnd(NR_SMALL - 28 + 4); /* some are in no slot */
	}
}

/* A table of the given level, in the mode in force. */
static u64 table_gfn(int level)
{
	if (!rnd(32))
		return FIRST_TABLE + rnd(LAST_TABLE - FIRST_TABLE + 1);
	if (!rnd(16))
		return LARGE_GFN + rnd(LARGE_TABLES);
	switch (level) {
	case 4:
		return 10 + rnd(2);
	case 3:
		return mode() == PAE ? 24 + rnd(2) : 12 + rnd(2);
	case 2:
		return mode() == P32 ? 26 + rnd(2) : 14 + rnd(3);
	default:
		return 17 + rnd(6);
	}
}

/* The guest writes @e to @table, if the direct map has it. */
static void write_table(u64 table, u32 offset, u64 e, u32 size)
{
	u64 gfn;
	int i;

	for (i = 0; i < nr_gvas; i++) {
		if (gvas[i].table_gfn != table)
			continue;
		regs.cpl = 0;
		if (access_page(&gvas[i], PFEC_WRITE, &gfn) && gfn == table)
			store(gfn, offset, e, size);
		else
			world_die("the direct map is gone", gvas[i].gva, table);
	}
	counts[2]++;
}

static void edit(u64 table, u64 index, u64 e)
{
	write_table(table, index * entry_size(), e, entry_size());
}

/* PDPTEs that cannot be loaded would keep PAE from being met again. */
static void repair_pdptes(u64 table)
{
	u32 i;

	for (i = 0; i < 3; i++)
		write_table(table, i * 8, (14 + rnd(3)) << 12 | PTE_P, 8);
}

static void do_edit(void)
{
	const struct cached *at = pick_gva();
	int level = 1 + rnd(mode() == P64 ? 4 : mode() == PAE ? 3 : 2);
	bool pdpt = mode() == PAE && level == 3;
	u64 table = table_gfn(level), index, e;

	if (pdpt) {
		index = rnd(2) ? at->gva >> 30 & 3 : rnd(3);
		e = table_gfn(2) << 12 | (rnd(16) ? 1 : 0) | (rnd(64) ? 0 : 1ULL << rnd(64));
	} else {
		index = at->gva >> shift_of(level) & (mode() == P32 ? 1023 : 511);
		if (level == 1)
			e = random_entry(data_gfn(), false);
		else if (level < 4 && mode() != OFF && !rnd(4))
			e = random_entry(level == 3	 ? 0
					 : mode() == P32 ? rnd(2) << 10
							 : rnd(4) << 9,
					 true);
		else
			e = random_entry(table_gfn(level - 1), false);
	}
	if (!pdpt && !rnd(3) && table < NR_SMALL) { /* or one bit of what is there */
		e = 0;
		memcpy(&e, &world.mem[table][index * entry_size()], entry_size());
		e ^= rnd(4) ? usual_bits[rnd(7)] : 1ULL << rnd(64);
	}
	edit(table, index, e);
}

/* Makes the upper levels for @gva allow everything: the table of level 2, or 0. */
static u64 build_path(u64 gva)
{
	const u64 flags = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	u64 pdpte = regs.pdpte[gva >> 30 & 3];

	switch (mode()) {
	case P64:
		edit(regs.cr3 >> 12, gva >> 39 & 511, 12 << 12 | flags);
		edit(12, gva >> 30 & 511, 14 << 12 | flags);
		return 14;
	case PAE:
		return pdpte & PTE_P ? pdpte >> 12 : 0;
	case P32:
		return regs.cr3 >> 12;
	}
	return 0;
}

static bool load_cr3(struct mmu_regs *r);

/*
 * A table that is cached and changed, and then appears at a second address: what was never
 * cached there needs no flush. Random steps meet this too rarely, and seldom have tables that
 * lead anywhere; these do.
 */
static void do_alias(void)
{
	/* of each of the six ranges of addresses, two neighbours */
	struct cached *a = &gvas[rnd(6) * 4 + rnd(3)], *b = &gvas[rnd(6) * 4 + (a - gvas) % 4];
	u64 table = 17 + rnd(6), pd_a = build_path(a->gva), pd_b = build_path(b->gva), gfn;
	u64 e = table << 12 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D, size = entry_size();
	struct mmu_regs r = regs;
	u64 pde_a, pde_b, index, one_bit = 0;

	if (!pd_a || !pd_b)
		return;
	pde_a = entry_gpa(pd_a << 12, a->gva, 2);
	pde_b = entry_gpa(pd_b << 12, b->gva, 2);
	index = entry_gpa(0, a->gva, 1) / size;
	if ((index + 1) * size == 4096) /* the neighbour is in another table */
		return;
	edit(pde_b >> 12, pde_b % 4096 / size, 0);
	edit(pde_a >> 12, pde_a % 4096 / size, e);
	edit(table, index, random_entry(data_gfn(), false));
	edit(table, index + 1, random_entry(data_gfn(), false));
	if (!load_cr3(&r))
		return;
	regs = r;
	vmbox_mmu_flush(&world.mmu);
	forget_all();
	access_page(a, 0, &gfn);
	access_page(a + 1, rnd(2) ? PFEC_WRITE : 0, &gfn);
	memcpy(&one_bit, guest_memory((table << 12) + index * size), size);
	edit(table, index, one_bit ^ 1ULL << rnd(8 * size)); /* on a path that is good */
	access_page(a, rnd(2) ? PFEC_WRITE : 0, &gfn);
	if (entry_gpa(0, b->gva, 1) / size != index || pde_a == pde_b)
		return;
	edit(table, index + 1, random_entry(data_gfn(), false));
	edit(pde_b >> 12, pde_b % 4096 / size, e);
	access_page(b, 0, &gfn);
	access_page(b + 1, 0, &gfn);
	counts[9]++;
}

/* ---- flushes and changes of mode ---- */

/* A page that is written; one bit of the entry above or of the large page; a flush; the page again. */
static void do_one_bit(void)
{
	struct cached *c = pick_gva();
	u64 flags = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D, pd = build_path(c->gva), index, e, gfn;
	struct mmu_regs r = regs;

	if (!pd)
		return;
	index = entry_gpa(0, c->gva, 2) / entry_size();
	if (rnd(2))
		e = (mode() == P32 ? rnd(2) << 10 : rnd(4) << 9) << 12 | flags | PTE_PS;
	else
		e = (17 + rnd(6)) << 12 | flags;
	edit(pd, index, e);
	if (!load_cr3(&r))
		return;
	regs = r;
	vmbox_mmu_flush(&world.mmu);
	forget_all();
	access_page(c, PFEC_WRITE, &gfn);
	edit(pd, index, e ^ usual_bits[rnd(7)]);
	if (rnd(2)) {
		vmbox_mmu_flush_page(&world.mmu, (mmu_gva_t){ c->gva });
		forget_page(c->gva);
	} else {
		vmbox_mmu_flush(&world.mmu);
		forget_all();
	}
	access_page(c, rnd(2) ? PFEC_WRITE : 0, &gfn);
	access_page(c, PFEC_WRITE, &gfn);
	counts[10]++;
}

static void add_gva(u64 gva, u64 table)
{
	gvas[nr_gvas++] = (struct cached){ .gva = gva, .table_gfn = table };
}

static void choose_gvas(void)
{
	static const u64 bases64[] = {
		0, 0x1fe000, 0x40000000, 0x7fffffe00000, 0xffff800000000000, 0xffff900000200000
	};
	static const u64 bases32[] = { 0, 0x1fe000, 0x3fe000, 0x40000000, 0x80200000, 0xbfffc000 };
	u64 i, k, dm = mode() == P64 ? 0xffffff8000000000 : mode() == PAE ? 0xc0000000 : 0xffc00000;

	nr_gvas = 0;
	for (i = 0; i < 6; i++)
		for (k = 0; k < 4; k++)
			add_gva((mode() == P64 ? bases64[i] : bases32[i]) + k * 4096, -1ULL);
	for (i = FIRST_TABLE; i <= LAST_TABLE; i++)
		add_gva((mode() == OFF ? 0 : dm) + i * 4096, i);
	for (i = 0; i < 4; i++)
		if (mode() == OFF)
			add_gva((LARGE_GFN + 300 * i) << 12, -1ULL);
}

/* MOV to CR3: also a flush when it is the same. False: #GP. */
static bool load_cr3(struct mmu_regs *r)
{
	int i;

	if ((r->cr0 >> 31) && (r->cr4 >> 5 & 1) && !(r->efer >> 10 & 1))
		for (i = 0; i < 4; i++) {
			memcpy(&r->pdpte[i], guest_memory(r->cr3 + i * 8), 8);
			if ((r->pdpte[i] & 1) && (r->pdpte[i] & 0xffffff00000001e6))
				return false;
		}
	return true;
}

static void do_mode(void)
{
	struct mmu_regs r = regs;
	int old = mode();

	if (!rnd(4)) { /* another mode */
		u64 to = rnd(10);

		r.cr0 = (r.cr0 & 0x10001) | (to ? 1ULL << 31 : 0);
		r.cr4 = (r.cr4 & ~0x20ULL) | (to > 3 ? 0x20 : 0);
		r.efer = (r.efer & ~0x400ULL) | (to > 6 ? 0x400 : 0);
	}
	switch (rnd(6)) {
	case 0:
		r.cr0 ^= 1 << 16;
		break;
	case 1:
		r.cr4 ^= 1 << 20;
		break;
	case 2:
		r.cr4 ^= 1 << 21;
		break;
	case 3:
		r.cr4 ^= rnd(2) ? 1 << 4 : 1 << 7;
		break;
	case 4:
		r.efer ^= 1 << 11;
		break;
	}
	r.cr3 = ((r.efer & 0x400 ? 10 : r.cr4 & 0x20 ? 24 : 26) + rnd(2)) << 12;
	if (!load_cr3(&r)) {
		repair_pdptes(r.cr3 >> 12);
		return;
	}
	regs = r;
	vmbox_mmu_flush(&world.mmu);
	if (mode() != old) {
		choose_gvas();
		world.mmu.flush_owed = true; /* another tree: vmbox_mmu_load() asks for it, too */
	}
	forget_all();
	counts[3]++;
}

/* What the guest emptied is a table no more: its shadow goes with the flush that finds it so. */
static void check_no_empty_tables(void)
{
	const struct mmu_sp *sp;
	int i;

	list_for_each_entry(sp, &world.mmu.unsync, unsync) {
		for (i = 0; i < 512 && !sp->spt[i]; i++)
			;
		if (sp->role.level == 1 && i == 512)
			world_die("an empty table is still shadowed after a flush", sp->gfn, 0);
	}
}

static void do_flush(void)
{
	struct mmu_regs r = regs;

	if (rnd(4))
		r.cr3 ^= 1 << 12;
	if (!load_cr3(&r))
		return;
	regs = r;
	vmbox_mmu_flush(&world.mmu);
	check_no_empty_tables();
	forget_all();
	counts[4]++;
}

static void do_invlpg(void)
{
	u64 gva = pick_gva()->gva + rnd(4096);

	if (!rnd(4)) /* another page of a large one, perhaps */
		gva ^= rnd(512) << 12;
	vmbox_mmu_flush_page(&world.mmu, (mmu_gva_t){ gva });
	forget_page(gva);
	counts[5]++;
}

/* ---- the host ---- */

/* What the CPU has just used is young; and once that is cleared, no more. */
static void check_young(void)
{
	struct cached *c = pick_gva();
	bool first, second;
	u64 gfn, hva;
	int page;

	if (!access_page(c, 0, &gfn))
		return;
	page = world_page_of_gfn(gfn);
	hva = page < (int)NR_SMALL ? HVA_SMALL + page * 4096
				   : HVA_LARGE + (page - NR_SMALL) * 4096ULL;
	mmu_env_lock(&world);
	first = vmbox_mmu_age(&world.mmu, hva, hva + 4096, false) &&
		vmbox_mmu_age(&world.mmu, hva, hva + 4096, true);
	second = vmbox_mmu_age(&world.mmu, hva, hva + 4096, false);
	mmu_env_unlock(&world);
	if (!first || second)
		world_die("young: at first, once cleared", first, second);
}

static void do_host(void)
{
	u32 page = rnd(4) ? rnd(NR_SMALL) : rnd(NR_PAGES);

	switch (rnd(8)) {
	case 0:
		world_make_large(rnd(2));
		break;
	case 1: /* becomes shared: KSM, fork */
		world_unmap(page < NR_SMALL ? HVA_SMALL + page * 4096
					    : HVA_LARGE + (page - NR_SMALL) * 4096ULL,
			    1);
		world.host[page].writable = false;
		break;
	case 2:
		mmu_env_lock(&world);
		vmbox_mmu_age(&world.mmu, HVA_SMALL, HVA_SMALL + rnd(NR_SMALL) * 4096, rnd(2));
		mmu_env_unlock(&world);
		check_young();
		break;
	case 3:
		mmu_env_lock(&world);
		vmbox_mmu_reclaim(&world.mmu, rnd(8));
		mmu_env_unlock(&world);
		vmbox_mmu_collect(&world.mmu);
		break;
	case 4:
		if (!rnd(16))
			world_unmap(HVA_SMALL, NR_SMALL);
		break;
	default:
		world_renew(page);
	}
	counts[6]++;
}

static void do_dirty_log(void)
{
	unsigned long bitmap[NR_LARGE / 64];
	u32 id = rnd(2), i;

	if (!world.slot[id].logged || !world.slot[id].npages)
		return;
	mmu_env_lock(&world);
	vmbox_mmu_get_dirty(&world.mmu, id, bitmap);
	mmu_env_unlock(&world);
	vmbox_mmu_collect(&world.mmu);
	for (i = 0; i < world.slot[id].npages; i++) {
		if (test_bit(i, bitmap) != world.dirty[id][i])
			world_die("dirty log: page, reported", i, test_bit(i, bitmap));
		world.dirty[id][i] = false;
	}
	counts[7]++;
}

static void do_slot(void)
{
	struct world_slot s = world.slot[rnd(2)];

	if (s.hva == HVA_LARGE || !s.npages) {
		s = (struct world_slot){ .gfn = rnd(4) ? LARGE_GFN : 2048,
					 .npages = rnd(8) ? NR_LARGE : 0,
					 .hva = HVA_LARGE,
					 .readonly = !rnd(4),
					 .logged = rnd(2) };
		if (!rnd(8))
			s.npages -= s.npages / 3;
		world_set_slot(1, &s);
	} else {
		s.logged = rnd(2);
		world_set_slot(0, &s);
	}
	learn_all();
	counts[8]++;
}

/* ---- */

static void put64(u64 gfn, u64 index, u64 e)
{
	memcpy(&world.mem[gfn][index * 8], &e, 8);
}

static void put32(u64 gfn, u64 index, u32 e)
{
	memcpy(&world.mem[gfn][index * 4], &e, 4);
}

/* Maps gfns 0 to 63 at a fixed place in each mode, for the supervisor. */
static void make_direct_map(void)
{
	u64 i, f = PTE_P | PTE_W | PTE_A | PTE_D;

	for (i = 0; i < 2; i++) {
		put64(10 + i, 511, 1 << 12 | f);
		put64(24 + i, 3, 2 << 12 | PTE_P);
		put32(26 + i, 1023, 4 << 12 | f);
	}
	put64(1, 0, 2 << 12 | f);
	put64(2, 0, 3 << 12 | f);
	for (i = 0; i < NR_SMALL; i++) {
		put64(3, i, i << 12 | f);
		put32(4, i, i << 12 | f);
	}
}

static void audit(void)
{
	const char *bad;
	u64 detail;

	mmu_env_lock(&world);
	bad = vmbox_mmu_audit(&world.mmu, &regs, &detail);
	mmu_env_unlock(&world);
	if (bad)
		world_die(bad, detail, 0);
}

int main(int argc, char **argv)
{
	unsigned long steps = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000000;
	u32 i;

	getrandom(&seed, sizeof(seed), 0);
	if (argc > 2 && strcmp(argv[2], "random"))
		seed = strtoull(argv[2], NULL, 0);
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("test_mmu: %lu steps, seed %llu\n", steps, (unsigned long long)seed);
	world_seed(seed);
	world_init();
	world.mmu.max_pages = VMBOX_MMU_MIN_PAGES; /* so that the quota is met often */
	world.mmu.large_may_exec = seed & 1;
	world.mmu.amd_format = seed & 2;
	make_direct_map();
	for (i = 0; i < 6; i++) /* PDPTEs that can be loaded, to begin with */
		put64(24 + i / 3, i % 3, (14 + i % 3) << 12 | PTE_P);
	regs = (struct mmu_regs){ .cr0 = 0x80010001, .cr3 = 10 << 12, .cr4 = 0xa0, .efer = 0xd00 };
	choose_gvas();
	forget_all();
	for (i = 0; i < 100; i++)
		do_edit();

	for (step = 0; step < steps; step++) {
		u64 what = rnd(1000);

		if (what < 150)
			do_edit();
		else if (what < 210)
			do_flush();
		else if (what < 270)
			do_invlpg();
		else if (what < 285)
			do_mode();
		else if (what < 315)
			do_host();
		else if (what < 325)
			do_dirty_log();
		else if (what < 328)
			do_slot();
		else if (what < 338)
			do_alias();
		else if (what < 348)
			do_one_bit();
		else
			do_access();
		audit();
		if (world.pages_held)
			world_die("a page is held", world.pages_held, 0);
	}
	printf("judged by the page alone: %lu of %lu accesses\n", judged_by_page, counts[0]);
	if (judged_by_page > counts[0] / 10000)
		world_die("too few accesses are judged: MAX_PREFIXES is too small", judged_by_page,
			  counts[0]);
	printf("accesses %lu, exits %lu, edits %lu, modes %lu, flushes %lu, invlpg %lu, host %lu, "
	       "logs %lu, slots %lu, aliases %lu, bits %lu\n",
	       counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6],
	       counts[7], counts[8], counts[9], counts[10]);
#define SHOW(name) printf(#name " %llu, ", (unsigned long long)world.mmu.stats[MMU_STAT_##name]);
	VMBOX_MMU_STATS(SHOW)
	world_fini();
	puts("\nok");
	return 0;
}
