// SPDX-License-Identifier: GPL-2.0-only
/*
 * What leaks through the driver's switch: `leaks NAME`, as root; without NAME it lists the tests.
 *
 * Both sides fill all registers that they have with random patterns, go to the other, and then
 * compare. The guest has its own at each dump, whatever exits were between; a new vCPU has what a
 * reset leaves, and nothing of the host's or of another guest's; the host's task has its own
 * after each KVM_RUN, and its CPU all MSRs. VMBOX_SEED: other patterns.
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "leaks.h"
#include "vm.h"

#define UD 6
#define GP 13

#define MAX_CPUS  64
#define FX_USED	  416 /* of FXSAVE's 512 bytes */
#define DATA_SEL  16  /* the guest's GDT: data, and one more */
#define USER_SEL  24
#define HOST_DATA 0x2b /* Linux's __USER_DS */

enum {
	RAX,
	RCX,
	RDX,
	RSI = 6,
	RDI,
	R11 = 11
};

/* The MSRs of the guest, as leaks.S has them. */
enum {
	STAR,
	LSTAR,
	CSTAR,
	SFMASK,
	SYSENTER_CS,
	SYSENTER_ESP,
	SYSENTER_EIP,
	FS_BASE,
	GS_BASE
};
enum {
	KERNEL_GS = 9,
	EFER,
	PAT
};

extern uint32_t host_mask;

static bool intel;
static int signal_after; /* so many us of KVM_RUN; 0: never */
static volatile uint64_t nr_alarms;

/* xorshift64*: many patterns, and soon. */
static uint64_t rnd(void)
{
	static uint64_t x;

	if (!x)
		x = strtoull(getenv("VMBOX_SEED") ?: "1", NULL, 0) * 2 + 1;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545f4914f6cdd1dULL;
}

static void fill(void *to, size_t size)
{
	uint64_t *p = to;

	for (size_t i = 0; i < size / 8; i++)
		p[i] = rnd();
}

static uint64_t canonical(uint64_t val)
{
	return (uint64_t)((int64_t)(val << 16) >> 16);
}

static void must_be(const char *side, const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		FAIL("%s: %s is %#lx, and should be %#lx", side, what, is, should);
}

static void same(const char *side, const char *what, const void *is, const void *should, size_t n)
{
	const uint8_t *a = is, *b = should;

	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			FAIL("%s: byte %zu of %s is %#x, and should be %#x", side, i, what, a[i],
			     b[i]);
}

/* ---- x87, SSE, AVX ---- */

/* An image of FXSAVE's as the CPU gives it back, with nothing that raises an exception. */
static void fill_fx(uint8_t fx[512])
{
	uint8_t own[512] __attribute__((aligned(16)));
	uint32_t mxcsr = (rnd() & 0xe03f) | 0x1f80;

	fill(fx, 512);
	memset(fx + FX_USED, 0, 512 - FX_USED);
	for (int i = 0; i < 8; i++) /* ST have 10 bytes, of 16 */
		memset(fx + 32 + i * 16 + 10, 0, 6);
	fx[0] |= 0x3f;
	if (!intel) /* the pointers of x87 are restored only if an exception is pending */
		memset(fx + 6, 0, 18);
	memcpy(fx + 24, &mxcsr, sizeof(mxcsr));
	asm volatile("fxsave64 %0; fxrstor64 %1; fxsave64 %1; fxrstor64 %0"
		     : "+m"(*(uint8_t(*)[512])own), "+m"(*(uint8_t(*)[512])fx)
		     :
		     : "memory");
}

static void check_fx(const char *side, const uint8_t *is, const uint8_t *should)
{
	same(side, "FCW to FTW", is, should, 6);
	if (intel)
		same(side, "FOP to FDP", is + 6, should + 6, 18);
	same(side, "MXCSR", is + 24, should + 24, 4);
	same(side, "x87 and XMM registers", is + 32, should + 32, FX_USED - 32);
}

/* Where component @i of XSAVE's is in its area; 0: it is not looked at. */
static size_t component(int i, size_t *size)
{
	unsigned int eax, ebx, ecx, edx;

	if (i < 2 || !(host_mask >> i & 1))
		return 0;
	__cpuid_count(0xd, i, eax, ebx, ecx, edx);
	*size = eax;
	return ebx;
}

/* ---- the host ---- */

/* What is the CPU's own in host mode. Those that this CPU lacks are not looked at. */
static const struct {
	uint32_t msr;
	const char *name;
} msrs[] = {
	{ 0xc0000080, "EFER" },
	{ 0xc0000081, "STAR" },
	{ 0xc0000082, "LSTAR" },
	{ 0xc0000083, "CSTAR" },
	{ 0xc0000084, "SFMASK" },
	{ 0xc0000101, "GS_BASE" },
	{ 0xc0000103, "TSC_AUX" },
	{ 0x174, "SYSENTER_CS" },
	{ 0x175, "SYSENTER_ESP" },
	{ 0x176, "SYSENTER_EIP" },
	{ 0x1b, "APIC_BASE" },
	{ 0x3a, "FEAT_CTL" },
	{ 0x3b, "TSC_ADJUST" },
	{ 0x48, "SPEC_CTRL" },
	{ 0x8b, "UCODE_REV" },
	{ 0xe1, "UMWAIT" },
	{ 0x10a, "ARCH_CAP" },
	{ 0x122, "TSX_CTRL" },
	{ 0x140, "MISC_FEATURES" },
	{ 0x179, "MCG_CAP" },
	{ 0x1a0, "MISC_ENABLE" },
	{ 0x1d9, "DEBUGCTL" },
	{ 0x1fc, "POWER_CTL" },
	{ 0x277, "PAT" },
	{ 0x200, "MTRR_BASE0" },
	{ 0x201, "MTRR_MASK0" },
	{ 0x250, "MTRR_FIX64K" },
	{ 0x2ff, "MTRR_DEF_TYPE" },
	{ 0x38d, "FIXED_CTR_CTRL" },
	{ 0x38f, "PERF_GLOBAL_CTRL" },
	{ 0x3f1, "PEBS_ENABLE" },
	{ 0x570, "RTIT_CTL" },
	{ 0x600, "DS_AREA" },
	{ 0x6a0, "U_CET" },
	{ 0x6a2, "S_CET" },
	{ 0xd90, "BNDCFGS" },
	{ 0xda0, "XSS" },
	{ 0xc0010010, "SYSCFG" },
	{ 0xc0010015, "HWCR" },
	{ 0xc0010114, "VM_CR" },
	{ 0xc0010117, "VM_HSAVE_PA" },
	{ 0xc0011029, "DE_CFG" },
	{ 0xc001011f, "VIRT_SPEC_CTRL" },
};
#define NR_MSRS	   (sizeof(msrs) / sizeof(msrs[0]))
#define I_TSC_AUX  6
#define I_DEBUGCTL 21

static struct cpu {
	int msr_fd; /* 0: there is no such CPU, or none that is used; -1: without MSRs */
	bool has[NR_MSRS];
	uint64_t msr[NR_MSRS], was_tsc_aux, was_debugctl;
	struct host_side own; /* what with_state() sees there */
} cpus[MAX_CPUS];
static int pinned = -1; /* the CPU, or -1: any of them */

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK_EQ(sched_setaffinity(tid, sizeof(set), &set), 0);
}

static void call(long nr, long a, long b, long c)
{
	host_want.gpr[RAX] = nr;
	host_want.gpr[RDI] = a;
	host_want.gpr[RSI] = b;
	host_want.gpr[RDX] = c;
	with_state();
}

/* New patterns. A selector of FS or GS that is not 0 is kept, and the base that it has. */
static void fill_host(void)
{
	struct host_side *h = &host_want;
	size_t at, size;
	uint64_t pkru; /* of 32 bits, and 32 that are not used */

	fill(h->gpr, sizeof(h->gpr));
	h->rflags = (rnd() & 0x200cd5) | 0x202; /* ID OF DF SF ZF AF PF CF; IF */
	h->selector[0] = rnd() & 1 ? HOST_DATA : 0;
	h->selector[1] = rnd() & 1 ? HOST_DATA : 0;
	if (!h->selector[2])
		h->fs_base = rnd() & 0x7fffffff0000;
	if (!h->selector[3])
		h->gs_base = rnd() & 0x7fffffff0000;
	fill_fx(h->xsave);
	memset(h->xsave + 512, 0, 64);
	memcpy(h->xsave + 512, &host_mask, sizeof(host_mask));
	for (int i = 2; i < 32; i++) {
		at = component(i, &size);
		if (!at)
			continue;
		fill(h->xsave + at, size);
		if (i == 9) { /* PKRU: not key 0, which is everything's */
			pkru = rnd() & 0xfffffffc;
			memcpy(h->xsave + at, &pkru, sizeof(pkru));
		}
	}
}

/* The part of @h that is its CPU's. */
static bool is_cpus(const struct host_side *h, const struct cpu *cpu)
{
	const struct host_side *own = &cpu->own;

	return cpu->msr_fd && h->tsc_aux == own->tsc_aux && h->xcr0 == own->xcr0 &&
	       h->msw == own->msw && h->tr == own->tr && h->ldtr == own->ldtr &&
	       !memcmp(&h->gdtr, &own->gdtr, sizeof(h->gdtr)) &&
	       !memcmp(&h->idtr, &own->idtr, sizeof(h->idtr));
}

static void check_host(void)
{
	static const char *const names[] = {
		"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
		"R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"
	};
	static const char *const segments[] = { "DS", "ES", "FS", "GS" };
	const struct host_side *h = &host_seen, *want = &host_want;
	size_t at, size;
	int i;

	for (i = RCX; i < 16; i++)
		must_be("host", names[i], h->gpr[i],
			i == RCX   ? (uintptr_t)host_resumed
			: i == R11 ? want->rflags
				   : want->gpr[i]);
	must_be("host", "RFLAGS", h->rflags, want->rflags);
	for (i = 0; i < 4; i++)
		must_be("host", segments[i], h->selector[i], want->selector[i]);
	must_be("host", "FS's base", h->fs_base, want->fs_base);
	must_be("host", "GS's base", h->gs_base, want->gs_base);
	check_fx("host", h->xsave, want->xsave);
	for (i = 2; i < 32; i++) {
		at = component(i, &size);
		if (at)
			same("host",
			     i == 9   ? "PKRU"
			     : i == 2 ? "YMM"
				      : "XSAVE's area",
			     h->xsave + at, want->xsave + at, size);
	}
	for (i = 0; i < MAX_CPUS; i++)
		if ((pinned < 0 || i == pinned) && is_cpus(h, &cpus[i]))
			return;
	FAIL("host: TSC_AUX %#lx, XCR0 %#lx, MSW %#lx, GDTR %#lx %#x, IDTR %#lx %#x, LDTR %#lx, TR "
	     "%#lx: "
	     "not what the CPU had",
	     h->tsc_aux, h->xcr0, h->msw, h->gdtr.base, h->gdtr.limit, h->idtr.base, h->idtr.limit,
	     h->ldtr, h->tr);
}

static void check_msrs(void)
{
	char name[32];
	uint64_t val;

	for (int i = 0; i < MAX_CPUS; i++) {
		struct cpu *cpu = &cpus[i];

		for (size_t m = 0; m < NR_MSRS; m++) {
			if (!cpu->has[m] || (pinned >= 0 && i != pinned))
				continue;
			CHECK_EQ(pread(cpu->msr_fd, &val, 8, msrs[m].msr), 8);
			snprintf(name, sizeof(name), "%s of CPU %d", msrs[m].name, i);
			must_be("host", name, val, cpu->msr[m]);
		}
	}
}

/* What each CPU has while it has a VM, and nothing has run in it. */
static void look_at_cpus(void)
{
	for (int i = 0; i < MAX_CPUS; i++) {
		if (!cpus[i].msr_fd)
			continue;
		pin(0, i);
		fill_host();
		call(SYS_getppid, 0, 0, 0);
		cpus[i].own = host_seen;
		for (size_t m = 0; m < NR_MSRS; m++)
			cpus[i].has[m] = pread(cpus[i].msr_fd, &cpus[i].msr[m], 8, msrs[m].msr) ==
					 8;
	}
	if (pinned >= 0)
		pin(0, pinned);
}

static void put_msr(int fd, uint32_t msr, uint64_t val)
{
	uint64_t is = 0;

	if (pwrite(fd, &val, 8, msr) != 8 || pread(fd, &is, 8, msr) != 8 || is != val)
		printf("MSR %#x does not take %#lx\n", msr, val);
}

static pid_t owner;

static void restore_cpus(void)
{
	for (int i = 0; i < MAX_CPUS && getpid() == owner; i++) {
		if (cpus[i].has[I_TSC_AUX])
			put_msr(cpus[i].msr_fd, msrs[I_TSC_AUX].msr, cpus[i].was_tsc_aux);
		if (cpus[i].has[I_DEBUGCTL])
			put_msr(cpus[i].msr_fd, msrs[I_DEBUGCTL].msr, cpus[i].was_debugctl);
	}
}

/*
 * Opens the CPUs that we may run on, and gives them patterns where the kernel has none of its own:
 * in TSC_AUX, and LBR in DEBUGCTL.
 */
static __attribute__((target("xsave"))) void setup(void)
{
	unsigned int eax, ebx, ecx, edx;
	cpu_set_t set;

	intel = __builtin_cpu_is("intel");
	__cpuid(1, eax, ebx, ecx, edx);
	if (ecx & bit_OSXSAVE) {
		host_caps |= CAP_XSAVE;
		host_mask = _xgetbv(0) & 0x2e7; /* x87 SSE AVX AVX-512 PKRU */
	}
	__cpuid(0x80000001, eax, ebx, ecx, edx);
	if (edx & 1 << 27)
		host_caps |= CAP_RDTSCP;
	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	if (!(ecx & 1 << 2))
		host_caps |= CAP_TABLES;
	if (!(ecx & 1 << 4)) /* OSPKE: this kernel does not switch PKRU */
		host_mask &= ~(1U << 9);

	owner = getpid();
	CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int i = 0; i < MAX_CPUS; i++) {
		char path[32];

		if (!CPU_ISSET(i, &set))
			continue;
		if (pinned < 0)
			pinned = i;
		snprintf(path, sizeof(path), "/dev/cpu/%d/msr", i);
		cpus[i].msr_fd = open(path, O_RDWR | O_CLOEXEC);
		if (cpus[i].msr_fd < 0) {
			printf("the CPU's MSRs are not looked at: %s: %m (modprobe msr)\n", path);
			continue;
		}
		cpus[i].has[I_TSC_AUX] =
			pread(cpus[i].msr_fd, &cpus[i].was_tsc_aux, 8, msrs[I_TSC_AUX].msr) == 8;
		if (cpus[i].has[I_TSC_AUX])
			put_msr(cpus[i].msr_fd, msrs[I_TSC_AUX].msr, (uint32_t)rnd());
		cpus[i].has[I_DEBUGCTL] =
			pread(cpus[i].msr_fd, &cpus[i].was_debugctl, 8, msrs[I_DEBUGCTL].msr) == 8;
		if (cpus[i].has[I_DEBUGCTL])
			put_msr(cpus[i].msr_fd, msrs[I_DEBUGCTL].msr, 1);
	}
	atexit(restore_cpus);
}

/* ---- the guest ---- */

#define SLOT 16
struct kind {
	const char *name;
	uint8_t len, code[SLOT];
};
static const struct kind kinds[] = {
	{ "out", 2, { 0xe6, 0x12 } },
	{ "hlt", 1, { 0xf4 } },
	{ "invlpg", 8, { 0x0f, 0x01, 0x3c, 0x25, 0x00, 0x00, 0x22, 0x00 } },
	{ "page fault", 8, { 0x4c, 0x89, 0x04, 0x25, 0x00, 0x00, 0x22, 0x00 } }, /* to TOUCH */
	{ "clts", 2, { 0x0f, 0x06 } },
	{ "irq window", 3, { 0xe6, 0x12, 0xfb } },
	{ "spin", 2, { 0xeb, 0xfe } },
	{ "loop", 3, { 0x67, 0xe2, 0xfd } }, /* until ECX is 0, other tasks have turns */
};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define OUT	 (&kinds[0])
#define WINDOW	 (&kinds[5])
#define SPIN	 (&kinds[6])
#define LOOP	 (&kinds[7])

static struct guest_side *side(struct vm *vm, uint64_t at)
{
	return (struct guest_side *)(vm->mem + at);
}

/* What its TR and LDTR began with: kept in the guest's page, beyond what it loads. */
static uint64_t *bases(struct vm *vm)
{
	return vm_entry(vm, WANT + 0x800);
}

static uint8_t *slot(struct vm *vm)
{
	extern const uint8_t guest_leaks[], guest_leaks_slot[];

	return vm->mem + CODE + (guest_leaks_slot - guest_leaks);
}

static uint64_t random_dr7(void)
{
	uint64_t dr7 = 0x400;

	for (int i = 0; i < 4; i++) {
		if (rnd() & 1)
			continue;
		dr7 |= 1ULL << (i * 2 + (rnd() & 1)); /* local or global */
		if (rnd() & 1)			      /* of what is written, of some length */
			dr7 |= (1 | (rnd() & 3) << 2) << (16 + i * 4);
	}
	return rnd() & 1 ? dr7 : 0x400;
}

/* All that a guest in long mode may write, and read back as it was. */
static void fill_guest(struct guest_side *g, const struct kind *kind)
{
	static const uint8_t types[] = { 0, 1, 4, 5, 6, 7 };
	uint64_t sysenter = intel ? ~0ULL : 0x7fffffff; /* AMD's have 32 bits */
	int i;

	fill(g, offsetof(struct guest_side, fx));
	fill_fx(g->fx);
	g->rflags = (g->rflags & 0x247ed5) | 2; /* ID AC NT IOPL OF DF IF SF ZF AF PF CF */
	if (kind == WINDOW)
		g->rflags &= ~0x200ULL;
	if (kind == LOOP)
		g->gpr[RCX] = 5000000 + (rnd() & 0xfffff);
	for (i = 0; i < 4; i++) {
		int which = rnd() & 3;

		g->selector[i] = which == 0   ? rnd() & 3
				 : which == 1 ? DATA_SEL
					      : USER_SEL | (rnd() & 3);
	}
	g->gdtr.base = canonical(g->gdtr.base);
	g->idtr.base = canonical(g->idtr.base);
	g->cr0 = 0x80010033 | (g->cr0 & 0x40000); /* AM */
	g->cr3 = PML4;
	g->cr4 = 0x620 | (g->cr4 & 0x8c); /* PGE DE TSD */
	g->cr8 &= 15;
	for (i = 0; i < 4; i++)
		g->dr[i] = rnd() | 1ULL << 46; /* nowhere near the guest */
	g->dr[4] = (g->dr[4] & 0xe00f) | 0xffff0ff0;
	g->dr[5] = random_dr7();
	for (i = LSTAR; i <= KERNEL_GS; i++)
		g->msr[i] = canonical(g->msr[i]);
	g->msr[SFMASK] &= 0xffffffff;
	g->msr[SYSENTER_CS] &= 0xffff;
	g->msr[SYSENTER_ESP] &= sysenter;
	g->msr[SYSENTER_EIP] &= sysenter;
	g->msr[EFER] = 0xd00 | (g->msr[EFER] & 1);
	for (i = 0; i < 8; i++)
		((uint8_t *)&g->msr[PAT])[i] = types[rnd() % 6];
}

static void check_guest(const struct guest_side *is, const struct guest_side *should)
{
#define EACH(field)                                                             \
	for (size_t i = 0; i < sizeof(is->field) / sizeof(is->field[0]); i++) { \
		char name[32];                                                  \
		snprintf(name, sizeof(name), "%s[%zu]", #field, i);             \
		must_be("guest", name, is->field[i], should->field[i]);         \
	}
#define ONE(field) must_be("guest", #field, is->field, should->field)
	EACH(gpr);
	ONE(rflags);
	EACH(selector);
	ONE(gdtr.base);
	ONE(gdtr.limit);
	ONE(idtr.base);
	ONE(idtr.limit);
	ONE(ldtr);
	ONE(tr);
	ONE(cr0);
	ONE(cr2);
	ONE(cr3);
	ONE(cr4);
	ONE(cr8);
	EACH(dr);
	EACH(msr);
	check_fx("guest", is->fx, should->fx);
}

static void alarm_in(int us)
{
	struct itimerval t = { .it_value.tv_usec = us, .it_interval.tv_usec = us };

	CHECK_EQ(setitimer(ITIMER_REAL, &t, NULL), 0);
}

/* One KVM_RUN, with all of the host's in other patterns; then it has them. Its exit, or -errno. */
static int run(struct vm *vm)
{
	fill_host();
	if (signal_after)
		alarm_in(signal_after);
	call(SYS_ioctl, vm->vcpu, KVM_RUN, 0);
	check_host();
	check_msrs();
	return host_seen.gpr[RAX] ? (int)host_seen.gpr[RAX] : (int)vm->run->exit_reason;
}

/* Runs to the OUT at @port. */
static void run_to(struct vm *vm, uint16_t port)
{
	uint64_t until = nr_alarms + 3;

	for (;;) {
		int reason = run(vm);

		if (reason == -EINTR) {
			if (nr_alarms >= until && !memcmp(slot(vm), SPIN->code, SPIN->len))
				memset(slot(vm), 0x90, SLOT);
		} else if (reason == KVM_EXIT_IRQ_WINDOW_OPEN) {
			vm->run->request_interrupt_window = 0;
		} else if (reason == KVM_EXIT_IO && vm->run->io.port == port) {
			return;
		} else if (reason != KVM_EXIT_HLT &&
			   (reason != KVM_EXIT_IO || vm->run->io.port != 0x12)) {
			FAIL("exit %d", reason);
		}
	}
}

/* A VM in which the guest has stored what it had at first: nothing of anybody's. */
static void start(struct vm *vm)
{
	const struct kvm_segment tss = {
		.base = canonical(rnd()), .limit = 0x67, .selector = 0x38, .type = 11, .present = 1
	};
	const struct kvm_segment ldt = {
		.base = canonical(rnd()), .limit = 0x2f, .selector = 0x40, .type = 2, .present = 1
	};
	struct guest_side *seen, should = { .rflags = 2,
					    .selector = { 16, 16, 16, 16 },
					    .gdtr = { 23, GDT },
					    .idtr = { 4095, IDT },
					    .ldtr = 0x40,
					    .tr = 0x38,
					    .cr0 = 0x80010033,
					    .cr3 = PML4,
					    .cr4 = 0x620,
					    .dr = { 0, 0, 0, 0, 0xffff0ff0, 0x400 } };
	/* struct kvm_regs has another one. */
	static const uint8_t order[] = { 0, 2, 3, 1, 6, 7, 4, 5 };
	struct kvm_sregs s;

	vm_create(vm);
	look_at_cpus();
	LOAD(vm, leaks);
	*vm_entry(vm, GDT + USER_SEL) = 0x00cff3000000ffffULL; /* data, for ring 3 */
	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	s.tr = tss;
	s.ldt = ldt;
	bases(vm)[0] = tss.base;
	bases(vm)[1] = ldt.base;
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_SREGS, &s), 0);
	fill(&vm->regs, sizeof(vm->regs));
	vm->regs.rip = CODE;
	vm->regs.rflags = 2;
	vm_start(vm);
	fill_guest(side(vm, WANT), OUT);
	run_to(vm, 0x10);

	seen = side(vm, SEEN);
	for (int i = 0; i < 16; i++)
		should.gpr[i] = ((uint64_t *)&vm->regs)[i < 8 ? order[i] : i];
	should.msr[EFER] = 0xd01;
	should.msr[PAT] = 0x0007040600070406;
	should.fx[0] = 0x7f;
	should.fx[1] = 3;
	should.fx[24] = 0x80;
	should.fx[25] = 0x1f;
	check_guest(seen, &should);
}

/* The guest takes new patterns, and is about to do what @kind says, or has done so. */
static void begin(struct vm *vm, const struct kind *kind)
{
	fill_guest(side(vm, WANT), kind);
	memset(slot(vm), 0x90, SLOT);
	memcpy(slot(vm), kind->code, kind->len);
	CHECK_EQ(madvise(vm->mem + TOUCH, 4096, MADV_DONTNEED), 0);
	if (kind == OUT || kind == WINDOW)
		run_to(vm, 0x12);
	if (kind == WINDOW) { /* not before: QEMU's ends if CR8 is written while one is awaited */
		vm->run->request_interrupt_window = 1;
		side(vm, WANT)->rflags |= 0x200;
	}
}

static void finish(struct vm *vm)
{
	struct guest_side *want = side(vm, WANT);
	struct kvm_sregs s;

	memset(side(vm, SEEN), 0, sizeof(struct guest_side));
	run_to(vm, 0x10);
	if (!memcmp(slot(vm), LOOP->code, LOOP->len))
		want->gpr[RCX] = 0;
	want->ldtr = 0x40;
	want->tr = 0x38;
	check_guest(side(vm, SEEN), want);
	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	must_be("guest", "TR's base", s.tr.base, bases(vm)[0]);
	must_be("guest", "TR's limit", s.tr.limit, 0x67);
	must_be("guest", "LDTR's base", s.ldt.base, bases(vm)[1]);
	must_be("guest", "LDTR's limit", s.ldt.limit, 0x2f);
	must_be("guest", "FS's base", s.fs.base, want->msr[FS_BASE]);
	must_be("guest", "GS's base", s.gs.base, want->msr[GS_BASE]);
}

/* Each kind of exit, @n times. */
static void rounds(struct vm *vm, int n)
{
	for (int i = 0; i < n; i++) {
		for (size_t k = 0; k < NR_KINDS; k++) {
			if (&kinds[k] == SPIN && !signal_after)
				continue;
			printf("round %d, %s\n", i, kinds[k].name);
			begin(vm, &kinds[k]);
			finish(vm);
		}
	}
}

/* ---- the tests ---- */

static void test_each_exit(void)
{
	struct vm vm;

	start(&vm);
	rounds(&vm, 4);
	vm_destroy(&vm);
}

/* One waits with its patterns while the other runs with its own, or is made. */
static void test_two_vms_in_turn(void)
{
	struct vm a, b;

	start(&a);
	for (int i = 0; i < 4; i++) {
		printf("round %d\n", i);
		begin(&a, OUT);
		start(&b);
		begin(&b, OUT);
		finish(&a);
		begin(&a, OUT);
		finish(&b);
		vm_destroy(&b);
		finish(&a);
	}
	vm_destroy(&a);
}

/* On a stack of its own, and with FS as the task had it: nothing that knows of threads. */
static __attribute__((no_stack_protector)) void on_alarm(int sig)
{
	(void)sig;
	nr_alarms++;
	asm volatile("fninit; fldpi; fldpi; pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm15, %%xmm15"
		     :
		     :
		     : "xmm0", "xmm15");
}

static void take_signals(int us)
{
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };

	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	CHECK_EQ(sigaction(SIGALRM, &sa, NULL), 0);
	signal_after = us;
}

static void test_signals(void)
{
	struct vm vm;

	take_signals(2000);
	start(&vm);
	rounds(&vm, 4);
	CHECK(nr_alarms >= 12);
	vm_destroy(&vm);
}

/* Another task of the same CPU's that looks for the guests' too; until it is killed. */
static pid_t bystander(volatile uint64_t *turns)
{
	static const struct timespec moment = { .tv_nsec = 200000 };
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; ++*turns) {
		fill_host();
		call(SYS_nanosleep, (long)&moment, 0, 0);
		check_host();
	}
}

static int wait_for(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) != child)
		CHECK_EQ(errno, EINTR);
	return status;
}

/* With restartable sequences KVM_RUN ends whenever another task has had its turn. */
static void no_rseq(void)
{
	if (__rseq_size) /* it is in use */
		CHECK_EQ(syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32,
				 RSEQ_FLAG_UNREGISTER, RSEQ_SIG),
			 0);
}

/* Two tasks with a guest each, and one without: each is in the middle of things when others run. */
static void test_context_switches(void)
{
	volatile uint64_t *turns =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t idle, busy;
	struct vm vm;

	CHECK(turns != MAP_FAILED);
	take_signals(50000); /* many ticks, at which others have their turn, within one KVM_RUN */
	no_rseq();
	start(&vm);
	idle = bystander(turns);
	busy = fork();
	if (!busy) {
		struct vm own;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rnd(); /* patterns of its own */
		start(&own);
		rounds(&own, 4);
		exit(0);
	}
	rounds(&vm, 4);
	CHECK_EQ(wait_for(busy), 0);
	kill(idle, SIGKILL);
	CHECK_EQ(wait_for(idle), SIGKILL); /* not of what it found */
	printf("%lu turns of the bystander\n", *turns);
	CHECK(*turns > 10);
	vm_destroy(&vm);
}

static volatile bool migrating;
static volatile uint64_t nr_moves;

static void *move(void *tid)
{
	sigset_t set;

	sigfillset(&set); /* the alarm is for the other thread */
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	for (int i = 0; migrating; i = (i + 1) % MAX_CPUS) {
		if (!cpus[i].msr_fd)
			continue;
		pin(*(pid_t *)tid, i);
		nr_moves++;
		usleep(700);
	}
	return NULL;
}

/* A guest that goes from CPU to CPU in whatever it does, and on each meets another. */
static void test_migration(void)
{
	pid_t tid = gettid(), other;
	struct vm vm;
	pthread_t thread;
	int n = 0;

	for (int i = 0; i < MAX_CPUS; i++)
		n += !!cpus[i].msr_fd;
	if (n < 2)
		skip("needs two CPUs");
	pinned = -1;
	take_signals(6000);
	start(&vm);
	other = fork();
	if (!other) {
		struct vm own;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (start(&own);;)
			rounds(&own, 1);
	}
	migrating = true;
	CHECK_EQ(pthread_create(&thread, NULL, move, &tid), 0);
	rounds(&vm, 8);
	migrating = false;
	CHECK_EQ(pthread_join(thread, NULL), 0);
	printf("%lu moves\n", nr_moves);
	CHECK(nr_moves > 10);
	kill(other, SIGKILL);
	CHECK_EQ(wait_for(other), SIGKILL);
	vm_destroy(&vm);
}

/* A VM that ends, by a shutdown, by an exit that cannot be, or by an entry that is refused. */
static void test_the_end_of_a_vm(void)
{
	static const struct kind triple = { "ud2", 2, { 0x0f, 0x0b } },
				 outsb = { "outsb", 1, { 0x6e } };
	const struct kind *how[] = { &triple, &outsb, OUT };
	static const int reasons[] = { KVM_EXIT_SHUTDOWN, KVM_EXIT_INTERNAL_ERROR,
				       KVM_EXIT_FAIL_ENTRY };
	struct kvm_sregs s;
	struct vm vm;
	int reason;

	for (int i = 0; i < (intel ? 3 : 2); i++) {
		printf("%s\n", how[i]->name);
		start(&vm);
		begin(&vm, how[i]);
		if (i == 2) {
			CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &s), 0);
			s.tr.type = 2;
			CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &s), 0);
		}
		do
			reason = run(&vm);
		while (reason == -EINTR); /* the kernel had work for us */
		CHECK_EQ(reason, reasons[i]);
		vm_destroy(&vm);
	}
}

/* ---- what only some tasks have ---- */

static uint32_t low[1024] __attribute__((aligned(4096))); /* a static program is below 4 GiB */

/* A segment of the LDT, or one of the three of a task in the GDT; -1: the kernel has none. */
static long set_segment(bool ldt, uint32_t base)
{
	struct user_desc d = { .entry_number = ldt ? 1 : -1U,
			       .base_addr = base,
			       .limit = 0xfff,
			       .seg_32bit = 1,
			       .useable = 1 };
	static struct user_desc *at;
	long ret;

	if (ldt)
		return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) ? -1 : 1 << 3 | 7;
	at = (struct user_desc *)low;
	*at = d;
	asm volatile("int $0x80" : "=a"(ret) : "0"(243), "b"(at) : "memory");
	return ret ? -1 : (long)at->entry_number << 3 | 3;
}

/* Selectors with descriptors in FS and GS, and an LDT. */
static void test_segments(void)
{
	long tls = set_segment(false, (uintptr_t)low), ldt = set_segment(true, (uintptr_t)low + 8);
	struct vm vm;

	if (tls < 0 && ldt < 0)
		skip("the kernel has neither modify_ldt nor set_thread_area");
	printf("TLS %#lx, LDT %#lx\n", tls, ldt);
	for (int i = 0; i < 2; i++) {
		long fs = i ? ldt : tls, gs = i ? tls : ldt;

		host_want.selector[2] = fs < 0 ? 0 : fs;
		host_want.selector[3] = gs < 0 ? 0 : gs;
		host_want.fs_base = (uintptr_t)low + (i ? 8 : 0);
		host_want.gs_base = (uintptr_t)low + (i ? 0 : 8);
		start(&vm);
		rounds(&vm, 1);
		vm_destroy(&vm);
	}
}

static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static bool faults(void (*does)(void))
{
	struct sigaction sa = { .sa_handler = on_fault };

	CHECK_EQ(sigaction(SIGSEGV, &sa, NULL), 0);
	if (sigsetjmp(fault, 1))
		return true;
	does();
	return false;
}

static void read_tsc(void)
{
	__rdtsc();
}

static void write_port(void)
{
	outb(0, 0x80);
}

/* CR4.TSD and the I/O bitmap are the task's. */
static void test_rights(void)
{
	bool ports = !ioperm(0x80, 1, 1);
	struct vm vm;

	if (!ports)
		printf("ioperm: %m\n");
	start(&vm);
	host_caps &= ~CAP_RDTSCP;
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(prctl(PR_SET_TSC, i & 1 ? PR_TSC_ENABLE : PR_TSC_SIGSEGV), 0);
		look_at_cpus();
		begin(&vm, OUT);
		CHECK_EQ(faults(read_tsc), !(i & 1));
		CHECK_EQ(faults(write_port), !ports);
		finish(&vm);
		CHECK_EQ(faults(read_tsc), !(i & 1));
		CHECK_EQ(faults(write_port), !ports);
	}
	vm_destroy(&vm);
}

static int watch(uint64_t addr, uint32_t type)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = type,
					.bp_addr = addr,
					.bp_len = HW_BREAKPOINT_LEN_8,
					.exclude_kernel = 1 };
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0UL);

	if (fd < 0)
		FAIL("perf_event_open: %m");
	return fd;
}

static uint64_t hits(int fd)
{
	uint64_t n;

	CHECK_EQ(read(fd, &n, 8), 8);
	return n;
}

/*
 * The host's task watches addresses at which the guest has its own memory: each sees its own
 * accesses, and has its own DR0 to DR3, DR6 and DR7.
 */
static void test_breakpoints(void)
{
	volatile uint64_t *mine = mmap((void *)SEEN, 8192, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint64_t n = 0;
	int seen, want, i;
	struct vm vm;

	CHECK(mine == (void *)SEEN);
	seen = watch(SEEN, HW_BREAKPOINT_W);
	want = watch(WANT, HW_BREAKPOINT_RW);
	start(&vm);
	for (i = 0; i < 12; i++) {
		printf("round %d\n", i);
		begin(&vm, OUT);
		mine[0] = ++n;
		CHECK_EQ(hits(seen), n);
		finish(&vm);
		mine[0] = ++n;
		CHECK_EQ(hits(seen), n);
		CHECK_EQ(hits(want), i);
		mine[512] = n;
		CHECK_EQ(hits(want), i + 1);
		CHECK_EQ(hits(seen), n);
	}
	vm_destroy(&vm);
}

/* The guest can neither read nor write what the driver does not switch. */
static void test_what_is_not_the_guests(void)
{
	static const uint32_t others[] = { 0xc0000103, 0x48,  0x49,  0x3b, 0xda0,
					   0x1d9,      0x6a0, 0x6a2, 0xe1 };
	static const struct {
		const char *name;
		uint8_t code[8];
	} insns[] = {
		{ "rdpkru", { 0x0f, 0x01, 0xee } },	{ "wrpkru", { 0x0f, 0x01, 0xef } },
		{ "xgetbv", { 0x0f, 0x01, 0xd0 } },	{ "xsetbv", { 0x0f, 0x01, 0xd1 } },
		{ "xrstor", { 0x0f, 0xae, 0x2b } },	{ "xsave", { 0x0f, 0xae, 0x23 } },
		{ "rdtscp", { 0x0f, 0x01, 0xf9 } },	{ "vpcmpeqd", { 0xc5, 0xfd, 0x76, 0xc0 } },
		{ "vzeroupper", { 0xc5, 0xf8, 0x77 } }, { "vmovaps", { 0xc5, 0xfc, 0x29, 0x03 } },
	};
	struct vm vm;
	size_t i;

	vm_create(&vm);
	look_at_cpus();
	for (i = 0; i < 2 * sizeof(others) / sizeof(others[0]); i++) {
		printf("%s of MSR %#x\n", i & 1 ? "WRMSR" : "RDMSR", others[i / 2]);
		vm.regs = (struct kvm_regs){
			.rip = CODE, .rsp = STACK, .rflags = 2, .rcx = others[i / 2], .rax = 1
		};
		memcpy(vm.mem + CODE, i & 1 ? "\x0f\x30\xf4" : "\x0f\x32\xf4", 3);
		vm_start(&vm);
		vm_expect_fault(&vm, GP, 0, -1);
		check_msrs();
	}
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		if (on_tcg() && !strcmp(insns[i].name, "rdtscp"))
			continue; /* its intercept is not looked at there */
		printf("%s\n", insns[i].name);
		vm.regs = (struct kvm_regs){
			.rip = CODE, .rsp = STACK, .rflags = 2, .rbx = DATA, .rax = 1
		};
		memset(vm.mem + CODE, 0xf4, 16);
		memcpy(vm.mem + CODE, insns[i].code, strnlen((char *)insns[i].code, 8));
		vm_start(&vm);
		vm_expect_fault(&vm, UD, CODE, -1);
		fill_host();
		call(SYS_getppid, 0, 0, 0);
		host_want.gpr[RAX] = 0;
		check_host();
	}
	vm_destroy(&vm);
}

static const struct test tests[] = {
	TEST(each_exit),   TEST(two_vms_in_turn),	 TEST(signals),	 TEST(context_switches),
	TEST(migration),   TEST(the_end_of_a_vm),	 TEST(segments), TEST(rights),
	TEST(breakpoints), TEST(what_is_not_the_guests),
};

int main(int argc, char **argv)
{
	const struct test *test = choose_test(tests, sizeof(tests) / sizeof(tests[0]), argv[1]);

	setvbuf(stdout, NULL, _IOLBF, 0);
	setup();
	test->fn();
	return 0;
}
