/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_H
#define BENCH_H

struct bench {
	const char *name;
	void (*setup)(void);
	void (*round)(void);
	int rounds;
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
void spawn(char *const argv[]);

/* files.c: in the working directory, that files_make() filled. */
void files_make(void);
void walk_ro_round(void);
void walk_round(void);
void create_round(void);
void read_ro_round(void);
void read_round(void);
void write_round(void);
void tar_round(void);
void git_round(void);

#endif
