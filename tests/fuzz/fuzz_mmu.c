// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fault path and all that shares its state: the input is a program of
 * accesses, edits of tables, flushes, changes of registers and host events. The
 * audit follows every step; an access makes progress or gets its fault.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/mmu_world.h"

#define MAX_TRIES 16

_Noreturn void world_die(const char *what, u64 a, u64 b)
{
	fprintf(stderr, "%s (%#llx, %#llx)\n", what, (unsigned long long)a, (unsigned long long)b);
	abort();
}

struct op {
	u8 what;
	u8 flags;
	u8 table; /* of an edit: gfn; of an access: bits 12 to 19 of the address */
	u8 index;
	u32 low;
	u32 high;
} __attribute__((packed));

static struct mmu_regs regs;

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

/* The hardware's walk: does the shadow tree allow it? CR0.WP is on; SMEP and SMAP do not matter. */
static bool allowed(u64 gva, u32 access)
{
	struct mmu_sp *sp = world.mmu.root;
	u64 spte;

	for (;; sp = mmu_env_page_owner(spte & PTE_ADDR)) {
		spte = sp->spt[gva >> (12 + 9 * (sp->role.level - 1)) & 511];
		if (!spte)
			return false;
		if (sp->role.level == 1 || (spte & PTE_PS))
			break;
	}
	return (!(access & PFEC_WRITE) || (spte & PTE_W)) &&
	       (!(access & PFEC_USER) || (spte & PTE_U)) &&
	       (!(access & PFEC_FETCH) || !(spte & PTE_NX));
}

static void do_access(const struct op *op)
{
	u64 gva = (u64)op->high << 32 | (op->low & 0xfff00fff) | op->table << 12;
	u32 access = op->flags & (PFEC_WRITE | PFEC_USER | PFEC_FETCH);
	struct mmu_walk walk;
	int tries;

	regs.cpl = op->flags & 1 ? 3 : 0;
	regs.rflags = op->flags & 0x20 ? RFLAGS_AC : 0;
	if (vmbox_mmu_mode(&regs) == MMU_64)
		gva = (u64)((s64)(gva << 16) >> 16);
	else
		gva = (u32)gva;
	for (tries = 0; tries < MAX_TRIES; tries++) {
		if (!world.mmu.root && vmbox_mmu_load(&world.mmu, &regs))
			world_die("load", 0, 0);
		if (vmbox_mmu_fault(&world.mmu, &regs, (mmu_gva_t){ gva }, access, &walk) != MMU_OK)
			return;
		if (world.mmu.root && allowed(gva, access))
			return;
	}
	world_die("no progress", gva, access);
}

/* A guest writes where the MMU lets it: not where a table is protected, but by a fault. */
static void do_edit(const struct op *op)
{
	u64 gfn = op->table % NR_SMALL, e = (u64)op->high << 32 | op->low;
	struct mmu_gfn *info = &world.mmu.slots[0].gfns[gfn];

	if (info->is_protected) {
		mmu_env_lock(&world);
		vmbox_gfn_unsync(&world.mmu, gfn);
		mmu_env_unlock(&world);
	}
	if (op->flags & 1) /* stay within what is there, most times */
		e = (e & 0xf67) | (u64)(op->low >> 16) % (NR_SMALL + 2) << 12;
	memcpy(&world.mem[gfn][op->index * 8 + (op->flags & 2 ? 2048 : 0)], &e, 8);
	world_note_write(gfn);
}

static void do_regs(const struct op *op)
{
	struct mmu_regs r = regs;
	int i;

	r.cr0 = 1 | (op->flags & 1 ? 1ULL << 31 : 0) | (op->flags & 2 ? 1 << 16 : 0);
	r.cr4 = op->low & 0x3000b0;
	r.efer = (op->flags & 4 ? 0x800 : 0) | ((op->flags & 9) == 9 && (r.cr4 & 0x20) ? 0x400 : 0);
	r.cr3 = op->table % NR_SMALL << 12;
	if (vmbox_mmu_mode(&r) == MMU_PAE)
		for (i = 0; i < 4; i++) {
			memcpy(&r.pdpte[i], &world.mem[r.cr3 >> 12][i * 8], 8);
			if (vmbox_mmu_pdpte_is_reserved(r.pdpte[i]))
				return;
		}
	regs = r;
	vmbox_mmu_flush(&world.mmu);
}

static void do_host(const struct op *op)
{
	unsigned long bitmap[NR_LARGE / 64];
	struct world_slot s = world.slot[0];

	switch (op->flags % 6) {
	case 0:
		world_renew((op->low % NR_PAGES));
		break;
	case 1:
		world_make_large(op->low & 1);
		break;
	case 2:
		mmu_env_lock(&world);
		vmbox_mmu_reclaim(&world.mmu, op->index);
		mmu_env_unlock(&world);
		vmbox_mmu_collect(&world.mmu);
		break;
	case 3:
		s.logged = op->low & 1;
		world_set_slot(0, &s);
		break;
	case 4:
		if (!world.slot[0].logged)
			break;
		mmu_env_lock(&world);
		vmbox_mmu_get_dirty(&world.mmu, 0, bitmap);
		mmu_env_unlock(&world);
		vmbox_mmu_collect(&world.mmu);
		break;
	default:
		mmu_env_lock(&world);
		vmbox_mmu_age(&world.mmu, HVA_SMALL, HVA_SMALL + op->index * 4096, true);
		mmu_env_unlock(&world);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct op op;

	memset(world.mem, 0, NR_SMALL * 4096);
	memset(&world.mmu, 0, sizeof(world.mmu));
	regs = (struct mmu_regs){ .cr0 = 0x80010001, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0xc00 };
	world_init();
	world.mmu.max_pages = VMBOX_MMU_MIN_PAGES;
	for (; size >= sizeof(op); data += sizeof(op), size -= sizeof(op)) {
		memcpy(&op, data, sizeof(op));
		switch (op.what % 8) {
		case 0:
		case 1:
		case 2:
			do_access(&op);
			break;
		case 3:
		case 4:
			do_edit(&op);
			break;
		case 5:
			if (op.flags & 1)
				vmbox_mmu_flush(&world.mmu);
			else
				vmbox_mmu_flush_page(&world.mmu, (mmu_gva_t){ op.low });
			break;
		case 6:
			do_regs(&op);
			break;
		default:
			do_host(&op);
		}
		audit();
	}
	world_fini();
	return 0;
}
