/* SPDX-License-Identifier: GPL-2.0-only */
/* What vmbox says on stderr, and the exit status of a run. */
#ifndef VMBOX_REPORT_H
#define VMBOX_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "launcher.h"
#include "record.h"
#include "vmm.h"

#define EXIT_CPU_LIMIT 24 /* of the VMM and the file server: their processor time is over */

/* One line: what, why, what to do. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The terminal may be raw: a line needs a carriage return. */
void say_on_terminal(bool raw);

/* Before anything else is done with a result. */
void report_sanitize(struct vmm_result *res);

/*
 * The exit status of vmbox, whose reason is on record. @process: RUN_VMM or RUN_FILE_SERVER;
 * @status: from waitpid(), or -1 where it had to be killed.
 */
int report_result(const struct run_options *options, const struct vmm_result *res);
int report_lost(enum run_reason process, int status);

bool report_is_success(const struct vmm_result *res);
/* What became of the overlays to be committed, where it was not all. */
void report_not_committed(bool may_be_in_part);

/* KVM_CREATE_VM gave EBUSY. */
void report_busy(const char *device);

/* @before_ns: until the VMM started; @total_ns: until now. */
void report_times(const struct vmm_result *res, uint64_t before_ns, uint64_t total_ns);

#endif
