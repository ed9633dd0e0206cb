/* SPDX-License-Identifier: GPL-2.0-only */
/* What the paging tests share: output, address spaces in every mode, accesses that may fault. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define P   0x001U
#define W   0x002U
#define U   0x004U
#define A   0x020U
#define D   0x040U
#define PS  0x080U
#define G   0x100U
#define NX  (1ULL << 63)
#define RWX (P | W | A | D)

#define CR0_PE	 0x1U
#define CR0_WP	 (1U << 16)
#define CR0_PG	 (1U << 31)
#define CR4_PSE	 0x10U
#define CR4_PAE	 0x20U
#define CR4_PGE	 0x80U
#define CR4_SMEP (1U << 20)
#define CR4_SMAP (1U << 21)
#define EFER_LME 0x100U
#define EFER_NXE 0x800U
#define FLAG_AC	 (1U << 18)

#define ADDR_MASK 0x000ffffffffff000ULL

#define RAM_END	  0x01000000U /* tables and data are allocated below */
#define LOG_SLOT  0x02000000U /* slot 1: 512 pages */
#define LOG_PAGES 512U
#define RO_SLOT	  0x03000000U /* slot 2, read-only: its words hold their index */
#define HOLE	  0x05000000U
#define WINDOW	  0x40800000U /* where tests map things; nothing else is there */
#define BIG	  0x00800000U /* 4 MiB of RAM, for large pages, used by nothing else */

/* Ports; 0xe9 is text, 0xf4 the end. */
#define PORT_EXPECT 0xe4 /* the next MMIO exit's address; bit 0: a write */
#define PORT_ROUND  0xe5 /* the end of a dirty round */
#define PORT_LOG    0xe6 /* 0 off, 1 on, 2 toggled by a thread, 3 no longer, and on; see testvmm.c */
#define PORT_EVENTS 0xe7 /* host events: 1 start, 0 stop */

#define EVENTS 0x7000U /* how many host events there were since */

enum mode {
	M_OFF,
	M_32,
	M_PAE,
	M_64
};

struct space {
	enum mode mode;
	u32 root;
};

/* boot.c */
extern const char *const mode_names[];
extern enum mode current_mode; /* that results are named after */
extern u32 seed;
bool option(const char *name, u32 *value);
void print(const char *fmt, ...); /* %s %x (u32) %X (u64) %u */
bool check(bool good, const char *name, const char *what, u64 expected, u64 got);
void done(const char *name); /* "ok", unless a check() since the last one failed */
u32 random32(void);
u32 max_phys_bits(void);
bool is_amd(void);
bool has_smep(void);
bool has_smap(void);
_Noreturn void panic(void);

/* space.c */
u32 alloc_page(void);
void alloc_reset(void);
u32 entry_at(const struct space *s, u64 va, int level); /* where it is; makes tables */
u32 entry_size(const struct space *s);
int top_level(const struct space *s);
u64 get(const struct space *s, u32 at);
void put(const struct space *s, u32 at, u64 entry);
void map(const struct space *s, u64 va, u64 entry);
struct space new_space(enum mode mode); /* with all RAM mapped 1:1 */
void enter(const struct space *s, u32 cr4);
void leave_paging(void);
void load_idt(enum mode mode, u32 base);
u32 idt_of(enum mode mode, u32 *size);
void write_efer(u32 set, u32 clear);
void write_cr0(u32 v);
void write_cr4(u32 v);

/* start.S */
extern volatile u64 fault_vector, fault_error, fault_eip, fault_cr2;
extern volatile u32 fault_eax;
void try(u32 eip, u32 addr, u32 value, u32 user, u32 flags);
void try64(u32 eip, u32 addr, u32 value, u32 user, u32 flags, u32 addr_high);
u32 run(u32 eip, u32 eax, u32 ecx, u32 edx, u32 esi, u32 edi, u32 esp);
u64 peek64(u32 low, u32 high);
void poke64(u32 low, u32 high, u64 value);
void invlpg64(u32 low, u32 high);
void load_cs_tr(u32 selector);
_Noreturn void leave(u32 status);
extern const u8 kernel_read[], kernel_write[], kernel_fetch[];
extern const u8 user_read[], user_write[], user_fetch[];
extern const u8 stubs32[], stubs64[];

static inline u32 read_cr0(void)
{
	u32 v;

	asm volatile("movl %%cr0, %0" : "=r"(v)::"memory");
	return v;
}

static inline u32 read_cr3(void)
{
	u32 v;

	asm volatile("movl %%cr3, %0" : "=r"(v)::"memory");
	return v;
}

static inline void write_cr3(u32 v)
{
	asm volatile("movl %0, %%cr3" ::"r"(v) : "memory");
}

static inline u32 read_cr4(void)
{
	u32 v;

	asm volatile("movl %%cr4, %0" : "=r"(v)::"memory");
	return v;
}

static inline void flush(void)
{
	write_cr3(read_cr3());
}

static inline void invlpg(u32 addr)
{
	asm volatile("invlpg (%0)" ::"r"(addr) : "memory");
}

static inline void out(u16 port, u32 v)
{
	asm volatile("outl %0, %1" ::"a"(v), "d"(port) : "memory");
}

static inline volatile u32 *at(u32 addr)
{
	return (volatile u32 *)addr;
}

/* The tests: each runs in a fresh allocator, paging off, and leaves paging off. */
void test_tlb(void);
void test_livelock(void);
void test_selfmap(void);
void test_access(void);
void test_modes(void);
void test_dirty(void);
void test_host(void);

#endif
