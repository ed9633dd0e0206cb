// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work measured from inside: the guest's side of scripts/bench. `bench NAME` does the work
 * once to warm up, says "ready", waits for a line of input (or its end), does the work in
 * rounds, and says how many TSC ticks each took; then it waits again. While it waits,
 * tests/bench/measure reads the hypervisor's counters. `bench NAME quick`: one round and no
 * warming up, to see that it works. Work for the memory management unit is here, work with
 * files in files.c.
 *
 * `bench time COMMAND…` says how many ticks a command takes, for a whole `vmbox run`.
 * `bench files` makes what the work with files needs, in the working directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench.h"

#define PAGE	   4096UL
#define MAX_ROUNDS 5

void die(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	fputs("bench: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

static void wait_for(pid_t pid, const char *what)
{
	int status;

	if (pid < 0)
		die("fork");
	if (waitpid(pid, &status, 0) != pid)
		die("wait");
	if (status) {
		fprintf(stderr, "bench: %s ended with wait status %#x\n", what, status);
		exit(1);
	}
}

void spawn(char *const argv[])
{
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		die("%s", argv[0]);
	}
	wait_for(pid, argv[0]);
}

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void touch(char *p, size_t size, char value)
{
	size_t i;

	for (i = 0; i < size; i += PAGE)
		*(volatile char *)(p + i) = value;
}

/* ---- fork: 50 times fork, exec of a small static program, wait ---- */

#define SELF "/tmp/bench"

static char heap[1 << 20]; /* as much as a shell has: pages for fork to share */

static void fork_setup(void)
{
	static char buf[65536];
	int in = open("/proc/self/exe", O_RDONLY), out = open(SELF, O_WRONLY | O_CREAT, 0755);
	ssize_t n;

	if (in < 0 || out < 0)
		die(SELF);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, n) != n)
			die(SELF);
	close(in);
	close(out);
	touch(heap, sizeof(heap), 1);
}

static void fork_round(void)
{
	char *argv[] = { SELF, "true", NULL };
	int i;

	for (i = 0; i < 50; i++)
		spawn(argv);
}

/* ---- switch: a byte to another process and back, 1000 times ---- */

static int to_peer[2], from_peer[2];

static void echo(void)
{
	char c;

	close(to_peer[1]); /* so that the parent's end of it is the end of us */
	while (read(to_peer[0], &c, 1) == 1)
		if (write(from_peer[1], &c, 1) != 1)
			_exit(1);
	_exit(0);
}

static void switch_setup(void)
{
	pid_t pid;

	if (pipe(to_peer) || pipe(from_peer))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		echo();
}

static void switch_round(void)
{
	char c = 'x';
	int i;

	for (i = 0; i < 1000; i++)
		if (write(to_peer[1], &c, 1) != 1 || read(from_peer[0], &c, 1) != 1)
			die("ping-pong");
}

/* ---- mmap: 100 times map 64 pages, write to each, unmap ---- */

static void mmap_round(void)
{
	char *p;
	int i;

	for (i = 0; i < 100; i++) {
		p = map(64 * PAGE);
		touch(p, 64 * PAGE, 1);
		if (munmap(p, 64 * PAGE))
			die("munmap");
	}
}

/* ---- fault: first touch of 4096 pages of one mapping ---- */

static char *area;

static void fault_setup(void)
{
	area = map(4096 * PAGE);
}

static void fault_round(void)
{
	touch(area, 4096 * PAGE, 1);
	if (madvise(area, 4096 * PAGE, MADV_DONTNEED))
		die("madvise");
}

/* ---- cow: 4 times fork, and the child writes to each of 1024 pages ---- */

static void cow_setup(void)
{
	area = map(1024 * PAGE);
	touch(area, 1024 * PAGE, 1);
}

static void cow_round(void)
{
	pid_t pid;
	int i;

	for (i = 0; i < 4; i++) {
		pid = fork();
		if (!pid) {
			touch(area, 1024 * PAGE, 2);
			_exit(0);
		}
		wait_for(pid, "the writing child");
		if (area[0] != 1)
			_exit(1);
	}
}

/* ---- build: gcc, four files and a link ---- */

#define BUILD_DIR   "/tmp/project"
#define BUILD_FILES 4

/* %d: the file, the function, a number */
static const char function_source[] = "int part%d_%d(const char *s)\n"
				      "{\n"
				      "	int i, sum = %d;\n"
				      "	char b[64];\n"
				      "	for (i = 0; s[i]; i++)\n"
				      "		sum = sum * 31 + (s[i] ^ sum >> 7);\n"
				      "	snprintf(b, sizeof(b), \"%%d %%s\", sum, s);\n"
				      "	return strlen(b) + abs(sum) %% 7;\n"
				      "}\n";

static void build_setup(void)
{
	char name[64];
	FILE *f;
	int i, j;

	if (mkdir(BUILD_DIR, 0755) || chdir(BUILD_DIR))
		die(BUILD_DIR);
	for (i = 0; i < BUILD_FILES; i++) {
		snprintf(name, sizeof(name), "part%d.c", i);
		f = fopen(name, "w");
		if (!f)
			die("%s", name);
		fputs("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n", f);
		for (j = 0; j < 20; j++)
			fprintf(f, function_source, i, j, i + j);
		if (i == 0)
			fputs("int main(void) { return part0_0(\"a\") + part0_19(\"b\") < 2; }\n",
			      f);
		if (fclose(f))
			die("%s", name);
	}
}

static void build_round(void)
{
	char object[] = "part0.o", source[] = "part0.c";
	char *compile[] = { "gcc", "-O1", "-c", source, NULL };
	char *link[] = { "gcc", "-o", "prog", "part0.o", "part1.o", "part2.o", "part3.o", NULL };
	char *prog[] = { "./prog", NULL };
	int i;

	for (i = 0; i < BUILD_FILES; i++) {
		source[4] = object[4] = '0' + i;
		unlink(object);
		spawn(compile);
	}
	unlink("prog");
	spawn(link);
	spawn(prog);
}

/* ---- */

static void nothing(void)
{
}

static const struct bench benches[] = {
	{ "idle", nothing, nothing, 1 },
	{ "fork", fork_setup, fork_round, 3 },
	{ "switch", switch_setup, switch_round, 3 },
	{ "mmap", nothing, mmap_round, 3 },
	{ "fault", fault_setup, fault_round, 3 },
	{ "cow", cow_setup, cow_round, 3 },
	{ "build", build_setup, build_round, 1 },
	{ "walk-ro", nothing, walk_ro_round, 1 },
	{ "walk", nothing, walk_round, 1 },
	{ "create", nothing, create_round, 1 },
	{ "read-ro", nothing, read_ro_round, 1 },
	{ "read", nothing, read_round, 1 },
	{ "write", nothing, write_round, 1 },
	{ "tar", nothing, tar_round, 1 },
	{ "git", nothing, git_round, 1 },
};

#define NR_BENCHES (sizeof(benches) / sizeof(benches[0]))

static void say_and_wait(const char *line)
{
	char c;

	puts(line);
	fflush(stdout);
	while (read(0, &c, 1) == 1 && c != '\n')
		;
}

static void run(const struct bench *b, bool quick)
{
	int i, rounds = quick ? 1 : b->rounds;
	uint64_t ticks[MAX_ROUNDS], began;
	char line[256] = "ticks";
	size_t len;

	b->setup();
	if (!quick)
		b->round();
	say_and_wait("ready");
	for (i = 0; i < rounds; i++) {
		began = __rdtsc();
		b->round();
		ticks[i] = __rdtsc() - began;
	}
	for (i = 0; i < rounds; i++) {
		len = strlen(line);
		snprintf(line + len, sizeof(line) - len, " %llu", (unsigned long long)ticks[i]);
	}
	say_and_wait(line);
}

int main(int argc, char **argv)
{
	uint64_t began;
	size_t i;

	if (argc > 1 && !strcmp(argv[1], "true"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "files")) {
		files_make();
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "time")) {
		began = __rdtsc();
		spawn(argv + 2);
		printf("ticks %llu\n", (unsigned long long)(__rdtsc() - began));
		return 0;
	}
	for (i = 0; argc > 1 && i < NR_BENCHES; i++)
		if (!strcmp(argv[1], benches[i].name)) {
			run(&benches[i], argc > 2 && !strcmp(argv[2], "quick"));
			return 0;
		}
	fputs("usage: bench time COMMAND [ARG...], bench files, or bench", stderr);
	for (i = 0; i < NR_BENCHES; i++)
		fprintf(stderr, " %s", benches[i].name);
	fputs("\n", stderr);
	return 2;
}
