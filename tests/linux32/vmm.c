// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux32 [--device PATH] VMLINUX INITRD [CMDLINE]: boots a 32-bit Linux by the 32-bit boot
 * protocol (Documentation/x86/boot.rst), over the KVM API: 128 MiB from address 0, 64 MiB
 * from 4 GiB, the runtime's 8259s and 8254, and a transmit register at 0x3f8 that goes to
 * stdout. The guest ends by a reset. Then a last line says how its paging was set up.
 * 200 s, then it is hung. Exit status: 0 it reset itself, 1 it ended otherwise.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../../runtime/cpuid.h"
#include "../../runtime/pic.h"
#include "../../runtime/pit.h"

#define LOW_SIZE    (128UL << 20)
#define HIGH_BASE   (1ULL << 32)
#define HIGH_SIZE   (64UL << 20)
#define BOOT_PARAMS 0x2000UL
#define CMDLINE	    0x3000UL
#define STACK_TOP   0x5000UL
#define LOW_END	    0x9f000UL
#define KERNEL_MIN  0x100000UL

#define UART		 0x3f8
#define UART_STATUS	 0x3fd
#define UART_IDLE	 0x60 /* transmitter empty */
#define CMOS_DATA	 0x71
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET	 0xfe

static uint8_t *ram;
static int vm, vcpu, timer;
static struct kvm_run *run;
static struct pic pic; /* the vCPU thread's */
static struct pit pit; /* likewise */
static atomic_bool tick;
static pthread_t vcpu_thread;

static void fail(const char *what)
{
	fprintf(stderr, "linux32: %s: %s\n", what, strerror(errno));
	exit(125);
}

static int checked(int ret, const char *what)
{
	if (ret < 0)
		fail(what);
	return ret;
}

static void *map(size_t size, int prot, int flags, int fd)
{
	void *p = mmap(NULL, size, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static const uint8_t *map_file(const char *path, size_t *size)
{
	int fd = checked(open(path, O_RDONLY), path);
	struct stat st;
	void *p;

	checked(fstat(fd, &st), path);
	*size = st.st_size;
	p = map(*size, PROT_READ, MAP_PRIVATE, fd);
	close(fd);
	return p;
}

/* ---- The machine and its contents ---- */

static void *add_memory(unsigned int slot, uint64_t gpa, size_t size)
{
	void *p = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct kvm_userspace_memory_region region = { .slot = slot,
						      .guest_phys_addr = gpa,
						      .memory_size = size,
						      .userspace_addr = (uintptr_t)p };

	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	return p;
}

/* Copies the segments; returns the entry, which like them is a physical address. */
static uint32_t load_kernel(const char *path)
{
	size_t size, i;
	const uint8_t *file = map_file(path, &size);
	const Elf32_Ehdr *eh = (const void *)file;
	const Elf32_Phdr *ph;

	errno = ENOEXEC;
	if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_machine != EM_386 ||
	    eh->e_phoff + eh->e_phnum * sizeof(*ph) > size)
		fail(path);
	ph = (const void *)(file + eh->e_phoff);
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if ((uint64_t)ph[i].p_offset + ph[i].p_filesz > size ||
		    ph[i].p_paddr < KERNEL_MIN ||
		    (uint64_t)ph[i].p_paddr + ph[i].p_memsz > LOW_SIZE)
			fail(path);
		memcpy(ram + ph[i].p_paddr, file + ph[i].p_offset, ph[i].p_filesz);
	}
	return eh->e_entry;
}

static void add_e820(struct boot_params *bp, uint64_t addr, uint64_t size)
{
	struct boot_e820_entry e = { .addr = addr, .size = size, .type = 1 };

	memcpy(&bp->e820_table[bp->e820_entries++], &e, sizeof(e));
}

static void make_boot_params(const char *initrd, const char *cmdline)
{
	size_t size;
	const uint8_t *file = map_file(initrd, &size);
	struct boot_params bp = { 0 };

	errno = E2BIG;
	if (size > LOW_SIZE / 4 || strlen(cmdline) > 1000)
		fail(initrd);
	bp.hdr.boot_flag = 0xaa55;
	bp.hdr.header = 0x53726448; /* "HdrS" */
	bp.hdr.version = 0x20f;
	bp.hdr.type_of_loader = 0xff;
	bp.hdr.loadflags = 1;
	bp.hdr.cmd_line_ptr = CMDLINE;
	bp.hdr.cmdline_size = strlen(cmdline);
	bp.hdr.ramdisk_image = (LOW_SIZE / 2 - size) & ~4095UL; /* not in high memory */
	bp.hdr.ramdisk_size = size;
	memcpy(ram + bp.hdr.ramdisk_image, file, size);
	add_e820(&bp, 0, LOW_END);
	add_e820(&bp, KERNEL_MIN, LOW_SIZE - KERNEL_MIN);
	add_e820(&bp, HIGH_BASE, HIGH_SIZE);
	memcpy(ram + BOOT_PARAMS, &bp, sizeof(bp));
	strcpy((char *)ram + CMDLINE, cmdline);
}

static void set_registers(uint32_t entry)
{
	struct kvm_segment code = {
		.limit = ~0U, .selector = 0x10, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rip = entry, .rsi = BOOT_PARAMS, .rsp = STACK_TOP, .rflags = 2 };
	struct kvm_sregs s;

	data.selector = 0x18;
	data.type = 3;
	checked(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.cr0 = 0x11; /* ET PE */
	s.cr3 = s.cr4 = s.efer = 0;
	s.apic_base = 0; /* stock KVM would offer one */
	checked(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void make_machine(const char *path)
{
	int device = checked(open(path, O_RDWR | O_CLOEXEC), path);
	const char *error;

	errno = EPROTO;
	if (ioctl(device, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		fail(path);
	vm = checked(ioctl(device, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ram = add_memory(0, 0, LOW_SIZE);
	add_memory(1, HIGH_BASE, HIGH_SIZE);
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = map(checked(ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
		  PROT_READ | PROT_WRITE, MAP_SHARED, vcpu);
	error = cpuid_setup(device, vcpu);
	if (error)
		fail(error);
	pic_init(&pic);
	timer = checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd");
}

/* ---- Time: a thread that turns the timer's expirations into signals ---- */

static void on_signal(int sig)
{
	__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static void *timer_thread(void *unused)
{
	uint64_t n;

	while (read(timer, &n, sizeof(n)) == sizeof(n)) {
		tick = true;
		pthread_kill(vcpu_thread, SIGUSR1);
	}
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* ---- Exits ---- */

/* The guest's end, and what there is to know about it. */
_Noreturn static void ended(const char *how, uint64_t detail, int status)
{
	struct kvm_regs regs = { 0 };
	struct kvm_sregs s = { 0 };

	ioctl(vcpu, KVM_GET_REGS, &regs);
	ioctl(vcpu, KVM_GET_SREGS, &s);
	printf("\nlinux32: %s (%#llx): rip %#llx cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx, %s\n",
	       how, (unsigned long long)detail, (unsigned long long)regs.rip,
	       (unsigned long long)s.cr0, (unsigned long long)s.cr2, (unsigned long long)s.cr3,
	       (unsigned long long)s.cr4,
	       !(s.cr0 >> 31)	 ? "no paging"
	       : s.cr4 & 1U << 5 ? "PAE paging"
				 : "32-bit paging");
	fflush(stdout);
	_exit(status);
}

static void port_write(uint16_t port, uint8_t value)
{
	struct pit_timer t;

	if (port == UART) {
		putchar(value);
	} else if (pit_write(&pit, port, value, now_ns(), &t)) {
		struct itimerspec spec = { .it_value = to_timespec(t.first_ns),
					   .it_interval = to_timespec(t.period_ns) };

		if (t.changed)
			timerfd_settime(timer, 0, &spec, NULL);
	} else if (port == KEYBOARD_COMMAND && value == KEYBOARD_RESET) {
		ended("the guest reset itself", 0, 0);
	} else {
		pic_write(&pic, port, value);
	}
}

static uint8_t port_read(uint16_t port)
{
	uint8_t value;

	if (pic_read(&pic, port, &value) || pit_read(&pit, port, now_ns(), &value))
		return value;
	switch (port) {
	case UART_STATUS:
		return UART_IDLE;
	case CMOS_DATA: /* "no update in progress", or the kernel waits for a second */
		return 0;
	case KEYBOARD_COMMAND: /* its buffer is empty: ready for the reset */
		return 0;
	}
	return 0xff;
}

static void handle_io(void)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	if (run->io.count != 1)
		ended("string port I/O", run->io.port, 1);
	if (run->io.direction == KVM_EXIT_IO_OUT) {
		port_write(run->io.port, *data);
	} else {
		memset(data, 0xff, run->io.size);
		*data = port_read(run->io.port);
	}
}

static void handle_hlt(void)
{
	sigset_t block, old;

	if (!run->if_flag)
		ended("the guest halted for good", 0, 1);
	fflush(stdout);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	while (!tick && !pic_pending(&pic))
		sigsuspend(&old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void handle_exit(void)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io();
		return;
	case KVM_EXIT_HLT:
		handle_hlt();
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return;
	case KVM_EXIT_MMIO:
		ended("an access outside of memory", run->mmio.phys_addr, 1);
	case KVM_EXIT_SHUTDOWN:
		ended("a triple fault", 0, 1);
	case KVM_EXIT_FAIL_ENTRY:
		ended("entry failed", run->fail_entry.hardware_entry_failure_reason, 1);
	case KVM_EXIT_INTERNAL_ERROR:
		ended("internal error", run->internal.suberror, 1);
	}
	ended("unknown exit", run->exit_reason, 1);
}

/* An interrupt goes in if the guest can take one; else it is asked to say when it can. */
static void prepare_entry(void)
{
	struct kvm_interrupt irq = { 0 };
	int vector = -1;

	/* In this order: a tick after the exchange sets immediate_exit again. */
	__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (atomic_exchange(&tick, false))
		pic_raise(&pic, 0);
	if (run->ready_for_interrupt_injection)
		vector = pic_acknowledge(&pic);
	run->request_interrupt_window = pic_pending(&pic);
	if (vector < 0)
		return;
	irq.irq = vector;
	checked(ioctl(vcpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT");
}

static void on_alarm(int sig)
{
	ended("hung", 0, 1); /* not a safe thing to do in a handler, but it is the end */
}

int main(int argc, char **argv)
{
	const char *path = "/dev/vmbox";
	struct sigaction on_tick = { .sa_handler = on_signal };
	char cmdline[1024];
	pthread_t thread;
	long khz;

	if (argc > 2 && !strcmp(argv[1], "--device")) {
		path = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 3 || argc > 4) {
		fputs("usage: linux32 [--device PATH] VMLINUX INITRD [CMDLINE]\n", stderr);
		return 125;
	}
	make_machine(path);
	khz = checked(ioctl(vcpu, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");
	snprintf(cmdline, sizeof(cmdline),
		 "earlyprintk=serial,0x3f8,115200,keep printk.time=1 printk.devkmsg=on reboot=k "
		 "panic=-1 "
		 "oops=panic tsc=reliable tsc_early_khz=%ld %s",
		 khz, argc > 3 ? argv[3] : "");
	make_boot_params(argv[2], cmdline);
	set_registers(load_kernel(argv[1]));

	vcpu_thread = pthread_self();
	sigaction(SIGUSR1, &on_tick, NULL);
	signal(SIGALRM, on_alarm);
	alarm(200);
	errno = pthread_create(&thread, NULL, timer_thread, NULL);
	if (errno)
		fail("thread");
	for (;;) {
		prepare_entry();
		if (!ioctl(vcpu, KVM_RUN, 0))
			handle_exit();
		else if (errno != EINTR && errno != EAGAIN)
			ended("KVM_RUN failed", errno, 1);
	}
}
