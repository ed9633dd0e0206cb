// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walker on arbitrary tables and registers. The input: registers, then
 * eight pages of guest memory, repeated. Whatever they are, a translation is
 * within 40 bits, a fault's code is one that the access can have, and nothing
 * but A and D of the entries changes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/mmu_world.h"

#define NR_FILLED 8U

_Noreturn void world_die(const char *what, u64 a, u64 b)
{
	fprintf(stderr, "%s (%#llx, %#llx)\n", what, (unsigned long long)a, (unsigned long long)b);
	abort();
}

struct input {
	struct mmu_regs regs;
	u64 gva;
	u32 access;
};

static void fill(const u8 *data, size_t size)
{
	u32 i, k;

	for (i = 0; i < NR_FILLED; i++)
		for (k = 0; k < 4096; k++)
			world.mem[i][k] = size ? data[(i * 4096 + k) % size] : 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static u8 before[NR_FILLED][4096];
	struct mmu_walk walk;
	enum mmu_status status;
	struct input in;
	u32 i, k;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	if (!world.mmu.env)
		world_init();
	fill(data + sizeof(in), size - sizeof(in));
	memcpy(before, world.mem, sizeof(before));
	in.regs.cr3 %= (NR_SMALL + 4) << 12;
	in.access &= PFEC_WRITE | PFEC_USER | PFEC_FETCH;
	if (vmbox_mmu_mode(&in.regs) == MMU_PAE)
		for (i = 0; i < 4; i++)
			if (vmbox_mmu_pdpte_is_reserved(in.regs.pdpte[i]))
				return 0; /* load_pdptes() gave #GP */

	status = vmbox_mmu_walk(&world.mmu, &in.regs, (mmu_gva_t){ in.gva }, in.access, &walk);
	if (status == MMU_OK && walk.gpa.val >> VMBOX_GPA_BITS)
		world_die("an address out of range", walk.gpa.val, 0);
	if (status == MMU_OK && (walk.level < 1 || walk.level > 4))
		world_die("level", walk.level, 0);
	if (status == MMU_INJECT && (walk.pfec & ~(in.access | PFEC_PRESENT | PFEC_RSVD) ||
				     (walk.pfec & 6) != (in.access & 6)))
		world_die("error code", walk.pfec, in.access);
	if (status == MMU_ERROR)
		world_die("error", walk.error, 0);
	for (i = 0; i < NR_FILLED; i++)
		for (k = 0; k < 4096; k++)
			if ((before[i][k] ^ world.mem[i][k]) &
			    ~(status == MMU_OK || status == MMU_EXIT ? PTE_A | PTE_D : 0))
				world_die("memory changed", i, k);
	return 0;
}
