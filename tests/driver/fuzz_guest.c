// SPDX-License-Identifier: GPL-2.0-only
/* The guests of the ioctl fuzzer: their tables, their instructions, and a check of what they do. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "vm.h"

#define PD32  0x7000UL
#define PT32  0xa000UL
#define IDT32 0xb000UL
#define TSS   0xc000UL

uint64_t fuzz_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- tables ---- */

static void put64(uint64_t at, uint64_t val)
{
	fuzz_write(at, &val, sizeof(val));
}

/* Tells the caller, leaves an instruction of 2 bytes out, and returns. An interrupt just returns. */
static void make_handler(uint8_t *to, int vector)
{
	if (vector >= 32)
		memcpy(to, "\x48\xcf", 2);
	else if (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17) /* an error code */
		memcpy(to, "\xe6\x11\x48\x83\xc4\x08\x48\x83\x04\x24\x02\x48\xcf", 13);
	else
		memcpy(to, "\xe6\x11\x48\x83\x04\x24\x02\x48\xcf", 9);
}

void fuzz_make_tables(uint64_t mem, enum cpu_mode mode)
{
	static const uint64_t gdt[] = { 0,
					0x00af9b000000ffff,   /* 0x08: 64-bit code */
					0x00cf93000000ffff,   /* 0x10: data */
					0x00cf9b000000ffff,   /* 0x18: 32-bit code */
					0x00affb000000ffff,   /* 0x20: 64-bit code of ring 3 */
					0x00cff3000000ffff,   /* 0x28: data of ring 3 */
					0x00008b00c0000067 }; /* 0x30: TSS */
	uint64_t tss[13] = { (uint64_t)STACK << 32, 0x10UL << 32 };
	uint64_t idt[512];
	uint8_t handlers[256 * 16] = { 0 };
	uint32_t pd[1024], pt[1024];
	int i;

	fuzz_write(mem + GDT, gdt, sizeof(gdt));
	fuzz_write(mem + TSS, tss, sizeof(tss));
	for (i = 0; i < 256; i++)
		make_handler(handlers + i * 16, i);
	fuzz_write(mem + STUBS, handlers, sizeof(handlers));
	for (i = 0; i < 256; i++)
		idt[i] = (uint64_t)(STUBS + i * 16) | 0x18 << 16 | 0xeeUL << 40;
	fuzz_write(mem + IDT32, idt, 256 * 8);
	for (i = 0; i < 256; i++) {
		idt[i * 2] = (uint64_t)(STUBS + i * 16) | 8 << 16 | 0xeeUL << 40;
		idt[i * 2 + 1] = 0;
	}
	fuzz_write(mem + IDT, idt, sizeof(idt));
	put64(mem + PML4, PDPT | 7);
	put64(mem + PDPT, PD | (mode == PAE ? 1 : 7));
	for (i = 0; i < 512; i++)
		idt[i] = (uint64_t)i << 21 | 0x87;
	idt[1] = PT | 7;
	fuzz_write(mem + PD, idt, sizeof(idt));
	for (i = 0; i < 512; i++)
		idt[i] = (DATA + ((uint64_t)i << 12)) | 7;
	fuzz_write(mem + PT, idt, sizeof(idt));
	for (i = 0; i < 1024; i++) {
		pd[i] = i << 22 | 0x87;
		pt[i] = i << 12 | 7;
	}
	pd[0] = PT32 | 7;
	fuzz_write(mem + PD32, pd, sizeof(pd));
	fuzz_write(mem + PT32, pt, sizeof(pt));
}

struct kvm_sregs fuzz_sregs(enum cpu_mode mode)
{
	bool is_long = mode == LONG || mode == USER, is_32 = !is_long && mode != COMPAT;
	uint16_t code = mode == USER ? 0x23 : is_long ? 8 : 0x18;
	struct kvm_segment data = vm_segment(mode == USER ? 0x2b : 0x10, 3, false);
	struct kvm_sregs s = {
		.cs = vm_segment(code, 11, is_long),
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		/* QEMU's is as LTR reads it, available: by another it ends where the stack changes. */
		.tr = { .base = TSS,
			.limit = 0x67,
			.selector = 0x30,
			.type = __builtin_cpu_is("amd") ? 9 : 11,
			.present = 1 },
		.ldt = { .unusable = 1 },
		.gdt = { .base = GDT, .limit = 55 },
		.idt = { .base = is_32 ? IDT32 : IDT, .limit = is_32 ? 2047 : 4095 },
		.cr0 = mode == NO_PAGING ? 0x33 : 0x80010033,
		.cr3 = mode == PAE	? PDPT
		       : mode == LEGACY ? PD32
					: PML4,
		.cr4 = mode == LEGACY || mode == NO_PAGING ? 0x610 : 0x620,
		.efer = is_32 ? 0x801 : 0xd01,
	};

	return s;
}

/* ---- instructions ---- */

uint64_t fuzz_interesting(uint64_t choice)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		0x10,
		0x1b,
		0x7f,
		0x80,
		0xfe,
		0xff,
		0x174,
		0x175,
		0x176,
		0x1a0,
		0x1d9,
		0x277,
		0x2ff,
		0x6e0,
		0x600,
		0xc0000080,
		0xc0000081,
		0xc0000082,
		0xc0000084,
		0xc0000100,
		0xc0000101,
		0xc0000102,
		0xc0000103,
		0xc0010114,
		0xc0010117,
		0x4b564d00,
		0x33,
		0x11,
		0x80000011,
		0x80010033,
		0xe0000011,
		0x20,
		0x30,
		0x620,
		0x6a0,
		0x3006a0,
		0x40620,
		0x500,
		0x901,
		0xd01,
		0x1000,
		0x1fff,
		0x2000,
		0x3000,
		0x4008,
		0x7000,
		0xffffff,
		0x7fffffff,
		0xffffffff,
		0x7fffffffffff,
		0x800000000000,
		0xffff800000000000,
		~0UL,
		0xffffffffff,
		0x10000000000,
		DATA,
		CODE,
		STACK,
		GUEST_SIZE,
		0x7040600070406,
		0xffff0ff0,
		0x400,
		0x3f7,
		0x202,
		0x302,
		0x10202,
		0x3000,
		0x20002,
		0x40602,
	};

	return values[choice % (sizeof(values) / sizeof(values[0]))];
}

/* @len fixed bytes, of whose last one @mask is free; then @imm: bytes of an immediate, 8: 4 interesting ones. */
struct template
{
	uint8_t bytes[8], len, mask, imm;
};

static const struct template templates[] = {
	{ { 0x0f, 0x22, 0xc0 }, 3, 0x3f, 0 },	 /* mov cr, r */
	{ { 0x0f, 0x20, 0xc0 }, 3, 0x3f, 0 },	 /* mov r, cr */
	{ { 0x0f, 0x23, 0xc0 }, 3, 0x3f, 0 },	 /* mov dr, r */
	{ { 0x0f, 0x21, 0xc0 }, 3, 0x3f, 0 },	 /* mov r, dr */
	{ { 0x44, 0x0f, 0x22, 0xc0 }, 4, 7, 0 }, /* mov cr8, r */
	{ { 0xb8 }, 1, 7, 8 },			 /* mov r, imm */
	{ { 0xb9 }, 1, 0, 8 },			 /* mov ecx, imm */
	{ { 0xb8 }, 1, 7, 4 },
	{ { 0x0f, 0x30 }, 2, 0, 0 },	      /* wrmsr */
	{ { 0x0f, 0x32 }, 2, 0, 0 },	      /* rdmsr */
	{ { 0x0f, 0x30 }, 2, 7, 0 },	      /* and their neighbours, sysenter, sysexit */
	{ { 0x0f, 0x01, 0xc0 }, 3, 0x3f, 0 }, /* vmcall … vmrun … swapgs … xsetbv … clac */
	{ { 0x0f, 0x01, 0xd8 }, 3, 7, 0 },    /* vmrun to invlpga */
	{ { 0x0f, 0x01, 0x00 }, 3, 0x3f, 0 }, /* sgdt … lidt … invlpg */
	{ { 0x0f, 0x01, 0x38 }, 3, 7, 0 },    /* invlpg */
	{ { 0x0f, 0x00, 0x00 }, 3, 0x3f, 0 }, /* sldt … ltr … verw */
	{ { 0x0f, 0x00, 0xc0 }, 3, 0x3f, 0 },
	{ { 0x0f, 0xa2 }, 2, 0, 0 }, /* cpuid */
	{ { 0x0f, 0x08 }, 2, 1, 0 }, /* invd, wbinvd */
	{ { 0x0f, 0x05 }, 2, 3, 0 }, /* syscall, clts, sysret */
	{ { 0x48, 0x0f, 0x05 }, 3, 3, 0 },
	{ { 0x0f, 0x31 }, 2, 2, 0 },	/* rdtsc, rdpmc */
	{ { 0xf8 }, 1, 7, 0 },		/* clc, stc, cli, sti, cld, std */
	{ { 0xf4 }, 1, 0, 0 },		/* hlt */
	{ { 0xfb, 0xf4 }, 2, 0, 0 },	/* sti, hlt */
	{ { 0x48, 0xcf }, 2, 0, 0 },	/* iretq */
	{ { 0xc8 }, 1, 7, 2 },		/* enter, leave, retf, int3, int, into, iret */
	{ { 0xff, 0x00 }, 2, 0x3f, 0 }, /* inc … call far … jmp far … push */
	{ { 0xea }, 1, 0, 8 },		/* jmp far, of 32-bit code */
	{ { 0xcd }, 1, 0, 1 },		/* int */
	{ { 0xf1 }, 1, 0, 0 },		/* icebp */
	{ { 0xe4 }, 1, 3, 1 },		/* in, out imm8 */
	{ { 0xec }, 1, 3, 0 },		/* in, out dx */
	{ { 0x66, 0xed }, 2, 2, 0 },
	{ { 0xf3, 0x6c }, 2, 3, 0 },		 /* rep ins, outs */
	{ { 0x8e, 0xc0 }, 2, 0x3f, 0 },		 /* mov seg, r */
	{ { 0x8e, 0xd0 }, 2, 7, 0 },		 /* mov ss, r */
	{ { 0x17 }, 1, 0, 0 },			 /* pop ss, of 32-bit code */
	{ { 0x9c }, 1, 1, 0 },			 /* pushf, popf */
	{ { 0x68 }, 1, 0, 8 },			 /* push imm */
	{ { 0x6a, 0x08, 0x48, 0xcb }, 4, 0, 0 }, /* push 8, retfq */
	{ { 0x50 }, 1, 0xf, 0 },		 /* push, pop */
	{ { 0x48, 0x8b, 0x00 }, 3, 0x3f, 0 },	 /* mov r, [r] */
	{ { 0x48, 0x89, 0x00 }, 3, 0x3f, 0 },	 /* mov [r], r */
	{ { 0x48, 0x89, 0x04, 0x25 }, 4, 0, 8 }, /* mov [disp], rax */
	{ { 0x48, 0x8b, 0x04, 0x25 }, 4, 0, 8 },
	{ { 0xf0, 0x48, 0x0f, 0xc1, 0x00 }, 5, 0x3f, 0 }, /* lock xadd */
	{ { 0x48, 0x0f, 0xc7, 0x08 }, 4, 7, 0 },	  /* cmpxchg16b */
	{ { 0x0f, 0xae, 0x00 }, 3, 0x3f, 0 },		  /* fxsave … xrstor … clflush */
	{ { 0xf3, 0x48, 0x0f, 0xae, 0xc0 }, 5, 0x1f, 0 }, /* rdfsbase … wrgsbase */
	{ { 0x66, 0x0f, 0x38, 0x82, 0x00 }, 5, 0x3f, 0 }, /* invpcid */
	{ { 0x0f, 0x28, 0xc0 }, 3, 0x3f, 0 },		  /* movaps */
	{ { 0x0f, 0x0b }, 2, 0, 0 },			  /* ud2 */
	{ { 0x0f, 0x78, 0xc0 }, 3, 0x3f, 0 },		  /* vmread; and vmptrld's group */
	{ { 0x0f, 0xc7, 0x30 }, 3, 7, 0 },
	{ { 0xeb }, 1, 0, 1 },		      /* jmp */
	{ { 0x70 }, 1, 0xf, 1 },	      /* jcc */
	{ { 0xe0 }, 1, 3, 1 },		      /* loop */
	{ { 0xe8 }, 1, 1, 8 },		      /* call, jmp */
	{ { 0x0f, 0x01, 0xf8 }, 3, 1, 0 },    /* swapgs, rdtscp */
	{ { 0x0f, 0x01, 0xe0 }, 3, 0x17, 0 }, /* smsw, lmsw */
	{ { 0x90 }, 1, 0, 0 },
};

int fuzz_insn(uint64_t choice, uint8_t *to)
{
	const struct template *t = templates + (choice & 0xff);
	uint64_t imm = choice >> 16;
	int n = 0;

	if ((choice & 0xff) >= sizeof(templates) / sizeof(templates[0])) {
		memcpy(to, &imm, 6);
		return 6;
	}
	memcpy(to, t->bytes, t->len);
	n = t->len;
	to[n - 1] |= choice >> 8 & t->mask;
	if (t->imm == 8)
		imm = fuzz_interesting(imm);
	memcpy(to + n, &imm, 4);
	return n + (t->imm == 8 ? 4 : t->imm);
}

/* ---- the same, natively and in a guest ---- */

#define WINDOW	    0x4000 /* bytes at DATA that R15 points to: registers, a counter, data */
#define AT_FLAGS    0x78
#define AT_COUNT    0x80
#define AT_DATA	    0x100
#define MAX_CODE    8192
#define STEPS	    60
#define NR_ROUNDS   2
#define ARITH_FLAGS 0x8d5
#define RUN_US	    5000 /* until a signal ends a KVM_RUN that nothing else has ended */

struct stream {
	uint8_t bytes[2][MAX_CODE]; /* for the guest, and natively */
	int n;
	uint64_t random;
};

static void emit_both(struct stream *s, const char *guest, const char *native, int n)
{
	memcpy(s->bytes[0] + s->n, guest, n);
	memcpy(s->bytes[1] + s->n, native, n);
	s->n += n;
}

static void emit(struct stream *s, const char *bytes, int n)
{
	emit_both(s, bytes, bytes, n);
}

#define EMIT(s, ...)                               \
	do {                                       \
		const char b_[] = { __VA_ARGS__ }; \
		emit(s, b_, sizeof(b_));           \
	} while (0)

/* What only a guest can do, and must not notice; natively nothing. */
#define EMIT_GUEST(s, ...)                                                                        \
	do {                                                                                      \
		const char b_[] = { __VA_ARGS__ };                                                \
		emit_both(s, b_, "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90", sizeof(b_)); \
	} while (0)

/* A register that is neither the stack's nor the window's. */
static int some_reg(struct stream *s)
{
	int r;

	do
		r = fuzz_random(&s->random) % 15;
	while (r == 4);
	return r;
}

/* Offset of 8 bytes in the window's data. */
static uint32_t some_data(struct stream *s)
{
	return AT_DATA + fuzz_random(&s->random) % (WINDOW - AT_DATA - 8);
}

#define REX(reg, rm)	  (0x48 | (reg) >> 3 << 2 | (rm) >> 3)
#define MODRM(reg, rm)	  (0xc0 | ((reg)&7) << 3 | ((rm)&7))
#define WINDOW_MODRM(reg) (0x87 | ((reg)&7) << 3)
#define DISP(d)		  (d) & 0xff, (d) >> 8 & 0xff, 0, 0

static void emit_step(struct stream *s)
{
	static const uint8_t alu[] = { 0x01, 0x09, 0x11, 0x19, 0x21, 0x29,
				       0x31, 0x39, 0x85, 0x87, 0x89 };
	static const uint8_t two_byte[] = { 0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xa3, 0xab, 0xb3,
					    0xbb, 0xc1, 0xb1, 0x40, 0x42, 0x44, 0x4c, 0x4f };
	uint64_t r = fuzz_random(&s->random);
	int a = some_reg(s), b = some_reg(s);
	uint32_t d = some_data(s);
	uint8_t byte = r >> 8;

	switch (r % 20) {
	case 0 ... 4: /* op a, b; of 64 or 32 bits */
		EMIT(s, r >> 16 & 1 ? REX(b, a) : REX(b, a) & ~8, alu[byte % sizeof(alu)],
		     MODRM(b, a));
		break;
	case 5:
		EMIT(s, REX(a, b), 0x0f, two_byte[byte % sizeof(two_byte)], MODRM(a, b));
		break;
	case 6: /* shifts; not, neg, mul */
		EMIT(s, REX(0, a), 0xc1, MODRM(byte & 7, a), r >> 16);
		break;
	case 7:
		EMIT(s, REX(0, a), 0xf7, MODRM(2 + byte % 4, a));
		break;
	case 8 ... 9: /* loads, stores, read-modify-write */
		EMIT(s, REX(a, 15), 0x8b, WINDOW_MODRM(a), DISP(d));
		break;
	case 10 ... 11:
		EMIT(s, REX(a, 15), 0x89, WINDOW_MODRM(a), DISP(d));
		break;
	case 12:
		EMIT(s, 0xf0, REX(a, 15), 0x01, WINDOW_MODRM(a), DISP(d));
		break;
	case 13: /* through XMM registers */
		EMIT(s, 0x66, REX(byte & 7, a), 0x0f, 0x6e, MODRM(byte & 7, a), 0x66, 0x0f, 0xd4,
		     MODRM(byte >> 3, byte));
		EMIT(s, 0x66, REX(byte >> 3 & 7, b), 0x0f, 0x7e, MODRM(byte >> 3 & 7, b));
		break;
	case 14: /* push a, pop b */
		EMIT(s, 0x40 | a >> 3, 0x50 | (a & 7), 0x40 | b >> 3, 0x58 | (b & 7));
		break;
	case 15: /* in eax, port: what compare_exit() answers */
		emit_both(s, (char[]){ 0xe5, byte, 0x90, 0x90, 0x90 },
			  (char[]){ 0xb8, byte, byte, byte, byte }, 5);
		break;
	case 16:
		EMIT_GUEST(s, 0xe7, byte); /* out port, eax */
		break;
	case 17:
		if (byte & 1)
			EMIT_GUEST(s, 0x0f, 0x06); /* clts */
		else
			EMIT_GUEST(s, 0x0f, 0x09); /* wbinvd */
		break;
	case 18:
		EMIT_GUEST(s, 0x41, 0x0f, 0x01, WINDOW_MODRM(7), DISP(d)); /* invlpg */
		break;
	case 19: /* push rax; mov rax, cr3; mov cr3, rax; pop rax */
		if (byte % 4 == 0)
			EMIT_GUEST(s, 0x50, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x58);
		else /* with what CPUID leaves of it on top */
			EMIT(s, 0x50, 0x51, 0x52, 0x53, 0x31, 0xc0, 0x0f, 0xa2, 0x5b, 0x5a, 0x59,
			     0x58);
		break;
	}
}

/* The registers of the window: loaded, or stored. Both leave the flags alone. */
static void emit_registers(struct stream *s, uint8_t opcode)
{
	int r;

	for (r = 0; r < 15; r++)
		if (r != 4)
			EMIT(s, REX(r, 15), opcode, 0x47 | (r & 7) << 3, r * 8);
}

static void make_stream(struct stream *s)
{
	int i, top;
	int32_t back;

	/* push rbx, rbp, r12 to r15; mov r15, rdi: the guest has it there already. */
	EMIT(s, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x49, 0x89, 0xff);
	for (i = 0; i < 8; i++)
		EMIT(s, 0x66, 0x0f, 0xef, MODRM(i, i)); /* pxor */
	emit_registers(s, 0x8b);
	EMIT(s, 0x41, 0xff, 0x77, AT_FLAGS, 0x9d); /* push, popfq */
	top = s->n;
	for (i = 0; i < STEPS; i++)
		emit_step(s);
	EMIT(s, 0x41, 0xff, 0x8f, DISP(AT_COUNT), 0x0f, 0x85); /* dec, jnz top */
	back = top - (s->n + 4);
	emit(s, (char *)&back, 4);
	EMIT(s, 0x9c, 0x41, 0x8f, 0x47, AT_FLAGS); /* pushfq, pop */
	emit_registers(s, 0x89);
	EMIT(s, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b);
	emit_both(s, "\xf4", "\xc3", 1); /* hlt, ret */
}

static void set_guest_region(int vm, uint64_t mem, uint32_t flags)
{
	struct kvm_userspace_memory_region r = { .flags = flags,
						 .memory_size = GUEST_SIZE,
						 .userspace_addr = mem };

	ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

/* What the host does to a guest, who must not notice. */
static void stir(int vm, int vcpu, uint64_t mem, uint64_t choice)
{
	struct kvm_interrupt irq = { .irq = 32 + (choice >> 8) % 224 };
	uint8_t *window = (uint8_t *)mem + DATA;
	pid_t child;

	switch (choice % 32) { /* what is slow comes seldom */
	case 0 ... 2:
		ioctl(vcpu, KVM_INTERRUPT, &irq);
		break;
	case 3:
		mprotect(window, WINDOW, choice & 0x100 ? PROT_READ : PROT_NONE);
		mprotect(window, WINDOW, PROT_READ | PROT_WRITE);
		break;
	case 4:
		madvise((void *)mem, DATA + WINDOW, MADV_PAGEOUT);
		break;
	case 5:
		set_guest_region(vm, mem, choice & 0x100 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		break;
	case 6:
		child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		break;
	case 7:
		madvise((void *)mem, GUEST_SIZE, choice & 0x100 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	}
}

/* Runs the guest to its end. False: the host had no memory, or no VM, for it. */
static bool run_compared(int vm, int vcpu, struct kvm_run *run, uint64_t mem, struct stream *s)
{
	const struct itimerval soon = { .it_value.tv_usec = RUN_US };
	int errors = 0;

	for (;;) {
		setitimer(ITIMER_REAL, &soon, NULL);
		if (ioctl(vcpu, KVM_RUN, 0)) {
			if (errno != EINTR && errno != ENOMEM && errno != EAGAIN && errno != EFAULT)
				fuzz_finding("KVM_RUN: %m");
			if (errno != EINTR && errors++ > 100)
				return false;
		} else if (run->exit_reason == KVM_EXIT_IO) {
			if (run->io.direction == KVM_EXIT_IO_IN)
				memset((uint8_t *)run + run->io.data_offset, run->io.port, 4);
		} else if (run->exit_reason == KVM_EXIT_HLT) {
			return true;
		} else {
			struct kvm_regs regs = { 0 };

			ioctl(vcpu, KVM_GET_REGS, &regs);
			fuzz_finding("exit %u at rip %#llx", run->exit_reason, regs.rip);
		}
		stir(vm, vcpu, mem, fuzz_random(&s->random));
	}
}

void fuzz_compare(uint64_t seed)
{
	static struct stream s;
	static uint64_t window[WINDOW / 8];
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[64];
	} cpuid = { .head.nent = 64 };
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rdi = DATA, .rflags = 0x202 };
	struct kvm_sregs sregs = fuzz_sregs(LONG);
	void *code = mmap(NULL, MAX_CODE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *mem =
		mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int dev = open("/dev/vmbox", O_RDWR | O_CLOEXEC), vm, vcpu;
	struct kvm_run *run;
	size_t i;

	vm = ioctl(dev, KVM_CREATE_VM, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (code == MAP_FAILED || mem == MAP_FAILED || run == MAP_FAILED)
		return;
	s.random = seed ? seed : 1;
	make_stream(&s);
	for (i = 0; i < WINDOW / 8; i++)
		window[i] = fuzz_random(&s.random);
	window[AT_FLAGS / 8] = (window[AT_FLAGS / 8] & ARITH_FLAGS) | 0x202;
	window[AT_COUNT / 8] = NR_ROUNDS;
	fuzz_make_tables((uintptr_t)mem, LONG);
	memcpy(mem + CODE, s.bytes[0], s.n);
	memcpy(mem + DATA, window, WINDOW);
	memcpy(code, s.bytes[1], s.n);

	set_guest_region(vm, (uintptr_t)mem, 0);
	if (ioctl(dev, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(vcpu, KVM_SET_CPUID2, &cpuid) ||
	    ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) ||
	    !run_compared(vm, vcpu, run, (uintptr_t)mem, &s))
		return;
	((void (*)(void *))code)(window);
	for (i = 0; i < WINDOW / 8; i++) {
		uint64_t got;

		memcpy(&got, mem + DATA + i * 8, 8);
		if (got != window[i])
			fuzz_finding("%#zx: the guest has %#lx, natively it is %#lx", i * 8, got,
				     window[i]);
	}
}
