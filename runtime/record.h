/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of a run, as far as it has come: for its report. Three pieces of memory, each
 * with one writer, that the process which writes the report can read at any time: also when the
 * others were killed. That process believes the launcher's piece only.
 */
#ifndef VMBOX_RECORD_H
#define VMBOX_RECORD_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

#include "counters.h"
#include "digest.h"
#include "fs_record.h"
#include "vmbox/pvio.h"

/*
 * Why a run ended, and with which exit status. This is the authority: a program's own 124 is
 * "exited", the time limit's is "wall".
 */
#define RUN_REASONS(X)                                                                        \
	X(FAILED, "failed", 125)      /* vmbox could not do its work; the message says why */ \
	X(EXITED, "exited", RUN_CODE) /* the program, with this code */                       \
	X(SIGNALED, "signaled", RUN_SIGNAL) /* the program was ended by this signal */        \
	X(WALL, "wall", 124)		    /* limits, from here on */                        \
	X(CPU, "cpu", 124)                                                                    \
	X(MEMORY, "memory", 122)                                                              \
	X(STDOUT, "stdout", 123)                                                              \
	X(EXITS, "exits", 121)                                                                \
	X(FILE_SIZE, "file_size", RUN_SIGNAL)	  /* SIGXFSZ */                               \
	X(INTERRUPTED, "interrupted", RUN_SIGNAL) /* vmbox got this signal, and ended it */   \
	X(KILLED, "killed", RUN_NONE) /* vmbox, by SIGKILL or a fault: it has no status */    \
	X(NOT_EXECUTABLE, "not_executable", 126)                                              \
	X(NOT_FOUND, "not_found", 127)                                                        \
	X(POLICY, "policy", 125)      /* it is not valid, or cannot be enforced */            \
	X(GUEST, "guest_failed", 125) /* the guest's kernel or guest-init */                  \
	X(VMM, "vmm_lost", 125)	      /* a process of ours ended that should not have */      \
	X(FILE_SERVER, "file_server_lost", 125)                                               \
	X(OUTPUT_LOST, "output_lost", 125) /* bytes of the program's streams */               \
	X(COMMIT, "commit_failed", 125)	   /* or a diff */                                    \
	X(AUDIT, "audit_failed", 125)

#define RUN_CODE   -1
#define RUN_SIGNAL -2
#define RUN_NONE   -3

#define RUN_REASON(id, name, status) RUN_##id,
enum run_reason {
	RUN_REASONS(RUN_REASON) NR_RUN_REASONS
};
#undef RUN_REASON

const char *run_reason_name(enum run_reason reason);
int run_reason_find(const char *name); /* -1: there is none */

/* vmbox's exit status. @value: the code or signal of reasons that have one. -1: none. */
int run_status(enum run_reason reason, int value);

/* A process of vmbox's that the guest keeps busy. */
struct record_process {
	pid_t pid;
	bool known; /* it has ended: */
	struct rusage usage;
};

enum {
	RECORD_VMM,
	RECORD_FS,
	RECORD_PROCESSES
};

/* A file that the run is made of. "": not known. */
struct record_file {
	char path[PATH_MAX];
	char digest[DIGEST_TEXT];
};

/* The launcher's. */
struct record {
	bool wanted; /* in a report: what the run is made of */
	enum run_reason reason;
	int value;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	time_t began;
	uint64_t vmm_start_ns; /* 0: it has not come to that */
	uint64_t memory;       /* bytes */
	char message[1024];    /* what was said last */
	char policy[DIGEST_TEXT];
	struct record_file program, kernel, initrd;
	char driver[64], driver_version[64], driver_source[64];
	struct record_process process[RECORD_PROCESSES];
	struct counters counters;
	bool has_status; /* guest-init's word: */
	struct pvio_status status;
};

/* The VMM's. */
struct record_vmm {
	atomic_uint_fast64_t entered_ns, ready_ns; /* since the VMM started; 0: never */
	uint64_t bytes[PVIO_NR_CHANNELS][2];
};

extern struct record *record;
extern struct record_vmm *record_vmm;
extern struct record_fs *record_fs;

/* Once, before all else. -1: no memory. */
int record_make(void);

/* In a child: it has no piece but @mine. */
void record_keep(const void *mine);

/* In the launcher: its piece is not for the children that it makes from now on. */
void record_hide(void);

/* How the run ended; a later one goes over it. The exit status. */
int record_end(enum run_reason reason, int value);

/* @usage: of a process that was waited for. */
void record_usage(pid_t pid, const struct rusage *usage);

/* Hash what the run is made of, if that is wanted. */
struct policy;
void record_policy(const struct policy *policy);
void record_program(const char *path, int fd);
void record_guest(struct record_file *file, const char *path, const void *bytes, size_t n);

/* The device's name, and the version of the module of that name. */
void record_driver(int device);

/* The first line of /sys/module/NAME/KEY; "": there is none. */
void record_module(const char *name, const char *key, char text[64]);

#endif
