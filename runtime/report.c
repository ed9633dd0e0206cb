// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is said at the end of a run, and with which exit status. The result may
 * be the guest's own invention: it is only ever printed, made printable first.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "progress.h"
#include "report.h"
#include "request.h"

static bool on_terminal;

void say_on_terminal(bool raw)
{
	on_terminal = raw;
}

/* One write(), and no more: the launcher's filter does not allow what dprintf() does beside it. */
void say(const char *fmt, ...)
{
	char line[4096] = "vmbox: ";
	size_t n = strlen(line);
	va_list args;
	ssize_t done;

	va_start(args, fmt);
	vsnprintf(line + n, sizeof(line) - n - 2, fmt, args);
	va_end(args);
	n = strlen(line);
	if (line[n - 1] == '\n')
		n--;
	snprintf(record->message, sizeof(record->message), "%.*s", (int)(n - strlen("vmbox: ")),
		 line + strlen("vmbox: "));
	make_printable(record->message, strlen(record->message));
	progress_end();
	if (on_terminal)
		line[n++] = '\r';
	line[n++] = '\n';
	done = write(2, line, n);
	(void)done; /* nobody to tell */
}

/* How a process of ours ended that should not have; -1: it had to be ended. */
static const char *end_text(int status)
{
	static char text[96];

	if (status == -1)
		return "it closed its channel but went on";
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return "it made a system call that it may not make (SIGSYS): the guest may have "
		       "broken into it";
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return "killed by somebody, or by a host that is out of memory (see dmesg)";
	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "it exited with status %d", WEXITSTATUS(status));
	return text;
}

int report_lost(enum run_reason process, int status)
{
	if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CPU_LIMIT) {
		say("the limit of processor time is reached (--cpu): the program was ended");
		return record_end(RUN_CPU, 0);
	}
	say("the %s process was lost: %s", process == RUN_VMM ? "VMM" : "file server",
	    end_text(status));
	return record_end(process, 0);
}

static int report_program(const struct run_options *o, const struct vmm_result *res)
{
	const struct pvio_status *s = &res->status;
	const char *name = o->argv[0];
	unsigned long long mib = o->memory >> 20;

	record->status = *s;
	record->has_status = true;
	if (s->flags & PVIO_STATUS_OOM)
		say("the guest ran out of memory and killed a process; it had %llu MiB: give it "
		    "more with --memory",
		    mib);
	if (s->flags & PVIO_STATUS_PIDS)
		say("the program had as many processes and threads as it may have (--pids), and "
		    "was refused one more");
	if (s->kind == PVIO_SIGNALED && s->value == SIGXFSZ)
		say("a file was to become larger than it may be (--file-size)");
	switch (s->kind) {
	case PVIO_EXITED:
		return record_end(RUN_EXITED, s->value);
	case PVIO_SIGNALED:
		if ((s->flags & PVIO_STATUS_OOM) && s->value == SIGKILL)
			return record_end(RUN_MEMORY, 0);
		return record_end(s->value == SIGXFSZ ? RUN_FILE_SIZE : RUN_SIGNALED, s->value);
	case PVIO_CHANGES_FAILED:
		say("%s%s%s", res->text, s->value ? ": " : "", s->value ? strerror(s->value) : "");
		return record_end(RUN_COMMIT, 0);
	case PVIO_EXEC_FAILED:
		if (s->value == ENOENT)
			say("%s: cannot be executed in the guest: its interpreter or loader is not "
			    "among what the policy shows: add it (--ro PATH), or use another "
			    "--policy",
			    name);
		else
			say("%s: cannot be executed in the guest: %s", name, strerror(s->value));
		return record_end(RUN_NOT_EXECUTABLE, 0);
	}
	if (s->value == ENOMEM)
		say("the guest ran out of memory while it started; it had %llu MiB: give it more "
		    "with --memory",
		    mib);
	else
		say("the guest cannot be set up: %s: %s", res->text, strerror(s->value));
	return record_end(RUN_GUEST, 0);
}

/* The last lines of the guest kernel, where they explain an end. */
static void show_console(const struct run_options *o, const struct vmm_result *res)
{
	const char *p = res->console, *end;
	size_t lines = 0, n = strlen(p), i;

	if (o->verbose) /* shown already */
		return;
	if (!n) {
		say("the guest kernel printed nothing");
		return;
	}
	for (i = n; i && lines <= 12; i--)
		lines += p[i - 1] == '\n' && i != n;
	for (p += i ? i + 1 : 0; *p; p = end + !!*end) {
		end = p + strcspn(p, "\n");
		say("guest kernel: %.*s", (int)(end - p), p);
	}
}

static bool console_says_no_memory(const struct vmm_result *res)
{
	return strstr(res->console, "Out of memory") || strstr(res->console, "out of memory") ||
	       strstr(res->console, "deadlocked on memory");
}

void report_busy(const char *device)
{
	say("%s: the CPU's virtualization is in use by another hypervisor: end its virtual "
	    "machines or unload it (sudo modprobe -r kvm_amd kvm_intel)",
	    device);
}

static int report_end(const struct run_options *o, const struct vmm_result *res)
{
	switch (res->reason) {
	case VMM_PROGRAM_ENDED:
		return report_program(o, res);
	case VMM_SETUP_FAILED:
		say("the virtual machine cannot be made: %s", res->text);
		return record_end(RUN_FAILED, 0);
	case VMM_DEVICE_BUSY:
		report_busy(o->device);
		return record_end(RUN_FAILED, 0);
	case VMM_GUEST_PANIC:
		if (console_says_no_memory(res))
			say("the guest ran out of memory; it had %llu MiB: give it more with "
			    "--memory",
			    (unsigned long long)o->memory >> 20);
		say("the guest kernel panicked:");
		show_console(o, res);
		break;
	case VMM_GUEST_STOPPED:
		say("the guest stopped before the program ended: %s", res->text);
		show_console(o, res);
		break;
	case VMM_SIGNALED:
		return record_end(RUN_INTERRUPTED, (int)res->status.value);
	case VMM_OUTPUT_LIMIT:
		say("the limit of %s is reached (--stdout): the program was ended", res->text);
		return record_end(RUN_STDOUT, 0);
	case VMM_PROTOCOL:
		say("the guest broke the channel protocol and was stopped: %s", res->text);
		break;
	default:
		say("the VMM process sent a result that makes no sense");
		return record_end(RUN_VMM, 0);
	}
	return record_end(RUN_GUEST, 0);
}

/* Bytes that the caller's descriptors refused make the run fail, whatever the program says. */
int report_result(const struct run_options *o, const struct vmm_result *res)
{
	static const char *const name[] = { "stdin", "stdout", "stderr" };
	int code = report_end(o, res), i;

	for (i = 0; i < 3; i++) {
		if (!res->stream_error[i])
			continue;
		say("%s: bytes were lost: %s", name[i], strerror(res->stream_error[i]));
		code = record_end(RUN_OUTPUT_LOST, 0);
	}
	return code;
}

bool report_is_success(const struct vmm_result *res)
{
	return res->reason == VMM_PROGRAM_ENDED && res->status.kind == PVIO_EXITED &&
	       !res->status.value;
}

void report_not_committed(bool may_be_in_part)
{
	if (may_be_in_part)
		say("the commit was not finished: part of the changes may be in the host's files");
	else
		say("nothing was committed: the program has to end by itself, with status 0");
}

void report_times(const struct vmm_result *res, uint64_t before_ns, uint64_t total_ns)
{
	double boot = res->ready_ns ? (res->ready_ns - res->entered_ns) / 1e6 : 0;
	double ran = res->ready_ns ? (res->ended_ns - res->ready_ns) / 1e6 : 0;

	say("setup %.1f ms, guest boot %.1f ms, program %.1f ms, total %.1f ms",
	    (before_ns + res->entered_ns) / 1e6, boot, ran, total_ns / 1e6);
}

/* The VMM made them printable; but the guest may have taken it over. */
void report_sanitize(struct vmm_result *res)
{
	char *p;

	res->text[sizeof(res->text) - 1] = 0;
	res->console[sizeof(res->console) - 1] = 0;
	make_printable(res->text, strlen(res->text));
	for (p = res->console; *p; p++)
		if (*p != '\n')
			make_printable(p, 1);
}
