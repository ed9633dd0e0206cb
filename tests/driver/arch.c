// SPDX-License-Identifier: GPL-2.0-only
/*
 * What random guests (arch_guest.c) see, in a line for each: its number, its mode and ring, how it
 * ended, the exits before, with vectors, and a hash of all that was to be seen at each of these and
 * in the end: registers, and memory with its page tables. The lines are the same on any driver whose
 * guests' processor is the same: tests/bats/arch.bats compares vmbox.ko with stock KVM.
 *
 * arch [--device PATH] [--seed N] [--from N] [--count N] [--hardware-walks] [--verbose]
 * --hardware-walks leaves out what QEMU's nested paging does not do as a CPU does. --verbose: what
 * was hashed, for one guest.
 */
#include <cpuid.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "arch.h"
#include "vm.h"

#define MAX_EXITS 24
#define ENDLESS_S 2 /* no guest takes a hundredth of it */

static bool verbose;
static bool hardware_walks;
static bool no_cr2; /* from a double fault to a page fault */
static uint64_t hash;
static char seen[MAX_EXITS * 8]; /* the exits */

static void hash_bytes(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n--)
		hash = (hash ^ *p++) * 0x100000001b3; /* FNV-1a */
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
	static char line[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	hash_bytes(line, strlen(line));
	if (verbose)
		fputs(line, stdout);
}

static void add_seen(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void add_seen(const char *fmt, ...)
{
	size_t n = strlen(seen);
	va_list args;

	va_start(args, fmt);
	vsnprintf(seen + n, sizeof(seen) - n, fmt, args);
	va_end(args);
}

/* What of this CPU's both drivers can give: the same for both. vmbox.ko's list, kmod/cpuid.c. */
static void set_cpuid(struct vm *vm)
{
	static const struct {
		uint32_t function, ebx, ecx, edx;
	} rows[] = {
		{ 0, ~0U, ~0U, ~0U },
		{ 1, 0xff00, 0x42d82203, 0x078ba97d },
		{ 7, 0x219c0389, 4, 0x10 },
		{ 0x80000000, ~0U, ~0U, ~0U },
		{ 0x80000001, 0, 0x1e1, 0x2193a97d },
		{ 0x80000008, 0, 0, 0 },
	};
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[6];
	} c = { .head.nent = 6 };
	int i;

	for (i = 0; i < 6; i++) {
		struct kvm_cpuid_entry2 *e = &c.entries[i];

		e->function = rows[i].function;
		__cpuid_count(e->function, 0, e->eax, e->ebx, e->ecx, e->edx);
		e->ebx &= rows[i].ebx;
		e->ecx &= rows[i].ecx;
		e->edx &= rows[i].edx;
	}
	c.entries[0].eax = 7;
	c.entries[2].eax = 0;
	c.entries[2].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	c.entries[3].eax = 0x80000008;
	c.entries[4].edx |= 1 << 26; /* pages of 1 GiB */
	c.entries[5].eax = 40 | 48 << 8;
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_CPUID2, &c), 0);
}

/* Runs TOOL's code at @offset in 64-bit mode. What ioctls reach is lost by it. */
static int run_tool(struct vm *vm, uint64_t offset, uint64_t arg)
{
	const struct kvm_segment data = vm_segment(16, 3, false);
	const struct kvm_sregs s = { .cs = vm_segment(8, 11, true),
				     .ds = data,
				     .es = data,
				     .fs = data,
				     .gs = data,
				     .ss = data,
				     .tr = { .limit = 0x67, .type = 11, .present = 1 },
				     .ldt = { .unusable = 1 },
				     .cr0 = 0x80010033,
				     .cr3 = TOOL_PML4,
				     .cr4 = 0x620,
				     .efer = 0xd01 };

	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_SREGS, &s), 0);
	vm->regs = (struct kvm_regs){ .rip = TOOL + offset, .rsi = arg, .rflags = 2 };
	vm_start(vm);
	return vm_run(vm);
}

static void note_segment(const char *name, const struct kvm_segment *s)
{
	note(" %s=%x/%llx/%x/%x%x%x%x%x%x", name, s->selector, s->base, s->limit, s->type,
	     s->present, s->dpl, s->db, s->l, s->g);
}

/*
 * What a handler finds on its stack. Two things in it are not a driver's, and are taken away. RF: QEMU's
 * CPU does not set it for a fault, stock KVM does for what it intercepts, and vmbox.ko intercepts less.
 * And in which instruction of a slot a fault was, where QEMU walks the tables: of INT, if the
 * fault is in its delivery, it tells the next one.
 */
static void note_frame(struct vm *vm, const struct kvm_regs *r, bool is_long)
{
	uint64_t vector = (r->rip - STUBS) / 32, frame[6] = { 0 };
	int size = is_long ? 8 : 4, i, has_error;

	if (r->rsp >= MEM_SIZE - 64)
		return;
	for (i = 0; i < 6; i++)
		memcpy(&frame[i], vm->mem + r->rsp + i * size, size);
	if (vector < NR_VECTORS) {
		has_error = arch_has_error(vector);
		frame[has_error + 2] &= ~0x10000UL;
		if (has_error && hardware_walks)
			frame[1] &= ~(SLOT - 1UL);
		for (i = 0; i < 3 + has_error; i++)
			memcpy(vm->mem + r->rsp + i * size, &frame[i], size);
	}
	note("  stack: %lx %lx %lx %lx %lx %lx\n", frame[0], frame[1], frame[2], frame[3], frame[4],
	     frame[5]);
}

static void note_registers(struct vm *vm)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_REGS, &r), 0);
	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	note("  rip=%llx rflags=%llx rax=%llx rbx=%llx rcx=%llx rdx=%llx rsi=%llx rdi=%llx "
	     "rsp=%llx rbp=%llx\n",
	     r.rip, r.rflags & ~0x10000ULL, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp);
	note("  r8=%llx r9=%llx r10=%llx r11=%llx r12=%llx r13=%llx r14=%llx r15=%llx\n", r.r8,
	     r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15);
	if (no_cr2)
		s.cr2 = 0;
	note("  cr0=%llx cr2=%llx cr3=%llx cr4=%llx cr8=%llx efer=%llx gdt=%llx/%x idt=%llx/%x\n ",
	     s.cr0, s.cr2, s.cr3, s.cr4, s.cr8, s.efer, s.gdt.base, s.gdt.limit, s.idt.base,
	     s.idt.limit);
	note_segment("cs", &s.cs);
	note_segment("ss", &s.ss);
	note_segment("ds", &s.ds);
	note_segment("es", &s.es);
	note_segment("fs", &s.fs);
	note_segment("gs", &s.gs);
	note_segment("ldt", &s.ldt);
	s.tr.type |= 2; /* busy: KVM says so always */
	note_segment("tr", &s.tr);
	note("\n");
	note_frame(vm, &r, s.efer & 0x400);
}

/* Where guests write. */
static const uint64_t ranges[][2] = { { 0, LOW_END },
				      { DATA, DATA + NR_DATA * 4096 },
				      { BIG, BIG + 0x1000 },
				      { BIG + 0x1ff000, BIG + 0x201000 },
				      { BIG + 0x3ff000, BIG + 0x400000 },
				      { HIGH, HIGH + 0x5000 },
				      { HIGH + 0x1ff000, HIGH + 0x201000 },
				      { HIGH + 0x3ff000, HIGH + 0x401000 },
				      { MEM_SIZE - 0x1000, MEM_SIZE } };
#define NR_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static uint8_t before[MEM_SIZE]; /* what was there */

static void keep_memory(const struct vm *vm)
{
	size_t i;

	for (i = 0; i < NR_RANGES; i++)
		memcpy(before + ranges[i][0], vm->mem + ranges[i][0], ranges[i][1] - ranges[i][0]);
}

/* The A bits in 8 bytes at @at that do not count: QEMU's walk sets them on its way to a fault as well. */
static uint64_t ignored_bits(uint64_t at)
{
	static const uint64_t tables[] = { PML4,  PDPT,	     PD,      PT,	  PT_LOW,
					   PD_32, PT_32_LOW, PD_DATA, PT_32_DATA, PDPT_OTHER };
	size_t i;

	for (i = 0; hardware_walks && i < sizeof(tables) / sizeof(tables[0]); i++)
		if (at >> 12 == tables[i] >> 12)
			return 0x2000000020;
	return 0;
}

static void note_memory(const struct vm *vm)
{
	uint64_t at, is, was;
	size_t i;

	for (i = 0; i < NR_RANGES; i++) {
		for (at = ranges[i][0]; at < ranges[i][1]; at += 8) {
			memcpy(&is, vm->mem + at, 8);
			memcpy(&was, before + at, 8);
			if ((is ^ was) & ~ignored_bits(at))
				note("  at %lx: %lx, was %lx\n", at, is | ignored_bits(at), was);
		}
	}
}

static void note_code(const struct vm *vm)
{
	int i, k;

	for (i = 0; i < NR_STEPS; i++) {
		printf("  code %lx:", CODE + i * SLOT);
		for (k = 0; k < SLOT; k++)
			printf(" %02x", vm->mem[CODE + i * SLOT + k]);
		printf("\n");
	}
}

static volatile sig_atomic_t alarmed;

static void on_alarm(int sig)
{
	alarmed = sig;
}

static int run_once(struct vm *vm)
{
	int r;

	do
		r = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : (int)vm->run->exit_reason;
	while (r == -EINTR && !alarmed);
	return r;
}

/* KVM completes an instruction that exited when it is run again. */
static void complete(struct vm *vm)
{
	vm->run->immediate_exit = 1;
	CHECK_ERRNO(ioctl(vm->vcpu, KVM_RUN, 0), EINTR);
	vm->run->immediate_exit = 0;
}

/* An exit for port I/O. False: it is the guest's end. */
static bool note_io(struct vm *vm)
{
	struct kvm_run *run = vm->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t val = 0, port = run->io.port;
	bool in = run->io.direction == KVM_EXIT_IO_IN;

	if (in)
		memset(data, port ^ 0x5a, run->io.size);
	else
		memcpy(&val, data, run->io.size);
	note("%s %x, %d bytes, %x\n", in ? "in" : "out", port, run->io.size, val);
	/* Of two page faults stock KVM tells the first's address, not the second's. */
	if (port == 8 || port == 14)
		no_cr2 = port == 8;
	if (port != DR6_PORT)
		add_seen(" %s%x", in ? "i" : port < NR_VECTORS ? "v" : "o", port);
	complete(vm);
	return port != END_VECTOR;
}

/* From one exit to the next: how it ended. */
static const char *run_guest(struct vm *vm, struct arch_guest *g)
{
	struct kvm_interrupt irq = { .irq = 0x30 };
	const struct itimerval limit = { .it_value.tv_sec = ENDLESS_S };
	int n, r;

	alarmed = 0;
	setitimer(ITIMER_REAL, &limit, NULL);
	for (n = 0; n < MAX_EXITS; n++) {
		vm->run->request_interrupt_window = n < MAX_EXITS - 1 && g->irqs >> n & 1;
		r = run_once(vm);
		switch (r) {
		case KVM_EXIT_SET_TPR: /* KVM's alone */
			n--;
			continue;
		case KVM_EXIT_IO:
			if (vm->run->io.port == DR6_PORT)
				n--; /* of #DB: not counted */
			if (!note_io(vm)) {
				note_registers(vm);
				return "end";
			}
			break;
		case KVM_EXIT_HLT:
			note("hlt\n");
			add_seen(" h");
			break;
		case KVM_EXIT_IRQ_WINDOW_OPEN:
			note("window\n");
			add_seen(" w");
			irq.irq = 0x30 + n % 8;
			CHECK_EQ(ioctl(vm->vcpu, KVM_INTERRUPT, &irq), 0);
			break;
		case KVM_EXIT_MMIO:
			return "outside";
		case KVM_EXIT_SHUTDOWN:
			return "shutdown";
		case -EINTR:
			return "endless";
		case KVM_EXIT_INTERNAL_ERROR:
			/* stock KVM's of an instruction that is fetched there */
			if (!strcmp(device, "/dev/kvm") &&
			    vm->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
				return "outside";
			note("internal error %d\n", vm->run->internal.suberror);
			return "error";
		default:
			note("exit %d\n", r);
			return "other";
		}
		note("  if=%d ready=%d cr8=%llx\n", vm->run->if_flag,
		     vm->run->ready_for_interrupt_injection, vm->run->cr8);
		note_registers(vm);
	}
	return "limit";
}

static void one(uint64_t seed, uint64_t i)
{
	static const char *const names[] = { "64", "compat", "pae", "32", "off" };
	struct arch_guest g = { .hardware_walks = hardware_walks };
	struct kvm_userspace_memory_region high = { .slot = 1,
						    .guest_phys_addr = DATA_VA,
						    .memory_size = MEM_SIZE - HIGH };
	struct arch_hidden *h;
	const char *end;
	struct vm vm;
	int k;

	hash = 0xcbf29ce484222325;
	no_cr2 = false;
	seen[0] = 0;
	vm_create(&vm);
	memset(vm.mem, 0, LOW_END);
	set_cpuid(&vm);
	high.userspace_addr = (uintptr_t)vm.mem + HIGH;
	CHECK_EQ(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &high), 0);
	arch_make(&g, vm.mem, seed, i);
	keep_memory(&vm);
	if (verbose)
		note_code(&vm);
	CHECK_EQ(run_tool(&vm, 0, TOOL_IN), KVM_EXIT_HLT);
	if (ioctl(vm.vcpu, KVM_SET_SREGS, &g.sregs)) {
		end = "refused";
	} else {
		CHECK_EQ(ioctl(vm.vcpu, KVM_SET_REGS, &g.regs), 0);
		vm.run->cr8 = g.sregs.cr8; /* where KVM has no APIC, it takes it from here */
		end = run_guest(&vm, &g);
	}
	if (!strcmp(end, "end") || !strcmp(end, "limit")) {
		vm.run->request_interrupt_window = 0;
		k = run_tool(&vm, arch_store - arch_load, TOOL_OUT);
		if (k != KVM_EXIT_HLT)
			note("tool: exit %d\n", k);
		h = (void *)(vm.mem + TOOL_OUT);
		for (k = 0; verbose && k < NR_HIDDEN_MSRS; k++)
			printf("  msr %lx: %lx\n", h->msr[k].number, h->msr[k].val);
		for (k = 0; verbose && k < 6; k++)
			printf("  dr: %lx\n", h->dr[k]);
	}
	if (strcmp(end, "outside")) /* in the middle of an instruction */
		note_memory(&vm);
	printf("%lu %s/%d %s %016lx%s\n", i, names[g.mode], g.ring, end, hash, seen);
	vm_destroy(&vm);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "device", required_argument, NULL, 'd' },
						 { "seed", required_argument, NULL, 's' },
						 { "from", required_argument, NULL, 'f' },
						 { "count", required_argument, NULL, 'n' },
						 { "hardware-walks", no_argument, NULL, 'w' },
						 { "verbose", no_argument, NULL, 'v' },
						 { NULL, 0, NULL, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm };
	uint64_t seed = 1, from = 0, count = 1, i;
	struct vm idle;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			from = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			count = strtoull(optarg, NULL, 0);
			break;
		case 'w':
			hardware_walks = true;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	sigaction(SIGALRM, &sa, NULL);
	setlinebuf(stdout); /* a lab may die under it */
	vm_create(&idle);   /* else stock KVM patches the kernel's code for each VM, and back */
	for (i = from; i < from + count; i++)
		one(seed, i);
	return 0;
}
