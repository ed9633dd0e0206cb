// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces in every mode. All memory is mapped 1:1, for the supervisor, in 4 KiB pages,
 * so an address of a table is a pointer to it with paging on or off. The .user pages are also
 * the user's.
 */
#include "guest.h"

extern u8 gdt[], tss32[], tss64[], _start[];

static const struct format {
	int top;
	u32 bits, size;
} formats[] = { { 0 }, { 2, 10, 4 }, { 3, 9, 8 }, { 4, 9, 8 } };

#define FIRST_PAGE 0x200000U

static u32 pae_root;
static u32 next_page = FIRST_PAGE;
static u8 idt32[129 * 8] __attribute__((aligned(16)));
static u8 idt64[129 * 16] __attribute__((aligned(16)));

u32 alloc_page(void)
{
	u32 i, page = next_page;

	next_page += 4096;
	if (next_page > BIG)
		panic();
	for (i = 0; i < 1024; i++)
		at(page)[i] = 0;
	return page;
}

void alloc_reset(void)
{
	next_page = FIRST_PAGE;
}

u32 entry_size(const struct space *s)
{
	return formats[s->mode].size;
}

int top_level(const struct space *s)
{
	return formats[s->mode].top;
}

u64 get(const struct space *s, u32 entry)
{
	return s->mode == M_32 ? *at(entry) : *at(entry) | (u64)at(entry)[1] << 32;
}

/* The low half last: it has P. */
void put(const struct space *s, u32 entry, u64 val)
{
	if (s->mode != M_32)
		at(entry)[1] = val >> 32;
	*at(entry) = val;
}

u32 entry_at(const struct space *s, u64 va, int level)
{
	const struct format *f = &formats[s->mode];
	u32 table = s->root, entry;
	int l;

	for (l = f->top;; l--) {
		u32 index = (u32)(va >> (12 + f->bits * (l - 1))) & ((1U << f->bits) - 1);

		if (s->mode == M_PAE && l == 3)
			index &= 3;
		entry = table + index * f->size;
		if (l == level)
			return entry;
		if (!(get(s, entry) & P))
			put(s, entry, alloc_page() | (s->mode == M_PAE && l == 3 ? P : RWX | U));
		table = get(s, entry) & ADDR_MASK;
	}
}

void map(const struct space *s, u64 va, u64 entry)
{
	put(s, entry_at(s, va, 1), entry);
}

struct space new_space(enum mode mode)
{
	struct space s = { mode, alloc_page() };
	u32 i, user = (u32)user_read;

	for (i = 0; i < RAM_END; i += 4096)
		map(&s, i, i | RWX | (i >> 12 == user >> 12 ? U : 0));
	for (i = 0; i < LOG_PAGES * 4096; i += 4096)
		map(&s, LOG_SLOT + i, (LOG_SLOT + i) | RWX);
	entry_at(&s, WINDOW, 1);
	if (mode == M_PAE) /* all four, so that edits below need no reload */
		for (i = 0; i < 4; i++)
			entry_at(&s, (u64)i << 30, 2);
	return s;
}

/*
 * Under stock KVM with nested paging, on the lab's QEMU 7.2, "qemu" on the command line: QEMU sets
 * A in PDPTEs, and KVM checks that it is 0 when CR0 or CR4 changes. It also leaves P out of the
 * error code of a fault for a reserved bit.
 */
static void clean_pdptes(void)
{
	u32 i;

	for (i = 0; i < 4 && pae_root && option("qemu", 0); i++)
		if (*at(pae_root + i * 8) & P)
			*at(pae_root + i * 8) &= ~A;
}

void write_cr0(u32 v)
{
	clean_pdptes();
	asm volatile("movl %0, %%cr0" ::"r"(v) : "memory");
}

void write_cr4(u32 v)
{
	clean_pdptes();
	asm volatile("movl %0, %%cr4" ::"r"(v) : "memory");
}

void write_efer(u32 set, u32 clear)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000080));
	asm volatile("wrmsr" ::"a"((low | set) & ~clear), "d"(high), "c"(0xc0000080) : "memory");
}

static void set_tss(u32 selector, u32 base)
{
	volatile u32 *d = at((u32)gdt + selector);

	d[0] = base << 16 | 0x67;
	d[1] = (base & 0xff000000) | (base >> 16 & 0xff) | 0x8900;
}

u32 idt_of(enum mode mode, u32 *size)
{
	u32 i, n = mode == M_64 ? 4 : 2;
	volatile u32 *idt = (u32 *)(mode == M_64 ? idt64 : idt32);

	for (i = 0; i < 129; i++) {
		u32 target = (u32)(mode == M_64 ? stubs64 : stubs32) + i * 16;

		idt[i * n] = (target & 0xffff) | (mode == M_64 ? 0x28U : 8U) << 16;
		idt[i * n + 1] = (target & 0xffff0000) | (i == 128 ? 0xee00 : 0x8e00);
	}
	*size = 129 * n * 4;
	return (u32)idt;
}

void load_idt(enum mode mode, u32 base)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { mode == M_64 ? 129 * 16 - 1 : 129 * 8 - 1, base };

	asm volatile("lidt %0" ::"m"(pointer) : "memory");
}

static void load_system_registers(enum mode mode)
{
	u32 size;

	load_idt(mode, idt_of(mode, &size));
	set_tss(0x38, (u32)tss32);
	set_tss(0x40, (u32)tss64);
	load_cs_tr(mode == M_64 ? 0x40 : 0x38);
}

void leave_paging(void)
{
	write_cr0(read_cr0() & ~CR0_PG);
	write_efer(0, EFER_LME | EFER_NXE);
	write_cr4(0);
	load_system_registers(M_OFF);
}

/* From paging off. WP and, where there is NX, NXE are on. */
void enter(const struct space *s, u32 cr4)
{
	current_mode = s->mode;
	pae_root = s->mode == M_PAE ? s->root : 0;
	write_cr4(cr4 | (s->mode == M_32 ? 0 : CR4_PAE));
	if (s->mode != M_32)
		write_efer(EFER_NXE | (s->mode == M_64 ? EFER_LME : 0), 0);
	write_cr3(s->root);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
	load_system_registers(s->mode);
}
