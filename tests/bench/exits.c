// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a driver's exits and VMs cost: the work of `scripts/bench driver`, over what /dev/vmbox and
 * /dev/kvm have in common. `exits DEVICE NAME` speaks as bench.c does; each number is
 * the ticks of one turn, in a round of TURNS. It says "none" in place of "ready" where the device
 * does not have the thing. `exits DEVICE NAME quick`: one round, and no warming up.
 *
 * What is done for an exit is all in the caller's thread, so ticks are instructions. What is done for
 * a VM is not: see busy().
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vm.h"

#define TURNS  1000
#define VMS    64 /* that are there at once, to see what each of them takes */
#define LIVES  8  /* of VMs, one after the other */
#define VECTOR 0x30
#define PF     14

/* The guest's other memory, in pages of 4 KiB on both sides: as many as the tables have. */
#define HIGH	   MEM_SIZE
#define HIGH_PT	   0x30000UL
#define HIGH_PAGES (32UL * 512)
#define HIGH_SIZE  (496UL << 20) /* the slot: 512 MiB in all, as `vmbox run` has */
#define PML4_TOO   0x60000UL
#define PAGE	   4096UL
#define STRIDE	   8 /* pages: both drivers look at this many entries, aligned, at once */

struct bench {
	const char *name;
	const uint8_t *start, *end; /* the guest's program */
	void (*setup)(void);	    /* before the guest starts */
	uint64_t (*round)(void);    /* returns the ticks of a turn */
	int rounds;
};

static struct vm vm;
static uint8_t *high;

/* ---- exits ---- */

static uint64_t turns(void (*turn)(void))
{
	uint64_t began = __rdtsc();
	int i;

	for (i = 0; i < TURNS; i++)
		turn();
	return (__rdtsc() - began) / TURNS;
}

/* The guest does all turns. */
static uint64_t inside(void)
{
	uint64_t began = __rdtsc();

	vm_expect_out(&vm, 0x10);
	return (__rdtsc() - began) / TURNS;
}

static void nothing(void)
{
}

static void use_pat(void)
{
	vm.regs.rsi = 0x277; /* has no effect on a guest of either driver, and exits on both */
}

static void use_two_spaces(void)
{
	memcpy(vm.mem + PML4_TOO, vm.mem + PML4, PAGE);
	vm.regs.rsi = PML4;
	vm.regs.rdi = PML4_TOO;
}

static void gate(int vector)
{
	uint64_t *entry = vm_entry(&vm, IDT + vector * 16);

	*entry = (*entry & ~0xffff00000000ffffULL) | ((CODE + 16) & 0xffff) |
		 (uint64_t)(CODE + 16) >> 16 << 48;
}

static void use_hole(void)
{
	gate(PF);
	vm.regs.r8 = 1UL << 30;
}

static void use_stride(void)
{
	vm.regs.r8 = HIGH;
	vm.regs.r9 = STRIDE * PAGE;
}

/* The host's pages are new ones, and there; so is all of the guest's tables. */
static uint64_t fault_round(void)
{
	if (madvise(high, HIGH_PAGES * PAGE, MADV_DONTNEED) ||
	    madvise(high, HIGH_PAGES * PAGE, MADV_POPULATE_WRITE))
		FAIL("madvise: %m");
	return inside();
}

static void use_ioeventfd(void)
{
	struct kvm_ioeventfd ring = {
		.addr = 0x11, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO, .fd = eventfd(0, 0)
	};

	if (!ioctl(vm.fd, KVM_IOEVENTFD, &ring))
		return;
	if (errno != ENOTTY)
		FAIL("KVM_IOEVENTFD: %m");
	puts("none");
	exit(0);
}

static void out_turn(void)
{
	vm_expect_out(&vm, 0x10);
}

static uint64_t out_round(void)
{
	return turns(out_turn);
}

static void in_turn(void)
{
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IO);
	CHECK_EQ(vm.run->io.direction, KVM_EXIT_IO_IN);
}

static uint64_t in_round(void)
{
	return turns(in_turn);
}

static void halt_turn(void)
{
	CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
}

static uint64_t halt_round(void)
{
	return turns(halt_turn);
}

static void interrupt(void)
{
	struct kvm_interrupt irq = { .irq = VECTOR };

	CHECK_EQ(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), 0);
}

/* An idle guest is woken by an interrupt, and idles again. */
static void use_interrupts(void)
{
	gate(VECTOR);
	vm.regs.rflags |= 0x200;
}

static void wake_turn(void)
{
	halt_turn();
	interrupt();
}

static uint64_t wake_round(void)
{
	return turns(wake_turn);
}

/* A busy guest is asked to take an interrupt when it can. */
static void use_window(void)
{
	gate(VECTOR);
}

static void window_turn(void)
{
	vm_expect_out(&vm, 0x10);
	vm.run->request_interrupt_window = 1;
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IRQ_WINDOW_OPEN);
	vm.run->request_interrupt_window = 0;
	interrupt();
}

static uint64_t window_round(void)
{
	return turns(window_turn);
}

/* ---- VMs ---- */

static clockid_t idle_clock;
static double own; /* what the machine does by itself, in each tick */

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		FAIL("clock_gettime: %m");
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * The ticks, of the lab's 1 ns, that the machine was not idle: those of the kernel's threads and of
 * what it does later, too. Idle is what a child gets that runs whenever nobody else does.
 */
static uint64_t busy(void)
{
	return now(CLOCK_MONOTONIC_RAW) - now(idle_clock);
}

/* What @fn is to the machine, with all that it leaves for later. */
static uint64_t work_of(void (*fn)(void))
{
	uint64_t began = now(CLOCK_MONOTONIC_RAW), was = busy(), elapsed;

	fn();
	usleep(40000);
	elapsed = now(CLOCK_MONOTONIC_RAW) - began;
	return busy() - was - own * elapsed;
}

static void start_idler(void)
{
	pid_t child = fork();
	uint64_t began, was;

	if (child < 0)
		FAIL("fork: %m");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }))
			FAIL("SCHED_IDLE: %m");
		for (;;)
			;
	}
	CHECK(!clock_getcpuclockid(child, &idle_clock));
	usleep(20000);
	began = now(CLOCK_MONOTONIC_RAW);
	was = busy();
	usleep(100000);
	own = (double)(busy() - was) / (now(CLOCK_MONOTONIC_RAW) - began);
}

static void give_high(struct vm *to)
{
	struct kvm_userspace_memory_region region = { .slot = 1,
						      .guest_phys_addr = HIGH,
						      .memory_size = HIGH_SIZE,
						      .userspace_addr = (uintptr_t)high };

	CHECK_EQ(ioctl(to->fd, KVM_SET_USER_MEMORY_REGION, &region), 0);
}

/* One more VM on the memory of the first; it stays. */
static struct vm *another(void)
{
	struct vm *new = calloc(1, sizeof(*new));

	new->mem = vm.mem;
	vm_open(new);
	give_high(new);
	return new;
}

static uint64_t open_round(void)
{
	uint64_t was = busy();

	another();
	return busy() - was;
}

/* One more, whose guest writes to 64 MiB. */
static uint64_t touch_round(void)
{
	struct vm *new = another();
	uint64_t began;

	new->regs.r8 = HIGH;
	new->regs.r9 = PAGE;
	new->regs.r10 = HIGH_PAGES;
	vm_start(new);
	began = __rdtsc();
	vm_expect_out(new, 0x10);
	return (__rdtsc() - began) / HIGH_PAGES;
}

static void fill_high(void)
{
	if (madvise(high, HIGH_PAGES * PAGE, MADV_POPULATE_WRITE))
		FAIL("madvise: %m");
}

static uint64_t vcpu_round(void)
{
	int dev = open(device, O_RDWR), fd = ioctl(dev, KVM_CREATE_VM, 0), vcpu;
	uint64_t ticks = __rdtsc();

	vcpu = ioctl(fd, KVM_CREATE_VCPU, 0);
	ticks = __rdtsc() - ticks;
	CHECK(vcpu >= 0);
	close(vcpu);
	close(fd);
	close(dev);
	return ticks;
}

static void lives(void)
{
	struct vm new = { .mem = vm.mem };
	int i;

	for (i = 0; i < LIVES; i++) {
		vm_open(&new);
		give_high(&new);
		vm_close(&new);
	}
}

static uint64_t life_round(void)
{
	return work_of(lives) / LIVES;
}

static void leave_none(void)
{
	start_idler();
	vm_close(&vm);
}

/* ---- */

#define GUESTS(X) \
	X(cpuid) X(rdmsr) X(wrmsr) X(cr3) X(touch) X(reflect) X(ring) X(out) X(in) X(halt) X(window)
#define DECLARE(name) extern const uint8_t turns_##name[], turns_##name##_end[];
GUESTS(DECLARE)
#define GUEST(name) turns_##name, turns_##name##_end

static const struct bench benches[] = {
	{ "cpuid", GUEST(cpuid), nothing, inside, 3 },
	{ "rdmsr", GUEST(rdmsr), use_pat, inside, 3 },
	{ "wrmsr", GUEST(wrmsr), use_pat, inside, 3 },
	{ "cr3", GUEST(cr3), use_two_spaces, inside, 3 },
	{ "page-fault", GUEST(touch), use_stride, fault_round, 3 },
	{ "reflect", GUEST(reflect), use_hole, inside, 3 },
	{ "port-kernel", GUEST(ring), use_ioeventfd, inside, 3 },
	{ "port-out", GUEST(out), nothing, out_round, 3 },
	{ "port-in", GUEST(in), nothing, in_round, 3 },
	{ "hlt", GUEST(halt), nothing, halt_round, 3 },
	{ "hlt-wake", GUEST(halt), use_interrupts, wake_round, 3 },
	{ "window", GUEST(window), use_window, window_round, 3 },
	{ "vcpu", GUEST(out), nothing, vcpu_round, 3 },
	{ "open", GUEST(out), start_idler, open_round, VMS },
	{ "life", GUEST(out), start_idler, life_round, 2 },
	{ "life-first", GUEST(out), leave_none, life_round, 2 },
	{ "touch", GUEST(touch), fill_high, touch_round, VMS / 2 },
};

#define NR_BENCHES (sizeof(benches) / sizeof(benches[0]))

static void make_high(void)
{
	uint64_t i;

	high = mmap(NULL, HIGH_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(high != MAP_FAILED);
	CHECK(!madvise(high, HIGH_SIZE, MADV_NOHUGEPAGE));
	for (i = 0; i < HIGH_PAGES; i++)
		*vm_entry(&vm, HIGH_PT + i * 8) = (HIGH + i * PAGE) | 3;
	for (i = 0; i < HIGH_PAGES / 512; i++)
		*vm_entry(&vm, PD + (HIGH >> 21) * 8 + i * 8) = (HIGH_PT + i * PAGE) | 7;
	give_high(&vm);
}

static void say_and_wait(void)
{
	char c;

	puts("");
	fflush(stdout);
	while (read(0, &c, 1) == 1 && c != '\n')
		;
}

static void run(const struct bench *b, bool quick)
{
	int i, rounds = quick ? 1 : b->rounds;
	uint64_t ticks[VMS];

	vm_create(&vm);
	make_high();
	vm_load(&vm, b->start, b->end);
	vm.regs.r10 = TURNS;
	b->setup();
	if (b->round != life_round)
		vm_start(&vm);
	if (!quick)
		b->round();
	printf("ready");
	say_and_wait();
	for (i = 0; i < rounds; i++)
		ticks[i] = b->round();
	printf("ticks");
	for (i = 0; i < rounds; i++)
		printf(" %llu", (unsigned long long)ticks[i]);
	say_and_wait();
}

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; argc > 2 && i < NR_BENCHES; i++)
		if (!strcmp(argv[2], benches[i].name)) {
			device = argv[1];
			run(&benches[i], argc > 3 && !strcmp(argv[3], "quick"));
			return 0;
		}
	fputs("usage: exits DEVICE", stderr);
	for (i = 0; i < NR_BENCHES; i++)
		fprintf(stderr, " %s", benches[i].name);
	fputs("\n", stderr);
	return 2;
}
