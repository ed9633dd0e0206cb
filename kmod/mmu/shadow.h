/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside the MMU: the shadow tree as fault.c uses it. */
#ifndef VMBOX_MMU_SHADOW_H
#define VMBOX_MMU_SHADOW_H

#include "mmu.h"
#include "format.h"

int vmbox_shadow_prepare(struct vmbox_mmu *mmu);
void vmbox_shadow_map(struct vmbox_mmu *mmu, mmu_gva_t gva, u64 hpa, const struct mmu_walk *walk,
		      bool user, bool write, bool nx);

#endif
