// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of the driver's interface, guided by what is covered of vmbox.ko (KCOV), for a kernel
 * that looks for mistakes: docs/lab.md. As root:
 *
 *   ioctl_fuzz [--seed N] [--seconds N] [FILE...]	the files' programs are where it begins
 *   ioctl_fuzz --replay FILE...			they are run, some times each
 *
 * A program is a list of calls (fuzz_calls.c) of up to four threads. It is written to the kernel's
 * log before it runs, so that it is on the console if the host dies. Its text is a line for each
 * call: thread, name, arguments; a line with # is before each program. A process runs some programs
 * one after the other, until one of them ends it; what is known is in memory that all share.
 *
 * What it finds: what the kernel reports itself; a process that cannot be killed; a VM that is
 * left; an internal error of the MMU (its audit is on); a guest that computes what the host does
 * not (fuzz_guest.c).
 */
#include <ctype.h>
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/kcov.h>

#include "fuzz.h"
#include "vm.h"

#define DEBUG	   "/sys/kernel/debug/"
#define CGROUP	   "/sys/fs/cgroup/"
#define COVER_SIZE (32 << 10) /* PCs of a thread that are looked at */
#define PCS	   (1 << 20)  /* bytes in which the module is, wherever that begins */
#define EDGES	   (1 << 20)
#define NR_CORPUS  2048
#define ROUNDS	   2  /* that a thread makes its calls */
#define BATCH	   64 /* programs of a process */
#define REPLAYS	   10 /* of each program: threads do not meet always */
#define SLOW_S	   30 /* a program that takes longer is killed */
#define PATIENCE_S 60 /* for a process that was killed */

static struct {
	uint64_t seed;
	time_t end;
	int replay; /* which program of the corpus is run again and again; -1: none, make some */
	struct program now, corpus[NR_CORPUS];
	int nr_files, nr_corpus, nr_pcs, nr_edges;
	unsigned long programs, calls;
	uint8_t pcs[PCS / 8], edges[EDGES / 8]; /* seen */
} * all;

static int kmsg;
static int foreign[] = { -1, -1, -1 }; /* device, VM and vCPU of the fuzzer itself */

void fuzz_finding(const char *fmt, ...)
{
	char text[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	dprintf(1, "finding: %s\n", text);
	_exit(1);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %m\n", path);
	close(fd);
}

static int any_kept(void)
{
	return fuzz_random(&all->seed) % all->nr_corpus;
}

static void keep(const struct program *p)
{
	if (p->n)
		all->corpus[all->nr_corpus < NR_CORPUS ? all->nr_corpus++ : any_kept()] = *p;
}

/* The programs of a file: into the corpus. */
static void load(const char *path)
{
	struct program p = { 0 };
	char line[200];
	FILE *f = fopen(path, "r");

	if (!f)
		FAIL("%s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#') {
			keep(&p);
			p.n = 0;
		} else if (isdigit(line[0]) && p.n < MAX_CALLS) {
			fuzz_parse(p.calls + p.n++, line, path);
		}
	}
	keep(&p);
	fclose(f);
}

/* ---- coverage ---- */

static struct {
	int fd; /* -1: this kernel has none */
	uint64_t *pcs;
} cover[NR_THREADS];

static void cover_init(void)
{
	int i;

	for (i = 0; i < NR_THREADS; i++) {
		cover[i].fd = open(DEBUG "kcov", O_RDWR | O_CLOEXEC);
		if (cover[i].fd < 0 || ioctl(cover[i].fd, KCOV_INIT_TRACE, COVER_SIZE)) {
			fprintf(stderr, DEBUG "kcov: %m: nothing guides\n");
			cover[i].fd = -1;
			return;
		}
		cover[i].pcs = mmap(NULL, COVER_SIZE * 8, PROT_READ | PROT_WRITE, MAP_SHARED,
				    cover[i].fd, 0);
		CHECK(cover[i].pcs != MAP_FAILED);
	}
}

static bool is_new(uint8_t *map, uint32_t i)
{
	bool new = !(map[i / 8] >> i % 8 & 1);

	map[i / 8] |= 1 << i % 8;
	return new;
}

/* Keeps the program that ran last, if it has covered anything new. */
static void cover_collect(void)
{
	int before = all->nr_edges, t;
	uint32_t pc, last;
	uint64_t i, n;

	for (t = 0; t < NR_THREADS && cover[t].pcs; t++) {
		n = cover[t].pcs[0] < COVER_SIZE ? cover[t].pcs[0] : COVER_SIZE - 1;
		for (i = 1, last = 0; i <= n; i++, last = pc) {
			pc = cover[t].pcs[i] % PCS;
			all->nr_pcs += is_new(all->pcs, pc);
			all->nr_edges += is_new(all->edges, (pc ^ last * 2654435761U) % EDGES);
		}
		cover[t].pcs[0] = 0;
	}
	if (all->nr_edges > before)
		keep(&all->now);
}

/* ---- running programs ---- */

static pthread_barrier_t step; /* the threads begin a program together, and end it */

static void nothing(int sig)
{
}

static void make_call(const struct call *c, int fail_nth)
{
	const struct op *op = fuzz_ops + c->op;
	char text[12];
	int n = snprintf(text, sizeof(text), "%u", fuzz_fault);
	bool fault = fuzz_fault && op->may_fail && pwrite(fail_nth, text, n, 0) == n;

	fuzz_fault = 0;
	op->call(c->arg);
	while (fault && pwrite(fail_nth, "0", 1, 0) != 1)
		;
	__atomic_fetch_add(&all->calls, 1, __ATOMIC_RELAXED);
}

static void make_calls(int t, int fail_nth)
{
	int i;

	for (i = 0; i < all->now.n; i++)
		if (all->now.calls[i].thread == t)
			make_call(all->now.calls + i, fail_nth);
}

/* Its descriptor for faults. */
static int thread_init(int t)
{
	fuzz_tids[t] = gettid();
	if (cover[t].pcs)
		ioctl(cover[t].fd, KCOV_ENABLE, KCOV_TRACE_PC);
	return open("/proc/thread-self/fail-nth", O_WRONLY | O_CLOEXEC);
}

static void *run_thread(void *arg)
{
	int t = (long)arg, fail_nth = thread_init(t), round;

	for (;;) {
		pthread_barrier_wait(&step);
		for (round = 0; round < ROUNDS; round++)
			make_calls(t, fail_nth);
		pthread_barrier_wait(&step);
	}
	return NULL;
}

/* The memory and the descriptors that each program begins with. */
static void clean(void)
{
	const unsigned long all_cpus = ~0UL;
	int i;

	for (i = 0; i < NR_SLOTS; i++)
		fuzz_put(i, -1);
	fuzz_fds[FOREIGN_VM] = fcntl(foreign[1], F_DUPFD_CLOEXEC, 0);
	fuzz_fds[FOREIGN_VCPU] = fcntl(foreign[2], F_DUPFD_CLOEXEC, 0);
	munmap((void *)RUNS, 8 * 4096);
	if (mmap((void *)ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(0);
	for (i = 0; i < NR_THREADS; i++)
		syscall(SYS_sched_setaffinity, fuzz_tids[i], sizeof(all_cpus), &all_cpus);
}

static void choose(void)
{
	struct program *p = &all->now;

	if (all->replay >= 0) {
		*p = all->corpus[all->replay];
	} else if (all->programs < (unsigned long)all->nr_files) {
		*p = all->corpus[all->programs];
	} else if (!all->nr_corpus || fuzz_random(&all->seed) % 8 == 0) {
		fuzz_generate(p, &all->seed);
	} else {
		*p = all->corpus[any_kept()];
		fuzz_mutate(p, all->corpus + any_kept(), &all->seed);
	}
}

static void run_in_child(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	int i, fail_nth = thread_init(0);
	pthread_t thread;
	long t;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	put("/proc/self/oom_score_adj", "500");
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	memset(fuzz_fds, -1, sizeof(fuzz_fds));
	pthread_barrier_init(&step, NULL, NR_THREADS);
	for (t = 1; t < NR_THREADS; t++)
		if (pthread_create(&thread, NULL, run_thread, (void *)t))
			_exit(0);
	for (i = 0; i < (all->replay >= 0 ? REPLAYS : BATCH) && time(NULL) < all->end; i++) {
		choose();
		fuzz_print(kmsg, "fuzz: ", &all->now);
		clean();
		make_calls(0, fail_nth);
		pthread_barrier_wait(&step);
		pthread_barrier_wait(&step);
		all->programs++;
		cover_collect();
	}
	_exit(0);
}

/* VMs that there are. */
static int nr_vms(void)
{
	DIR *dir = opendir(DEBUG "vmbox");
	int n = -2; /* . and .. */

	if (!dir)
		FAIL(DEBUG "vmbox: %m");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void find(const char *what)
{
	printf("not ok: %s; the last program:\n", what);
	fflush(stdout);
	fuzz_print(1, "", &all->now);
	exit(1);
}

/* Nothing may be left of programs that have ended but what the fuzzer holds itself. */
static void check_left(void)
{
	int tries;

	for (tries = 0; nr_vms() > (foreign[1] >= 0); tries++) {
		if (tries == 300)
			find("a VM is left");
		usleep(100000);
	}
}

/* While the fuzzer has a VM the others need not turn virtualization on. */
static void hold(bool on)
{
	int i;

	if (on == (foreign[1] >= 0))
		return;
	for (i = 0; i < 3; i++) {
		if (foreign[i] >= 0)
			close(foreign[i]);
		foreign[i] = -1;
	}
	if (on) {
		foreign[0] = open("/dev/vmbox", O_RDWR | O_CLOEXEC);
		foreign[1] = ioctl(foreign[0], KVM_CREATE_VM, 0);
		foreign[2] = ioctl(foreign[1], KVM_CREATE_VCPU, 0);
		if (foreign[2] < 0)
			FAIL("/dev/vmbox: no VM: %m");
	}
}

/* A process that runs programs. */
static void run_batch(void)
{
	struct pollfd end = { .events = POLLIN };
	unsigned long before;
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child)
		run_in_child();
	if (child < 0)
		FAIL("fork: %m");
	end.fd = syscall(SYS_pidfd_open, child, 0);
	do
		before = all->programs;
	while (!poll(&end, 1, SLOW_S * 1000) && before != all->programs);
	if (!poll(&end, 1, 0))
		printf("a program is killed after %d s\n", SLOW_S);
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	if (!poll(&end, 1, PATIENCE_S * 1000))
		find("its process cannot be killed");
	close(end.fd);
	if (waitpid(child, &status, 0) != child)
		FAIL("waitpid: %m");
	if (WIFEXITED(status) && WEXITSTATUS(status))
		find("finding");
	all->programs++; /* the one that may have ended it */
	cover_collect();
	check_left();
}

/* ---- all of it ---- */

static void setup(void)
{
	static const char *const settings[][2] = {
		{ DEBUG "failslab/verbose", "0" },
		{ DEBUG "fail_page_alloc/verbose", "0" },
		{ DEBUG "fail_usercopy/verbose", "0" },
		{ DEBUG "fail_page_alloc/min-order", "0" },
		{ DEBUG "failslab/ignore-gfp-wait", "N" },
		{ DEBUG "fail_page_alloc/ignore-gfp-wait", "N" },
		{ DEBUG "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "/proc/sys/kernel/printk_devkmsg", "on\n" },
		{ "/sys/module/vmbox/parameters/audit", "50" },
		{ CGROUP "cgroup.subtree_control", "+memory" },
		{ CGROUP "vmbox-fuzz/memory.max", "512M" },
		{ CGROUP "vmbox-fuzz/cgroup.procs", "0" },
		{ "/proc/self/oom_score_adj", "-1000" },
	};
	size_t i;

	mount("debugfs", DEBUG, "debugfs", 0, NULL); /* or it is there */
	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (strstr(settings[i][0], "memory.max"))
			mkdir(CGROUP "vmbox-fuzz", 0755);
		put(settings[i][0], settings[i][1]);
	}
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

static void say(void)
{
	printf("%lu programs, %lu calls, %d kept, %d PCs, %d edges\n", all->programs, all->calls,
	       all->nr_corpus, all->nr_pcs, all->nr_edges);
	fflush(stdout);
}

static void fuzz(void)
{
	time_t said = time(NULL);
	int n;

	cover_init();
	for (n = 0; time(NULL) < all->end; n++) {
		hold(n % 8 != 7);
		run_batch();
		if (time(NULL) >= said + 10) {
			say();
			said = time(NULL);
		}
	}
	hold(false);
	check_left();
	say();
}

int main(int argc, char **argv)
{
	bool again = false;
	long seconds = 60;
	int i;

	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(all != MAP_FAILED);
	all->seed = time(NULL);
	all->replay = -1;
	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--nothing"))
			return 0;
		if (!strcmp(argv[i], "--replay")) {
			again = true;
		} else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
			all->seed = strtoull(argv[++i], NULL, 0);
		} else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) {
			seconds = atol(argv[++i]);
		} else {
			fprintf(stderr, "usage: ioctl_fuzz [--seed N] [--seconds N] [FILE...]\n"
					"       ioctl_fuzz --replay FILE...\n");
			return 2;
		}
	}
	setup();
	for (; i < argc; i++)
		load(argv[i]);
	all->nr_files = all->nr_corpus;
	all->end = time(NULL) + (again ? 1L << 30 : seconds);
	if (again) {
		for (all->replay = 0; all->replay < all->nr_corpus; all->replay++)
			run_batch();
		say();
		return 0;
	}
	printf("seed %lu\n", all->seed);
	all->seed = all->seed * 2654435761 + 1;
	fuzz();
	return 0;
}
