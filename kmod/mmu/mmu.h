/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The shadow MMU.
 *
 * A shadow page is a hardware page table that stands for one guest page table,
 * or for a range of guest-physical memory that the guest maps by one large
 * page or with paging off. It is found by (gfn, role), where the role is all
 * that its contents depend on besides the guest's table; so it survives loads
 * of CR3 and is shared by all address spaces that share the guest's table.
 *
 * An entry is made by a fault, from a walk of the guest's tables, and keeps a
 * record of the guest's entry that it was made from. A guest table is in one
 * of two states, and with it all shadow pages of its gfn:
 *
 *  unsync	the guest may write it. At each flush by the guest the records
 *		are compared with the table, and what differs is dropped: the
 *		licence that the architecture gives a TLB. So is every new one.
 *  protected	no shadow entry maps the gfn writable, so the records are right
 *		and flushes cost nothing. A table gets there by being quiet for
 *		some flushes, and leaves by the first write to it.
 *
 * The write itself is the guest's: it is never emulated. Every level is
 * treated alike; no page has to be thrown away because it was written.
 *
 * Why no guest can livelock it: see fault.c.
 *
 * These files know the machine only through env.h. The same sources are built
 * into vmbox.ko and into the tests, each with its own functions behind env.h.
 */
#ifndef VMBOX_MMU_H
#define VMBOX_MMU_H

#include "../limits.h"
#include "env.h"

#define MMU_LEVELS  4
#define MMU_ENTRIES 512U

typedef struct {
	u64 val;
} mmu_gva_t;

typedef struct {
	u64 val;
} mmu_gpa_t;

/* Page-fault error code: AMD APM vol 2 §8.4.2, Intel SDM vol 3 §4.7. */
#define PFEC_PRESENT 0x01U
#define PFEC_WRITE   0x02U
#define PFEC_USER    0x04U
#define PFEC_RSVD    0x08U
#define PFEC_FETCH   0x10U

/* What a translation allows; of all its levels together. */
#define MMU_RIGHT_W   1
#define MMU_RIGHT_U   2
#define MMU_RIGHT_X   4
#define MMU_RIGHT_ALL 7

enum mmu_mode {
	MMU_OFF, /* guest-virtual is guest-physical, of 32 bits */
	MMU_32,
	MMU_PAE,
	MMU_64,
};

/* The guest registers that a translation depends on. */
struct mmu_regs {
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 rflags;
	u64 pdpte[4]; /* PAE: as loaded with CR3 */
	u8 cpl;
};

enum mmu_status {
	MMU_OK,	    /* translated; as a fault's outcome: resume the guest */
	MMU_INJECT, /* the guest gets #PF with the given error code */
	MMU_EXIT,   /* no memory slot backs the given guest-physical address, or not for writing */
	MMU_ERROR,  /* host error: out of memory, host mapping gone */
};

/* What a walk of the guest's tables found, or why it stopped. */
struct mmu_walk {
	mmu_gpa_t gpa; /* MMU_OK: the byte; MMU_EXIT: what is not backed */
	u32 pfec;      /* MMU_INJECT: the recomputed error code */
	int error;     /* MMU_ERROR: -errno */
	u8 level;      /* of the guest's last entry: 1 is 4 KiB, 2 large; 4: paging is off */
	bool dirty;    /* the last entry's D */
	u64 gpte[MMU_LEVELS + 1];  /* by level: the entries used, A and D set */
	u8 rights[MMU_LEVELS + 1]; /* by level: of this and all higher levels */
};

/* All that a shadow page's entries depend on besides what it shadows. */
union mmu_role {
	u32 word;
	struct {
		u32 level : 3; /* of the shadow table, 1 to 4 */
		u32 mode : 2;  /* enum mmu_mode */
		u32 is_table : 1; /* stands for a guest table in memory, else for a range, CR3, PDPTEs */
		u32 quadrant : 2; /* the part of a 32-bit guest's table, which has 1024 entries */
		u32 rights : 3;	  /* of all higher levels */
		u32 dirty : 1;	  /* of a range: D of the guest's entry */
		u32 pse : 1, nxe : 1, wp : 1, smep : 1, smap : 1;
	};
};

/* One link of a chain of shadow entries: 0 is the end, else see sp.c. */
struct mmu_link {
	u32 next, prev;
};

struct mmu_sp {
	struct list_head hash; /* of its (gfn, role); when freed: the garbage */
	struct list_head lru;
	struct list_head unsync;
	u64 *spt;		/* the hardware's table: one page */
	u64 *record;		/* by entry: the guest's entry that it was made from */
	struct mmu_link *links; /* by entry: the others that map this gfn, or this shadow page */
	u64 hpa;		/* of spt */
	u64 present[MMU_ENTRIES / 64];
	u64 gfn; /* of the guest's table; of the range's first page */
	union mmu_role role;
	u32 id;
	u32 parents; /* chain of the entries that point here */
	bool is_unsync;
	u8 quiet; /* guest flushes since it changed */
};

/* For each guest page. */
struct mmu_gfn {
	u32 rmap; /* chain of the 4 KiB entries that map it */
	u16 nr_mapped;
	bool is_protected; /* it is a synced guest table: no entry maps it writable */
};

/* For each 2 MiB of guest memory. */
struct mmu_large {
	u32 rmap; /* chain of the 2 MiB entries that map it */
	u32 nr_protected;
};

struct mmu_slot {
	u64 gfn, npages; /* npages 0: free */
	u64 hva;
	bool is_readonly;
	struct mmu_gfn *gfns;
	struct mmu_large *large; /* by gfn >> 9, from the slot's first */
	unsigned long *dirty;	 /* bitmap; NULL: not logged */
};

#define VMBOX_MMU_STATS(X)                                        \
	X(faults_fixed)	   /* entries made by a fault */          \
	X(faults_injected) /* given to the guest */               \
	X(pages_live)	   /* shadow pages in use */              \
	X(pages_made)                                             \
	X(pages_zapped)	  /* dropped, for whatever reason */      \
	X(pages_recycled) /* of these, to make room */            \
	X(unsyncs)	  /* writes that met a protected table */ \
	X(syncs)	  /* comparisons of an unsync table */    \
	X(protects)                                               \
	X(entries_dropped)                                        \
	X(guest_flushes)                                          \
	X(tlb_flushes) /* that the hardware was asked for */      \
	X(large_entries)

_Static_assert(VMBOX_MMU_MAX_PAGES < 1 << 16, "an id is a u16 in free_ids");

#define VMBOX_MMU_STAT(name) MMU_STAT_##name,
enum mmu_stat {
	VMBOX_MMU_STATS(VMBOX_MMU_STAT) NR_MMU_STATS
};
#undef VMBOX_MMU_STAT

struct vmbox_mmu {
	struct mmu_env *env;
	struct mmu_slot slots[VMBOX_MAX_SLOTS];
	struct mmu_sp *root; /* what CR3 points to; NULL: vmbox_mmu_load() is owed */
	struct list_head hash[VMBOX_MMU_HASH];
	struct list_head lru;	  /* all shadow pages, the last used first */
	struct list_head unsync;  /* those whose table the guest may write */
	struct list_head garbage; /* freed, empty; the hardware may still look at them */
	struct list_head spare;	  /* to be used */
	struct mmu_sp *by_id[VMBOX_MMU_MAX_PAGES + 1];
	u16 free_ids[VMBOX_MMU_MAX_PAGES];
	u32 nr_free_ids;
	u32 nr_spare;
	u32 nr_pages; /* on the LRU list */
	u32 max_pages;
	bool large_may_exec; /* else 2 MiB entries are NX: X86_BUG_ITLB_MULTIHIT */
	bool amd_format;     /* bit 8 is reserved in level 4 */
	bool flush_owed;     /* an entry was narrowed since the last TLB flush */
	u64 stats[NR_MMU_STATS];
};

int vmbox_mmu_init(struct vmbox_mmu *mmu, struct mmu_env *env);
void vmbox_mmu_fini(struct vmbox_mmu *mmu);

/* walk.c */
enum mmu_mode vmbox_mmu_mode(const struct mmu_regs *regs);
bool vmbox_mmu_pdpte_is_reserved(u64 pdpte);
__must_check enum mmu_status vmbox_mmu_walk(struct vmbox_mmu *mmu, const struct mmu_regs *regs,
					    mmu_gva_t gva, u32 access, struct mmu_walk *walk);

/* fault.c: the vCPU's thread, out of guest mode */
__must_check enum mmu_status vmbox_mmu_fault(struct vmbox_mmu *mmu, const struct mmu_regs *regs,
					     mmu_gva_t gva, u32 access, struct mmu_walk *walk);
__must_check int vmbox_mmu_load(struct vmbox_mmu *mmu, const struct mmu_regs *regs);

/* sync.c: likewise */
void vmbox_mmu_flush(struct vmbox_mmu *mmu);
void vmbox_mmu_flush_page(struct vmbox_mmu *mmu, mmu_gva_t gva);

/* slot.c: any thread of the process */
bool vmbox_mmu_gpa_to_hva(struct vmbox_mmu *mmu, u64 gpa, u64 *hva);
bool vmbox_mmu_is_readonly(struct vmbox_mmu *mmu, u64 gpa);
void vmbox_mmu_mark_dirty(struct vmbox_mmu *mmu, u64 gfn);
void vmbox_mmu_set_slot(struct vmbox_mmu *mmu, u32 id, const struct mmu_slot *slot);
void vmbox_mmu_get_dirty(struct vmbox_mmu *mmu, u32 id, unsigned long *bitmap);
void vmbox_mmu_unmap(struct vmbox_mmu *mmu, u64 hva, u64 end);
bool vmbox_mmu_age(struct vmbox_mmu *mmu, u64 hva, u64 end, bool clear);

/* sp.c */
void vmbox_mmu_zap_all(struct vmbox_mmu *mmu);
u32 vmbox_mmu_reclaim(struct vmbox_mmu *mmu, u32 nr);
void vmbox_mmu_collect(struct vmbox_mmu *mmu);

/* audit.c */
const char *vmbox_mmu_audit(struct vmbox_mmu *mmu, const struct mmu_regs *regs, u64 *detail);

#endif
