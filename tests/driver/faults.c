// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's error paths, and the deaths of its callers, on a kernel that can inject faults
 * (scripts/lab amd --kernel debug): `faults NAME`, as root; without NAME it lists the tests.
 *
 * fault_*: each allocation and each copy from or to the caller fails in turn, by the task's
 * fail-nth; the call says so, and does what it should when it is made again.
 * kill_*: processes die at random instants. VMBOX_SEED repeats one run's choices.
 *
 * A test runs in a cgroup of its own. Afterwards no VM may be left, and no kernel memory that
 * was charged to it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define DEBUG  "/sys/kernel/debug/"
#define CGROUP "/sys/fs/cgroup/"
#define BIG    0x40000000UL /* a slot whose arrays are too large for kmalloc() */
#define MINE   CGROUP "vmbox-faults"
#define LEFT   (64L << 10) /* bytes of kernel memory that caches may keep */

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		FAIL("%s: %m", path);
	close(fd);
}

/* What @path has after @key, as a number; -1: not there. */
static long number_in(const char *path, const char *key)
{
	char line[256];
	long val = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		FAIL("%s: %m", path);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			val = atol(line + strlen(key));
	fclose(f);
	return val;
}

/* No kernel memory is left in a cgroup without processes, whose memory.stat @stat is. */
static void check_memory(const char *stat)
{
	long bytes = 0;
	int tries;

	for (tries = 0; tries < 50; tries++) {
		put("/proc/sys/vm/drop_caches", "2"); /* dentries and inodes */
		bytes = number_in(stat, "kernel ");
		if (bytes < LEFT)
			break;
		usleep(100000);
	}
	printf("left: %ld bytes of kernel memory\n", bytes);
	CHECK(bytes >= 0 && bytes < LEFT);
}

/* ---- one fault ---- */

static int fail_nth; /* /proc/thread-self/fail-nth */

static void arm(unsigned int n)
{
	char text[12];
	int len = snprintf(text, sizeof(text), "%u", n);

	CHECK_EQ(pwrite(fail_nth, text, len, 0), len);
}

/* Has the fault been? Both calls copy, so it may be theirs. */
static bool disarm(void)
{
	char text[12] = "";
	bool was = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	while (pwrite(fail_nth, "0", 1, 0) != 1)
		;
	return was;
}

/* ---- the calls ---- */

struct call {
	const char *name;
	void (*prepare)(struct vm *vm); /* or NULL; before each call */
	long (*make)(struct vm *vm);	/* -1 and errno: it failed */
	void (*undo)(struct vm *vm, long ret);
};

static int other_vm; /* without a vCPU */
static union {
	struct kvm_cpuid2 head;
	char bytes[sizeof(struct kvm_cpuid2) + 64 * sizeof(struct kvm_cpuid_entry2)];
} cpuid;
static struct kvm_regs regs;
static struct kvm_sregs sregs;

static long set_region(struct vm *vm, uint32_t flags, uint64_t gpa, uint64_t size)
{
	struct kvm_userspace_memory_region r = { .slot = 1,
						 .flags = flags,
						 .guest_phys_addr = gpa,
						 .memory_size = size,
						 .userspace_addr = (uintptr_t)vm->mem };

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static void close_it(struct vm *vm, long ret)
{
	if (ret >= 0)
		close(ret);
}

static void delete_region(struct vm *vm, long ret)
{
	CHECK_EQ(set_region(vm, 0, MEM_SIZE, 0), 0);
}

static void add_region(struct vm *vm)
{
	CHECK_EQ(set_region(vm, 0, MEM_SIZE, 0x10000), 0);
}

static void add_logged_region(struct vm *vm)
{
	CHECK_EQ(set_region(vm, KVM_MEM_LOG_DIRTY_PAGES, MEM_SIZE, 0x10000), 0);
}

static void add_big_logged_region(struct vm *vm)
{
	CHECK_EQ(set_region(vm, KVM_MEM_LOG_DIRTY_PAGES, MEM_SIZE, BIG), 0);
}

static long call_open(struct vm *vm)
{
	return open(device, O_RDWR | O_CLOEXEC);
}

static long call_create_vm(struct vm *vm)
{
	return ioctl(vm->dev, KVM_CREATE_VM, 0);
}

static void make_other_vm(struct vm *vm)
{
	other_vm = ioctl(vm->dev, KVM_CREATE_VM, 0);
	CHECK(other_vm >= 0);
}

static long call_create_vcpu(struct vm *vm)
{
	return ioctl(other_vm, KVM_CREATE_VCPU, 0);
}

/* Where it failed, the VM can still have its vCPU. */
static void close_other_vm(struct vm *vm, long ret)
{
	if (ret < 0)
		ret = ioctl(other_vm, KVM_CREATE_VCPU, 0);
	CHECK(ret >= 0);
	close(ret);
	close(other_vm);
}

static long call_region(struct vm *vm)
{
	return set_region(vm, 0, MEM_SIZE, 0x10000);
}

static long call_big_region(struct vm *vm)
{
	return set_region(vm, 0, MEM_SIZE, BIG);
}

static long call_logged_region(struct vm *vm)
{
	return set_region(vm, KVM_MEM_LOG_DIRTY_PAGES, MEM_SIZE, 0x10000);
}

static long call_big_logged_region(struct vm *vm)
{
	return set_region(vm, KVM_MEM_LOG_DIRTY_PAGES, MEM_SIZE, BIG);
}

static long call_readonly_region(struct vm *vm)
{
	return set_region(vm, KVM_MEM_READONLY, MEM_SIZE, 0x10000);
}

static long call_move_region(struct vm *vm)
{
	return set_region(vm, 0, MEM_SIZE + 0x10000, 0x10000);
}

static long call_delete_region(struct vm *vm)
{
	return set_region(vm, 0, MEM_SIZE, 0);
}

static long dirty_log(struct vm *vm)
{
	static unsigned long bitmap[BIG / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };

	return ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

/* A call that failed has not changed the region: it has a log or has not. */
static void log_is_there(struct vm *vm, long ret)
{
	CHECK_EQ(dirty_log(vm), 0);
	delete_region(vm, ret);
}

static void log_as_told(struct vm *vm, long ret)
{
	CHECK_EQ(dirty_log(vm), ret);
	delete_region(vm, ret);
}

static long call_stats(struct vm *vm)
{
	return ioctl(vm->fd, KVM_GET_STATS_FD, 0);
}

static int stats;

static void open_stats(struct vm *vm)
{
	stats = ioctl(vm->fd, KVM_GET_STATS_FD, 0);
	CHECK(stats >= 0);
}

static long call_read_stats(struct vm *vm)
{
	static char file[8192];

	return pread(stats, file, sizeof(file), 0) > 0 ? 0 : -1;
}

static void close_stats(struct vm *vm, long ret)
{
	close(stats);
}

static long call_mmap(struct vm *vm)
{
	void *run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);

	if (run == MAP_FAILED)
		return -1;
	*(volatile char *)run = 0; /* the kernel takes a fault that failed again */
	munmap(run, 4096);
	return 0;
}

static long call_supported_cpuid(struct vm *vm)
{
	cpuid.head.nent = 64;
	return ioctl(vm->dev, KVM_GET_SUPPORTED_CPUID, &cpuid);
}

static void have_cpuid(struct vm *vm)
{
	CHECK_EQ(call_supported_cpuid(vm), 0);
}

static long call_set_cpuid(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_SET_CPUID2, &cpuid);
}

static long call_get_regs(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_GET_REGS, &regs);
}

static void have_regs(struct vm *vm)
{
	CHECK_EQ(call_get_regs(vm), 0);
	regs.rcx++;
}

static long call_set_regs(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_SET_REGS, &regs);
}

static void regs_as_told(struct vm *vm, long ret)
{
	uint64_t was = regs.rcx;

	CHECK_EQ(call_get_regs(vm), 0);
	CHECK_EQ(regs.rcx, ret ? was - 1 : was);
}

static long call_get_sregs(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_GET_SREGS, &sregs);
}

static void have_sregs(struct vm *vm)
{
	CHECK_EQ(call_get_sregs(vm), 0);
	sregs.gs.base++;
}

static long call_set_sregs(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_SET_SREGS, &sregs);
}

static void sregs_as_told(struct vm *vm, long ret)
{
	uint64_t was = sregs.gs.base;

	CHECK_EQ(call_get_sregs(vm), 0);
	CHECK_EQ(sregs.gs.base, ret ? was - 1 : was);
}

static long call_interrupt(struct vm *vm)
{
	struct kvm_interrupt irq = { .irq = 0x31 };

	return ioctl(vm->vcpu, KVM_INTERRUPT, &irq) && errno != EEXIST ? -1 : 0;
}

static const struct call calls[] = {
	{ "open", NULL, call_open, close_it },
	{ "KVM_CREATE_VM", NULL, call_create_vm, close_it },
	{ "KVM_CREATE_VCPU", make_other_vm, call_create_vcpu, close_other_vm },
	{ "a new region", NULL, call_region, delete_region },
	{ "a big region", NULL, call_big_region, delete_region },
	{ "a logged region", NULL, call_logged_region, delete_region },
	{ "a big logged region", NULL, call_big_logged_region, delete_region },
	{ "a read-only region", NULL, call_readonly_region, delete_region },
	{ "a region begins to be logged", add_region, call_logged_region, log_as_told },
	{ "a region is logged no more", add_logged_region, call_region, delete_region },
	{ "a region moves", add_region, call_move_region, delete_region },
	{ "a region is deleted", add_region, call_delete_region, delete_region },
	{ "KVM_GET_DIRTY_LOG", add_logged_region, dirty_log, log_is_there },
	{ "KVM_GET_DIRTY_LOG of a big region", add_big_logged_region, dirty_log, log_is_there },
	{ "KVM_GET_STATS_FD", NULL, call_stats, close_it },
	{ "reading the statistics", open_stats, call_read_stats, close_stats },
	{ "mmap", NULL, call_mmap, NULL },
	{ "KVM_GET_SUPPORTED_CPUID", NULL, call_supported_cpuid, NULL },
	{ "KVM_SET_CPUID2", have_cpuid, call_set_cpuid, NULL },
	{ "KVM_GET_REGS", NULL, call_get_regs, NULL },
	{ "KVM_SET_REGS", have_regs, call_set_regs, regs_as_told },
	{ "KVM_GET_SREGS", NULL, call_get_sregs, NULL },
	{ "KVM_SET_SREGS", have_sregs, call_set_sregs, sregs_as_told },
	{ "KVM_INTERRUPT", NULL, call_interrupt, NULL },
};
#define NR_CALLS (sizeof(calls) / sizeof(calls[0]))

static void test_fault_in_each_call(void)
{
	const struct call *c;
	struct vm vm;

	vm_create(&vm);
	for (c = calls; c < calls + NR_CALLS; c++) {
		unsigned int n = 0, failed = 0;
		bool was;

		do {
			long ret;
			int err;

			if (c->prepare)
				c->prepare(&vm);
			arm(++n);
			ret = c->make(&vm);
			err = errno;
			was = disarm();
			if (ret < 0 && (!was || (err != ENOMEM && err != EFAULT)))
				FAIL("%s: fault %u%s: %s", c->name, n, was ? "" : " was not",
				     strerror(err));
			failed += ret < 0;
			if (c->undo)
				c->undo(&vm, ret);
		} while (was);
		printf("%s: %u of %u faults made it fail\n", c->name, failed, n - 1);
		CHECK(failed || c->make == call_mmap);
	}
	vm_destroy(&vm);
}

/* KVM_CREATE_VM where it is the host's first, so turns virtualization on, and its process's. */
static void test_fault_in_the_first_vm(void)
{
	unsigned int n = 0;
	int status;

	do {
		pid_t child = fork();

		if (!child) {
			int dev = open(device, O_RDWR | O_CLOEXEC), vm, err;
			bool was;

			fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
			arm(n + 1);
			vm = ioctl(dev, KVM_CREATE_VM, 0);
			err = errno;
			was = disarm();
			if (vm < 0 && (!was || err != ENOMEM))
				FAIL("fault %u: %s", n + 1, strerror(err));
			CHECK(vm >= 0 || ioctl(dev, KVM_CREATE_VM, 0) >= 0);
			_exit(was ? 11 : 10);
		}
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) >= 10);
		n++;
	} while (WEXITSTATUS(status) != 10);
	printf("%u faults\n", n - 1);
	CHECK(n > 10);
}

/* ---- KVM_RUN ---- */

enum mode {
	LONG_MODE,
	PAE_MODE,
	MODE_32,
	MODE_OFF,
	NR_MODES
};

#define PD32 0x7000UL
#define PT32 0xb000UL

static void set_mode(struct vm *vm, enum mode mode)
{
	uint32_t *pd = (uint32_t *)(vm->mem + PD32), *pt = (uint32_t *)(vm->mem + PT32), i;
	struct kvm_sregs s;

	if (mode == LONG_MODE)
		return;
	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	s.cs.l = 0;
	s.cs.db = 1;
	s.efer = 0;
	s.cr0 = mode == MODE_OFF ? 0x11 : 0x80010011;
	s.cr4 = mode == PAE_MODE ? 0x20 : 0x10;
	s.cr3 = mode == PAE_MODE ? PDPT : PD32;
	*vm_entry(vm, PDPT) = PD | 1;
	for (i = 0; i < 1024; i++) {
		pd[i] = i << 22 | 0x83;
		pt[i] = i << 12 | 3;
	}
	pd[0] = PT32 | 7;
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_SREGS, &s), 0);
}

static unsigned int spoiled; /* KVM_RUN by the fault */

/* To the guest's IN or OUT: one that a fault spoils is made again, and the guest goes on. */
static uint32_t *run_to_port(struct vm *vm, uint16_t port)
{
	while (ioctl(vm->vcpu, KVM_RUN, 0)) {
		if (errno == ENOMEM || errno == EFAULT)
			spoiled++;
		else if (errno != EINTR)
			FAIL("KVM_RUN: %m");
	}
	CHECK_EQ(vm->run->exit_reason, KVM_EXIT_IO);
	CHECK_EQ(vm->run->io.port, port);
	return (uint32_t *)((char *)vm->run + vm->run->io.data_offset);
}

/* The byte at @addr after the guest `memory` has done @op: 0 reads, 1 adds, 2 flushes and reads. */
static uint8_t guest_does(struct vm *vm, uint32_t addr, uint32_t op)
{
	*run_to_port(vm, 0x20) = addr;
	*run_to_port(vm, 0x20) = op;
	return *run_to_port(vm, 0x10);
}

/* Each fault of a guest's first steps, in a new VM: nothing is lost and nothing is done twice. */
static void test_fault_in_run(void)
{
	static const uint32_t where[] = { DATA, DATA + 0x5000, 0x800000 };
	enum mode mode;
	struct vm first;

	vm_create(&first); /* turns virtualization on; not each time */
	for (mode = LONG_MODE; mode < NR_MODES; mode++) {
		unsigned int n = 0, failed = 0, i;
		bool was;

		do {
			uint8_t got[3], again[3];
			struct vm vm;

			vm_create(&vm);
			set_mode(&vm, mode);
			LOAD(&vm, memory);
			vm_start(&vm);
			spoiled = 0;
			arm(++n);
			for (i = 0; i < 3; i++)
				got[i] = guest_does(&vm, where[i], 1);
			for (i = 0; i < 3; i++)
				again[i] = guest_does(&vm, where[i], 2);
			was = disarm();
			for (i = 0; i < 3; i++)
				if (got[i] != 1 || again[i] != 1)
					FAIL("mode %d, fault %u: %d, then %d, not 1", mode, n,
					     got[i], again[i]);
			CHECK(spoiled <= was);
			failed += spoiled;
			vm_destroy(&vm);
		} while (was);
		printf("mode %d: %u of %u faults spoiled a KVM_RUN\n", mode, failed, n - 1);
		CHECK(failed >= 10);
	}
	vm_destroy(&first);
}

/* ---- death ---- */

/* Kills the process group of @child after up to @max_ms. */
static void kill_in(pid_t child, int max_ms)
{
	int status;

	usleep(random() % (max_ms * 1000));
	kill(-child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	if (!WIFSIGNALED(status))
		FAIL("the child ended by itself: %#x", status);
}

/* In a process group of its own, so that what it forks dies too. */
static pid_t fork_group(void)
{
	pid_t child = fork();

	CHECK(child >= 0);
	setpgid(child, child);
	return child;
}

static void test_kill_in_each_call(void)
{
	const struct call *c;
	int i;

	for (c = calls; c < calls + NR_CALLS; c++)
		for (i = 0; i < 4; i++) {
			pid_t child = fork_group();
			struct vm vm;

			if (child) {
				kill_in(child, 120);
				continue;
			}
			vm_create(&vm);
			for (;;) {
				long ret;

				if (c->prepare)
					c->prepare(&vm);
				ret = c->make(&vm);
				if (ret < 0)
					FAIL("%s: %m", c->name);
				if (c->undo)
					c->undo(&vm, ret);
			}
		}
}

#define STORM_SIZE 0x800000UL

/* What can happen to guest memory, all the time; at the end it is as before, but for its bytes. */
static void *storm(void *arg)
{
	struct vm *vm = arg;

	for (;;) {
		size_t size = (1 + random() % 16) * 4096;
		uint8_t *at = vm->mem + DATA + random() % (STORM_SIZE / 4096 - 16) * 4096, *away;
		pid_t child;

		switch (random() % 9) {
		case 0:
			madvise(at, size, MADV_DONTNEED);
			break;
		case 1:
			madvise(at, size, MADV_PAGEOUT);
			break;
		case 2:
			mprotect(at, size, random() % 2 ? PROT_NONE : PROT_READ);
			mprotect(at, size, PROT_READ | PROT_WRITE);
			break;
		case 3:
			away = mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
			if (away != MAP_FAILED)
				mremap(away, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at);
			break;
		case 4:
			munmap(at, size);
			if (mmap(at, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
				return NULL;
			break;
		case 5:
			madvise(at, size, random() % 2 ? MADV_MERGEABLE : MADV_UNMERGEABLE);
			break;
		case 6:
			madvise(vm->mem + DATA, STORM_SIZE,
				random() % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
			break;
		case 7: /* another's memory from here on, copied when written */
			child = fork();
			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
			break;
		case 8:
			if (set_region(vm, random() % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0, MEM_SIZE,
				       random() % 4 * 0x10000))
				return NULL;
			dirty_log(vm);
			break;
		}
	}
}

/* A guest in a storm of two threads, for ever. */
static void guest_in_storm(void)
{
	pthread_t thread;
	struct vm vm;
	int i;

	vm_create(&vm);
	memset(vm.mem + DATA, 1, STORM_SIZE);
	LOAD(&vm, memory);
	vm_start(&vm);
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&thread, NULL, storm, &vm), 0);
	for (;;) {
		guest_does(&vm, DATA + random() % STORM_SIZE, random() % 3);
		guest_does(&vm, MEM_SIZE - 4096, 1); /* in no storm */
	}
}

static void test_kill_in_a_storm(void)
{
	int i;

	put("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	put("/sys/kernel/mm/ksm/run", "1");
	for (i = 0; i < 12; i++) {
		pid_t child = fork_group();

		if (!child)
			guest_in_storm();
		kill_in(child, 1000);
	}
	put("/sys/kernel/mm/ksm/run", "2");
	put("/sys/kernel/mm/ksm/run", "0");
}

/* Likewise with less memory than it needs: its pages go to swap and back, or it is killed for it. */
static void test_kill_under_memory_pressure(void)
{
	static const char limited[] = MINE ".limited";
	int i;

	if (number_in("/proc/swaps", "/") < 0)
		skip("there is no swap");
	if (mkdir(limited, 0755) && errno != EEXIST)
		FAIL("%s: %m", limited);
	put(MINE ".limited/memory.max", "6M");
	for (i = 0; i < 6; i++) {
		pid_t child = fork_group();

		if (!child) {
			put(MINE ".limited/cgroup.procs", "0");
			guest_in_storm();
		}
		kill_in(child, 2000);
	}
	if (number_in(MINE ".limited/memory.events", "max ") < 1)
		FAIL("the limit was never met");
	check_memory(MINE ".limited/memory.stat");
	CHECK_EQ(rmdir(limited), 0);
}

/* Nothing of @fd, a VM or a vCPU, works here. */
static bool is_refused(int fd)
{
	return ioctl(fd, KVM_RUN, 0) == -1 && errno == EIO && ioctl(fd, KVM_CREATE_VCPU, 0) == -1 &&
	       errno == EIO;
}

static void *spin(void *arg)
{
	struct vm *vm = arg;

	if (vm_run(vm) != -EBADF) /* closed by then: the test's turn has come between two calls */
		FAIL("the guest has stopped");
	return NULL;
}

/* A VM whose guest runs in a thread. */
static void spinning_vm(struct vm *vm)
{
	pthread_t thread;

	vm_create(vm);
	LOAD(vm, spin);
	vm_start(vm);
	CHECK_EQ(pthread_create(&thread, NULL, spin, vm), 0);
}

static void fd_send(int sock, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct iovec io = { .iov_base = (char[]){ 0 }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &io,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	CHECK_EQ(sendmsg(sock, &msg, 0), 1);
}

static int fd_receive(int sock)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec io = { .iov_base = (char[]){ 0 }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &io,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd;

	CHECK_EQ(recvmsg(sock, &msg, 0), 1);
	CHECK(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

/* The VM's process dies in KVM_RUN; another has got its descriptors, by @how, and is the last. */
static void outlived(void (*how)(const struct vm *vm, int sock))
{
	int i, sock[2], status;

	for (i = 0; i < 5; i++) {
		pid_t owner, heir;
		char c;

		CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock), 0);
		heir = fork();
		if (!heir) { /* what it gets is refused while the owner lives, and afterwards */
			int vm = fd_receive(sock[1]), vcpu = fd_receive(sock[1]);

			CHECK(is_refused(vm) && is_refused(vcpu));
			CHECK_EQ(write(sock[1], "", 1), 1);
			CHECK_EQ(read(sock[1], &c, 1), 1);
			CHECK(is_refused(vm) && is_refused(vcpu));
			_exit(0);
		}
		owner = fork_group();
		if (!owner) {
			struct vm vm;

			spinning_vm(&vm);
			how(&vm, sock[0]);
			for (;;)
				pause();
		}
		CHECK_EQ(read(sock[0], &c, 1), 1);
		kill_in(owner, 30);
		CHECK_EQ(write(sock[0], "", 1), 1);
		CHECK_EQ(waitpid(heir, &status, 0), heir);
		CHECK_EQ(status, 0);
		close(sock[0]);
		close(sock[1]);
	}
}

static void pass(const struct vm *vm, int sock)
{
	fd_send(sock, vm->fd);
	fd_send(sock, vm->vcpu);
}

static void pass_copies(const struct vm *vm, int sock)
{
	struct vm copy = { .fd = dup(vm->fd), .vcpu = dup3(vm->vcpu, 100, O_CLOEXEC) };

	pass(&copy, sock);
	close(vm->fd);
	close(vm->vcpu); /* in use by KVM_RUN */
	close(copy.fd);
	close(copy.vcpu);
}

/* Passed on by a child that has them by fork. */
static void pass_by_child(const struct vm *vm, int sock)
{
	if (!fork()) {
		if (is_refused(vm->fd) && is_refused(vm->vcpu))
			pass(vm, sock);
		_exit(0);
	}
}

static void test_kill_a_vm_that_was_passed(void)
{
	outlived(pass);
}

static void test_kill_a_vm_that_was_duplicated(void)
{
	outlived(pass_copies);
}

static void test_kill_a_vm_that_was_forked(void)
{
	outlived(pass_by_child);
}

/* A VM in a message that nobody reads, in a socket that only it refers to. */
static void test_kill_a_vm_in_flight(void)
{
	int i, sock[2];

	for (i = 0; i < 5; i++) {
		pid_t child = fork_group();

		if (!child) {
			struct vm vm;

			spinning_vm(&vm);
			CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock), 0);
			pass(&vm, sock[0]);
			fd_send(sock[0], sock[0]);
			fd_send(sock[0], sock[1]);
			for (;;)
				pause();
		}
		kill_in(child, 150);
	}
	/* The kernel collects such sockets when another is closed. */
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock), 0);
	close(sock[0]);
	close(sock[1]);
}

/* The process execs while its guest runs; the new program has inherited copies. */
static void test_kill_after_exec(void)
{
	int i;

	for (i = 0; i < 6; i++) {
		pid_t child = fork_group();

		if (!child) {
			char vm_fd[12], vcpu[12];
			struct vm vm;

			spinning_vm(&vm);
			snprintf(vm_fd, sizeof(vm_fd), "%d", dup(vm.fd));
			snprintf(vcpu, sizeof(vcpu), "%d", dup(vm.vcpu));
			usleep(random() % 5000);
			execl("/proc/self/exe", "faults", "--inherited", vm_fd, vcpu, NULL);
			FAIL("exec: %m");
		}
		kill_in(child, 300);
	}
}

static int inherited(char **fds)
{
	CHECK(is_refused(atoi(fds[0])) && is_refused(atoi(fds[1])));
	for (;;)
		pause();
}

/* A process with another memory, and the same table of descriptors, in which it closes. */
static void test_kill_with_a_shared_table(void)
{
	int i;

	for (i = 0; i < 8; i++) {
		pid_t child = fork_group();

		if (!child) {
			struct vm vm;

			spinning_vm(&vm);
			if (!syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)) {
				CHECK(is_refused(vm.fd) && is_refused(vm.vcpu));
				close(vm.vcpu);
				close(vm.fd);
			}
			for (;;)
				pause();
		}
		kill_in(child, 200);
	}
}

/* ---- the accounts ---- */

static int nr_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = -2; /* . and .. */

	if (!dir)
		FAIL("%s: %m", path);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Is virtualization on, which it is while there is a VM? */
static bool is_on(void)
{
	char line[80];
	bool on = false;
	FILE *f = fopen("/sys/devices/system/cpu/hotplug/states", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		on |= !!strstr(line, "vmbox:online");
	fclose(f);
	return on;
}

/*
 * What a test has left goes by itself, and soon: the last descriptor of a dead process may be
 * closed a moment after it is waited for.
 */
static void settle(void)
{
	int vms = 0, tries;
	long files = 0;
	bool on = true;

	for (tries = 0; tries < 100; tries++) {
		vms = nr_entries(DEBUG "vmbox");
		files = number_in("/sys/module/vmbox/refcnt", "");
		on = is_on();
		if (!vms && !files && !on)
			return;
		usleep(100000);
	}
	FAIL("left: %d VMs, %ld references to the module, virtualization is %s", vms, files,
	     on ? "on" : "off");
}

static void setup(void)
{
	static const char *const never[] = { "failslab/verbose", "fail_page_alloc/verbose",
					     "fail_usercopy/verbose", "fail_page_alloc/min-order" };
	static const char *const also[] = { "failslab/ignore-gfp-wait",
					    "fail_page_alloc/ignore-gfp-wait",
					    "fail_page_alloc/ignore-gfp-highmem" };
	char path[100];
	size_t i;

	if (access("/proc/self/fail-nth", W_OK))
		skip("the kernel injects no faults: scripts/lab amd --kernel debug");
	for (i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		snprintf(path, sizeof(path), DEBUG "%s", never[i]);
		put(path, "0");
	}
	for (i = 0; i < sizeof(also) / sizeof(also[0]); i++) {
		snprintf(path, sizeof(path), DEBUG "%s", also[i]);
		put(path, "N");
	}
	put(CGROUP "cgroup.subtree_control", "+memory");
	if (mkdir(MINE, 0755) && errno != EEXIST)
		FAIL(MINE ": %m");
}

static const struct test tests[] = {
	TEST(fault_in_each_call),
	TEST(fault_in_the_first_vm),
	TEST(fault_in_run),
	TEST(kill_in_each_call),
	TEST(kill_in_a_storm),
	TEST(kill_under_memory_pressure),
	TEST(kill_a_vm_that_was_passed),
	TEST(kill_a_vm_that_was_duplicated),
	TEST(kill_a_vm_that_was_forked),
	TEST(kill_a_vm_in_flight),
	TEST(kill_after_exec),
	TEST(kill_with_a_shared_table),
};

static void run_test(void (*fn)(void))
{
	const char *given = getenv("VMBOX_SEED");
	unsigned int seed = given ? (unsigned int)atoi(given) : (unsigned int)time(NULL);
	int status;
	pid_t child = fork();

	if (!child) {
		put(MINE "/cgroup.procs", "0");
		printf("seed %u\n", seed);
		fflush(stdout);
		srandom(seed);
		fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
		CHECK(fail_nth >= 0);
		fn();
		exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	put(MINE "/cgroup.kill", "1"); /* what a test that failed has left */
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	settle();
	check_memory(MINE "/memory.stat");
}

int main(int argc, char **argv)
{
	const struct test *test;

	if (argc == 4 && !strcmp(argv[1], "--inherited"))
		return inherited(argv + 2);
	test = choose_test(tests, sizeof(tests) / sizeof(tests[0]), argv[1]);
	setup();
	run_test(test->fn);
	return 0;
}
