// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 64-bit boot protocol of Linux (Documentation/x86/boot.rst, "64-bit boot
 * protocol"): kernel segments at their physical addresses, boot_params, identity
 * page tables, a GDT, an MP table that says "nothing here". Trusts the caller's
 * sizes, not the contents of the kernel file.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#include "boot.h"
#include "vmbox/pvio.h"

/* Low memory, all below the kernel. */
#define MP_POINTER  0x10ULL /* in the first KiB, where Linux looks first */
#define MP_TABLE    0x40ULL
#define GDT	    0x1000ULL
#define BOOT_PARAMS 0x2000ULL
#define SETUP_SEED  0x3000ULL
#define STACK_TOP   0x5000ULL
#define PML4	    0x5000ULL
#define PDPT	    0x6000ULL
#define PD	    0x7000ULL /* four pages: the first 4 GiB */
#define CMDLINE	    0x20000ULL
#define LOW_END	    0x9f000ULL
#define KERNEL_MIN  0x100000ULL

#define BOOT_CS 0x10
#define BOOT_DS 0x18

static uint64_t low_size(const struct boot_config *c)
{
	return c->memory < GUEST_LOW_LIMIT ? c->memory : GUEST_LOW_LIMIT;
}

static bool in_file(const struct blob *b, uint64_t offset, uint64_t size)
{
	return offset <= b->size && size <= b->size - offset;
}

/* Copies the loadable segments. @end: the first byte behind them. */
static const char *load_elf(const struct boot_config *c, uint64_t *entry, uint64_t *end)
{
	const struct blob *k = &c->kernel;
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	unsigned int i;

	if (!in_file(k, 0, sizeof(eh)))
		return "the guest kernel is not an ELF file";
	memcpy(&eh, k->data, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_machine != EM_X86_64 || eh.e_phentsize != sizeof(ph))
		return "the guest kernel is not an x86-64 ELF file";
	*end = 0;
	for (i = 0; i < eh.e_phnum; i++) {
		if (!in_file(k, eh.e_phoff, (uint64_t)(i + 1) * sizeof(ph)))
			return "the guest kernel's program headers are cut off";
		memcpy(&ph, k->data + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD)
			continue;
		if (!in_file(k, ph.p_offset, ph.p_filesz) || ph.p_filesz > ph.p_memsz)
			return "the guest kernel is cut off";
		if (ph.p_paddr < KERNEL_MIN || ph.p_paddr > low_size(c) ||
		    ph.p_memsz > low_size(c) - ph.p_paddr)
			return "the guest kernel does not fit into the guest's memory: give it "
			       "more with --memory";
		memcpy(c->ram + ph.p_paddr, k->data + ph.p_offset, ph.p_filesz);
		if (ph.p_paddr + ph.p_memsz > *end)
			*end = ph.p_paddr + ph.p_memsz;
	}
	if (eh.e_entry < KERNEL_MIN || eh.e_entry >= *end)
		return "the guest kernel's entry point is outside of it";
	*entry = eh.e_entry;
	return NULL;
}

static void put64(const struct boot_config *c, uint64_t gpa, uint64_t value)
{
	memcpy(c->ram + gpa, &value, sizeof(value));
}

static void make_page_tables(const struct boot_config *c)
{
	uint64_t i;

	put64(c, PML4, PDPT | 3);
	for (i = 0; i < 4; i++)
		put64(c, PDPT + i * 8, (PD + i * 4096) | 3);
	for (i = 0; i < 4 * 512; i++)
		put64(c, PD + i * 8, i << 21 | 0x83);
}

/*
 * An MP pointer to a table without a signature: Linux stops looking. Without it
 * the kernel maps all of low memory in search of one, 16 bytes at a time.
 */
static void make_mp_table(const struct boot_config *c)
{
	uint8_t p[16] = { '_', 'M', 'P', '_', MP_TABLE, 0, 0, 0, 1, 4 };
	uint8_t sum = 0;
	unsigned int i;

	for (i = 0; i < sizeof(p); i++)
		sum += p[i];
	p[10] = -sum;
	memcpy(c->ram + MP_POINTER, p, sizeof(p));
	memset(c->ram + MP_TABLE, 0, 44);
	c->ram[MP_TABLE + 4] = 44; /* its length */
}

static void add_e820(struct boot_params *bp, uint64_t addr, uint64_t size, uint32_t type)
{
	struct boot_e820_entry e = { .addr = addr, .size = size, .type = type };

	memcpy(&bp->e820_table[bp->e820_entries++], &e, sizeof(e));
}

static void make_boot_params(const struct boot_config *c, uint64_t initrd_gpa)
{
	struct setup_data seed = { .type = 9 /* SETUP_RNG_SEED */, .len = sizeof(c->seed) };
	struct boot_params bp = { 0 };

	bp.hdr.boot_flag = 0xaa55;
	bp.hdr.header = 0x53726448; /* "HdrS" */
	bp.hdr.version = 0x20f;
	bp.hdr.type_of_loader = 0xff;
	bp.hdr.loadflags = 1;
	bp.hdr.cmd_line_ptr = CMDLINE;
	bp.hdr.cmdline_size = strlen(c->cmdline);
	bp.hdr.ramdisk_image = initrd_gpa;
	bp.hdr.ramdisk_size = c->initrd.size;
	bp.hdr.setup_data = SETUP_SEED;
	add_e820(&bp, 0, LOW_END, 1);
	add_e820(&bp, KERNEL_MIN, low_size(c) - KERNEL_MIN, 1);
	add_e820(&bp, PVIO_GPA, PVIO_REGION_SIZE, 2);
	if (c->memory > GUEST_LOW_LIMIT)
		add_e820(&bp, GUEST_HIGH_BASE, c->memory - GUEST_LOW_LIMIT, 1);
	memcpy(c->ram + BOOT_PARAMS, &bp, sizeof(bp));
	memcpy(c->ram + SETUP_SEED, &seed, sizeof(seed));
	memcpy(c->ram + SETUP_SEED + sizeof(seed), c->seed, sizeof(c->seed));
	memcpy(c->ram + CMDLINE, c->cmdline, strlen(c->cmdline) + 1);
}

/**
 * boot_load - fill guest memory
 * @entry: registers to start with
 */
const char *boot_load(const struct boot_config *c, struct boot_entry *entry)
{
	uint64_t kernel_end, initrd_gpa;
	const char *error;

	if (c->memory % (2 << 20) || c->memory < 16 << 20 || strlen(c->cmdline) >= 2048)
		return "internal: bad boot configuration";
	error = load_elf(c, &entry->rip, &kernel_end);
	if (error)
		return error;
	if (c->initrd.size > low_size(c) - kernel_end)
		return "the guest's initrd does not fit into its memory: give it more with "
		       "--memory";
	initrd_gpa = (low_size(c) - c->initrd.size) & ~4095ULL;
	if (initrd_gpa < kernel_end)
		return "the guest's initrd does not fit into its memory: give it more with "
		       "--memory";
	memcpy(c->ram + initrd_gpa, c->initrd.data, c->initrd.size);

	make_page_tables(c);
	make_mp_table(c);
	make_boot_params(c, initrd_gpa);
	put64(c, GDT + BOOT_CS, 0x00af9b000000ffffULL);
	put64(c, GDT + BOOT_DS, 0x00cf93000000ffffULL);
	entry->rsi = BOOT_PARAMS;
	entry->rsp = STACK_TOP;
	return NULL;
}

/* The state at the 64-bit entry: flat segments, paging on, interrupts off. */
void boot_sregs(struct kvm_sregs *s)
{
	const struct kvm_segment code = {
		.limit = ~0U, .selector = BOOT_CS, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	const struct kvm_segment data = {
		.limit = ~0U, .selector = BOOT_DS, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	const struct kvm_segment tss = { .limit = 0x67, .type = 11, .present = 1 };

	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = tss;
	s->ldt = (struct kvm_segment){ .unusable = 1 };
	s->gdt.base = GDT;
	s->gdt.limit = BOOT_DS + 7;
	s->idt.base = 0;
	s->idt.limit = 0;
	s->cr0 = 0x80010033; /* PG WP NE ET MP PE */
	s->cr3 = PML4;
	s->cr4 = 0x20;	  /* PAE */
	s->efer = 0x500;  /* LMA LME */
	s->apic_base = 0; /* no local APIC; stock KVM would offer one */
}
