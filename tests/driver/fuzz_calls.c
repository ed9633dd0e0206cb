// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of the ioctl fuzzer: all that a process can do with the driver's descriptors, with
 * what they map, and with guest memory. What a call returns is the driver's business but for what
 * no process may ever get, which is a finding.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "vm.h"

#define DEBUGFS "/sys/kernel/debug/vmbox"
#define RUN_MS	10 /* until a signal ends a KVM_RUN */

int fuzz_fds[NR_SLOTS];
int fuzz_tids[NR_THREADS];
__thread unsigned int fuzz_fault;

void fuzz_write(uint64_t to, const void *from, unsigned long size)
{
	struct iovec mine = { (void *)from, size }, there = { (void *)to, size };

	process_vm_writev(getpid(), &mine, 1, &there, 1, 0);
}

static int fd(uint64_t slot)
{
	return __atomic_load_n(fuzz_fds + slot % NR_SLOTS, __ATOMIC_RELAXED);
}

long fuzz_put(uint64_t slot, int new)
{
	int old = __atomic_exchange_n(fuzz_fds + slot % NR_SLOTS, new, __ATOMIC_RELAXED);

	if (old >= 0)
		close(old);
	return new;
}

/* Puts @val at the field of @s that @choice means; none if it means none. */
static void patch(void *s, size_t size, uint64_t choice, uint64_t val)
{
	if (choice < size)
		memcpy((char *)s + choice, &val, size - choice < 8 ? size - choice : 8);
}

static void *arena(uint64_t offset)
{
	return (void *)(ARENA + offset % ARENA_SIZE);
}

/* A size with which @offset stays in the arena. */
static size_t within(uint64_t offset, uint64_t size)
{
	uint64_t left = ARENA_SIZE - offset % ARENA_SIZE;

	return size % (left + 1);
}

/* ---- descriptors ---- */

static long call_open(const uint64_t *a)
{
	return fuzz_put(a[0], open("/dev/vmbox", O_RDWR | O_CLOEXEC));
}

static long call_close(const uint64_t *a)
{
	return fuzz_put(a[0], -1);
}

static long call_dup(const uint64_t *a)
{
	return fuzz_put(a[1], fcntl(fd(a[0]), F_DUPFD_CLOEXEC, 0));
}

/* O_NONBLOCK and the like, which mean nothing to the driver. */
static long call_flags(const uint64_t *a)
{
	return fcntl(fd(a[0]), F_SETFL, (int)a[1]);
}

static long call_read(const uint64_t *a)
{
	return pread(fd(a[0]), (void *)a[1], a[2], a[3]);
}

static long call_write(const uint64_t *a)
{
	return write(fd(a[0]), (void *)a[1], a[2]);
}

static long call_seek(const uint64_t *a)
{
	return lseek(fd(a[0]), a[1], a[2]);
}

static long call_poll(const uint64_t *a)
{
	struct pollfd p = { .fd = fd(a[0]), .events = a[1] };

	return poll(&p, 1, a[2] % 8);
}

/* ---- the driver's ioctls ---- */

static long call_ioctl(const uint64_t *a)
{
	return ioctl(fd(a[0]), a[1], a[2]);
}

static long call_create_vm(const uint64_t *a)
{
	return fuzz_put(a[1], ioctl(fd(a[0]), KVM_CREATE_VM, a[2]));
}

static long call_create_vcpu(const uint64_t *a)
{
	return fuzz_put(a[1], ioctl(fd(a[0]), KVM_CREATE_VCPU, a[2]));
}

static long call_stats(const uint64_t *a)
{
	return fuzz_put(a[1], ioctl(fd(a[0]), KVM_GET_STATS_FD, a[2]));
}

static long call_region(const uint64_t *a)
{
	struct kvm_userspace_memory_region r = { .slot = a[1],
						 .flags = a[2],
						 .guest_phys_addr = a[3],
						 .memory_size = a[4],
						 .userspace_addr = a[5] };

	return ioctl(fd(a[0]), KVM_SET_USER_MEMORY_REGION, &r);
}

static long call_dirty_log(const uint64_t *a)
{
	struct kvm_dirty_log log = { .slot = a[1], .padding1 = a[2], .dirty_bitmap = (void *)a[3] };

	return ioctl(fd(a[0]), KVM_GET_DIRTY_LOG, &log);
}

static long call_set_regs(const uint64_t *a)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };

	regs.rax = regs.rsi = a[4];
	regs.rbx = regs.rdi = regs.rcx = DATA;
	patch(&regs, sizeof(regs), a[1], a[2]);
	patch(&regs, sizeof(regs), a[3], a[4]);
	return ioctl(fd(a[0]), KVM_SET_REGS, &regs);
}

static long call_set_sregs(const uint64_t *a)
{
	struct kvm_sregs sregs = fuzz_sregs(a[1] % NR_CPU_MODES);

	patch(&sregs, sizeof(sregs), a[2], a[3]);
	patch(&sregs, sizeof(sregs), a[4], a[5]);
	if (__builtin_cpu_is("amd")) /* for QEMU's sake: fuzz_sregs() */
		sregs.tr.type = 9, sregs.tr.present = 1;
	return ioctl(fd(a[0]), KVM_SET_SREGS, &sregs);
}

/* Those that there are, with one field changed, as often as the count says. */
static long call_cpuid(const uint64_t *a)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[64];
	} cpuid = { .head.nent = a[2] };

	ioctl(fd(a[0]), KVM_GET_SUPPORTED_CPUID, &cpuid);
	patch(&cpuid, sizeof(cpuid), a[3], a[4]);
	return ioctl(fd(a[1]), KVM_SET_CPUID2, &cpuid);
}

static long call_interrupt(const uint64_t *a)
{
	struct kvm_interrupt irq = { .irq = a[1] };

	return ioctl(fd(a[0]), KVM_INTERRUPT, &irq);
}

/*
 * A signal for this thread in some milliseconds, once: a system call that is made again after
 * each, as fork() is, would not end on a slow host. 0: not any more.
 */
static void alarm_in(int ms)
{
	static __thread timer_t timer;
	static __thread bool is_there;
	struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
	struct itimerspec t = { .it_value.tv_nsec = ms * 1000000 };

	e._sigev_un._tid = gettid();
	if (!is_there && timer_create(CLOCK_MONOTONIC, &e, &timer))
		return;
	is_there = true;
	timer_settime(timer, 0, &t, NULL);
}

/* A finding is the exit that only a mistake of the driver's makes. */
static long call_run(const uint64_t *a)
{
	static __thread struct kvm_run run;
	struct iovec mine = { &run, sizeof(run) };
	struct iovec there = { (void *)(RUNS + a[0] % 4 * 4096), sizeof(run) };
	long ret;

	alarm_in(RUN_MS);
	ret = ioctl(fd(a[0]), KVM_RUN, a[1]);
	alarm_in(0);
	if (!ret && process_vm_readv(getpid(), &mine, 1, &there, 1, 0) == sizeof(run) &&
	    run.exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	    run.internal.suberror == KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON)
		fuzz_finding("internal error %#llx: the kernel log says which",
			     run.internal.data[0]);
	return ret;
}

/* ---- kvm_run ---- */

static long call_mmap(const uint64_t *a)
{
	void *at = (void *)(RUNS + a[0] % 4 * 4096);
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED;

	if (a[1])
		prot = a[1] & 7, flags = a[1] & 8 ? MAP_PRIVATE : MAP_SHARED;
	return mmap(at, a[2] % 4 * 4096 + 4096, prot, flags | MAP_FIXED, fd(a[0]), a[3] * 4096) ==
			       MAP_FAILED
		       ? -1
		       : 0;
}

/* The fields that the driver reads, and the data of a port. */
static long call_run_page(const uint64_t *a)
{
	uint64_t at = a[1] % 16;

	fuzz_write(RUNS + a[0] % 4 * 4096 + (at < 8 ? at : 3072 + at - 8), a + 2, 1);
	return 0;
}

/* ---- memory ---- */

static long call_munmap(const uint64_t *a)
{
	return munmap(arena(a[0] & ~0xfffUL), within(a[0] & ~0xfffUL, a[1]));
}

static long call_map(const uint64_t *a)
{
	void *at = arena(a[0] & ~0xfffUL);
	int flags = (a[2] & 8 ? MAP_SHARED : MAP_PRIVATE) | (a[2] & 16 ? MAP_POPULATE : 0);

	return mmap(at, within(a[0] & ~0xfffUL, a[1]), a[2] & 7 ? a[2] & 7 : PROT_READ | PROT_WRITE,
		    flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED
		       ? -1
		       : 0;
}

static long call_mprotect(const uint64_t *a)
{
	return mprotect(arena(a[0] & ~0xfffUL), within(a[0] & ~0xfffUL, a[1]), a[2] & 7);
}

static long call_madvise(const uint64_t *a)
{
	static const int
		advice[] = { MADV_DONTNEED,	 MADV_PAGEOUT,	      MADV_HUGEPAGE,
			     MADV_MERGEABLE,	 MADV_UNMERGEABLE,    MADV_NOHUGEPAGE,
			     MADV_COLD,		 MADV_FREE,	      MADV_DONTFORK,
			     MADV_DOFORK,	 MADV_WIPEONFORK,     MADV_REMOVE,
			     MADV_POPULATE_READ, MADV_POPULATE_WRITE, 25 /* MADV_COLLAPSE */ };

	return madvise(arena(a[0] & ~0xfffUL), within(a[0] & ~0xfffUL, a[1]),
		       advice[a[2] % (sizeof(advice) / sizeof(advice[0]))]);
}

static long call_mremap(const uint64_t *a)
{
	size_t size = within(a[0] & ~0xfffUL, a[1]);

	if (size > ARENA_SIZE - a[2] % ARENA_SIZE)
		size = ARENA_SIZE - a[2] % ARENA_SIZE;
	return mremap(arena(a[0] & ~0xfffUL), size, size,
		      MREMAP_MAYMOVE | MREMAP_FIXED | (a[3] & 1 ? MREMAP_DONTUNMAP : 0),
		      arena(a[2] & ~0xfffUL)) == MAP_FAILED
		       ? -1
		       : 0;
}

/* All that a guest needs, with code that does nothing until an OUT, again and again. */
static long call_tables(const uint64_t *a)
{
	uint8_t nops[NR_CODES * CODE_SIZE + 4];

	fuzz_make_tables(ARENA, a[0] % NR_CPU_MODES);
	memset(nops, 0x90, sizeof(nops));
	memcpy(nops + sizeof(nops) - 4, "\xe6\x10\xeb\xfc", 4);
	fuzz_write(ARENA + CODE, nops, sizeof(nops));
	return 0;
}

static long call_poke(const uint64_t *a)
{
	fuzz_write(ARENA + a[0] % (ARENA_SIZE - 8), a + 1, 8);
	return 0;
}

/* Five instructions, then NOPs, in one of the places for code, which follow each other. */
static long call_code(const uint64_t *a)
{
	uint8_t bytes[CODE_SIZE + 16];
	int i, n = 0;

	for (i = 1; i < NR_ARGS; i++)
		n += fuzz_insn(a[i], bytes + n);
	memset(bytes + n, 0x90, sizeof(bytes) - n);
	fuzz_write(ARENA + CODE + a[0] % NR_CODES * CODE_SIZE, bytes, CODE_SIZE);
	return 0;
}

/* ---- processes and signals ---- */

/* What it finds is found. */
static void wait_for(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
}

/* Ends a child whose parent does not live any more. */
static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A child with copies of all: nothing of another's VM works there. */
static long call_fork(const uint64_t *a)
{
	pid_t child = fork();

	if (!child) {
		die_with_parent();
		if (!ioctl(fd(a[0]), KVM_RUN, 0) || ioctl(fd(a[0]), KVM_CREATE_VCPU, 0) >= 0)
			fuzz_finding("a VM of another process runs");
		usleep(a[1] % 4096);
		_exit(0);
	}
	if (child > 0)
		wait_for(child);
	return child;
}

/* A child with the same table of descriptors. */
static long call_share(const uint64_t *a)
{
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (!child) {
		ioctl(fd(a[0]), KVM_RUN, 0);
		if (a[1] & 1)
			fuzz_put(a[0], -1);
		_exit(0);
	}
	if (child > 0)
		wait_for(child);
	return child;
}

static long call_compare(const uint64_t *a)
{
	pid_t child = fork();

	if (!child) {
		die_with_parent();
		fuzz_compare(a[0]);
		_exit(0);
	}
	if (child > 0)
		wait_for(child);
	return child;
}

static long call_signal(const uint64_t *a)
{
	return syscall(SYS_tgkill, getpid(), fuzz_tids[a[0] % NR_THREADS], SIGUSR1);
}

static long call_die(const uint64_t *a)
{
	usleep(a[0] % 4096);
	return kill(getpid(), SIGKILL);
}

static long call_exec(const uint64_t *a)
{
	usleep(a[0] % 4096);
	return execl("/proc/self/exe", "ioctl_fuzz", "--nothing", NULL);
}

static long call_sleep(const uint64_t *a)
{
	return usleep(a[0] % 4096);
}

static long call_cpu(const uint64_t *a)
{
	unsigned long mask = a[0] & 3 ? a[0] & 3 : 3;

	return syscall(SYS_sched_setaffinity, 0, sizeof(mask), &mask);
}

/* ---- what else reaches the driver ---- */

/* The nth fault of the next call, if that is one that may fail. */
static long call_fail(const uint64_t *a)
{
	fuzz_fault = 1 + a[0] % 64;
	return 0;
}

/* Has the kernel ask for memory: the driver's shrinker. */
static long call_shrink(const uint64_t *a)
{
	int f = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	long ret = write(f, "2", 1);

	close(f);
	return ret;
}

/* Reads the counters of all VMs, or asks for an audit of all at every nth exit. */
static long call_debugfs(const uint64_t *a)
{
	char buf[4096], path[300];
	DIR *dir = opendir(DEBUGFS);
	struct dirent *d;
	int f;

	while (dir && (d = readdir(dir))) {
		snprintf(path, sizeof(path), DEBUGFS "/%s/%s", d->d_name, a[0] ? "audit" : "stats");
		f = open(path, (a[0] ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
		if (f < 0)
			continue;
		if (a[0])
			dprintf(f, "%u", (unsigned int)a[0] % 16);
		else if (read(f, buf, sizeof(buf)) < 0)
			break;
		close(f);
	}
	if (dir)
		closedir(dir);
	return 0;
}

const struct op fuzz_ops[] = {
	{ "open", call_open, { DEV_SLOT }, 2, true },
	{ "close", call_close, { ANY_SLOT }, 8, false },
	{ "dup", call_dup, { ANY_SLOT, ANY_SLOT }, 4, false },
	{ "flags", call_flags, { ANY_SLOT, VALUE }, 1, false },
	{ "read", call_read, { STATS_SLOT, HVA, SIZE, SMALL }, 6, true },
	{ "write", call_write, { ANY_SLOT, HVA, SIZE }, 2, true },
	{ "seek", call_seek, { ANY_SLOT, VALUE, SMALL }, 1, false },
	{ "poll", call_poll, { ANY_SLOT, SMALL, SMALL }, 1, false },
	{ "ioctl", call_ioctl, { ANY_SLOT, CMD, HVA }, 20, true },
	{ "create_vm", call_create_vm, { DEV_SLOT, VM_SLOT, ZERO }, 8, true },
	{ "create_vcpu", call_create_vcpu, { VM_SLOT, VCPU_SLOT, ZERO }, 8, true },
	{ "stats", call_stats, { VM_SLOT, STATS_SLOT, ZERO }, 4, true },
	{ "region", call_region, { VM_SLOT, SMALL, SMALL, GPA, SIZE, HVA }, 24, true },
	{ "dirty_log", call_dirty_log, { VM_SLOT, SMALL, ZERO, HVA }, 16, true },
	{ "set_regs", call_set_regs, { VCPU_SLOT, FIELD, VALUE, FIELD, VALUE }, 12, true },
	{ "set_sregs",
	  call_set_sregs,
	  { VCPU_SLOT, CPU_MODE, FIELD, VALUE, FIELD, VALUE },
	  20,
	  true },
	{ "cpuid", call_cpuid, { DEV_SLOT, VCPU_SLOT, SMALL, FIELD, VALUE }, 6, true },
	{ "interrupt", call_interrupt, { VCPU_SLOT, SMALL }, 10, true },
	{ "run", call_run, { VCPU_SLOT, ZERO }, 40, true },
	{ "mmap", call_mmap, { VCPU_SLOT, ZERO, ZERO, ZERO }, 4, true },
	{ "run_page", call_run_page, { VCPU_SLOT, SMALL, VALUE }, 6, false },
	{ "munmap", call_munmap, { OFFSET, SIZE }, 6, false },
	{ "map", call_map, { OFFSET, SIZE, SMALL }, 6, false },
	{ "mprotect", call_mprotect, { OFFSET, SIZE, SMALL }, 6, false },
	{ "madvise", call_madvise, { OFFSET, SIZE, SMALL }, 12, false },
	{ "mremap", call_mremap, { OFFSET, SIZE, OFFSET, SMALL }, 6, false },
	{ "tables", call_tables, { CPU_MODE }, 4, false },
	{ "poke", call_poke, { OFFSET, ENTRY }, 20, false },
	{ "code", call_code, { SMALL, INSN, INSN, INSN, INSN, INSN }, 30, false },
	{ "fork", call_fork, { VCPU_SLOT, VALUE }, 2, false },
	{ "share", call_share, { ANY_SLOT, SMALL }, 2, false },
	{ "compare", call_compare, { VALUE }, 1, false },
	{ "signal", call_signal, { SMALL }, 3, false },
	{ "die", call_die, { VALUE }, 1, false },
	{ "exec", call_exec, { VALUE }, 1, false },
	{ "sleep", call_sleep, { VALUE }, 1, false },
	{ "cpu", call_cpu, { SMALL }, 1, false },
	{ "fail", call_fail, { SMALL }, 8, false },
	{ "shrink", call_shrink, { NONE }, 1, false },
	{ "debugfs", call_debugfs, { SMALL }, 1, false },
};
const int fuzz_nr_ops = sizeof(fuzz_ops) / sizeof(fuzz_ops[0]);
