/* SPDX-License-Identifier: GPL-2.0-only */
/* A run's report: docs/report.md. */
#ifndef VMBOX_RUN_REPORT_H
#define VMBOX_RUN_REPORT_H

#include <jansson.h>

#include "launcher.h"
#include "load.h"

#define REPORT_SCHEMA 1
#define REPORT_MAX    (16UL << 20) /* bytes of a file that is taken for one */

/*
 * First of all: the process that will write the report, if @options want one or --stats.
 * 0, or an exit status, when it has been said why.
 */
int run_report_begin(struct run_options *options);

/* Last of all, with the run's exit status: waits until it is written. The exit status of vmbox. */
int run_report_end(const struct run_options *options, int status);

/* The digest of all of @report but its "digest", however it is written. False: no memory. */
bool run_report_digest(const json_t *report, char digest[DIGEST_TEXT]);

/* vmbox report verify. @policy: NULL: not to be compared. The exit status: 1 if something is not so. */
int run_report_verify(const char *file, const struct policy *policy);

#endif
