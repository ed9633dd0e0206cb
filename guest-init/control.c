// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the control channel's descriptor and the page in which the program's
 * process, before its exec, leaves a failure for PID 1. Trusts the host, but
 * bounds the message it sends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "control.h"
#include "terminal.h"

struct report {
	struct pvio_status status; /* kind 0: nothing to report */
	char text[PVIO_STATUS_TEXT_MAX];
};

static int control = -1;
static struct report *report;

static void write_all(const void *data, size_t len)
{
	while (len) {
		ssize_t n = write(control, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1); /* PID 1: the kernel panics, which the host sees */
		data = (const char *)data + n;
		len -= n;
	}
}

static void read_all(void *data, size_t len)
{
	while (len) {
		ssize_t n = read(control, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1);
		data = (char *)data + n;
		len -= n;
	}
}

void control_open(const char *path)
{
	struct pvio_msg ready = { .type = PVIO_MSG_READY };

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	control = open(path, O_RDWR | O_CLOEXEC);
	if (report == MAP_FAILED || control < 0)
		_exit(1);
	write_all(&ready, sizeof(ready));
}

char *control_receive_run(size_t *len)
{
	struct pvio_msg msg;
	char *payload;

	read_all(&msg, sizeof(msg));
	if (msg.type != PVIO_MSG_RUN || msg.len > PVIO_RUN_MAX)
		fail(EPROTO, "message of type %u and %u bytes in place of RUN", msg.type, msg.len);
	payload = malloc(msg.len + 1);
	if (!payload)
		fail(errno, "memory for the request");
	read_all(payload, msg.len);
	payload[msg.len] = '\0';
	*len = msg.len;
	return payload;
}

int control_fd(void)
{
	return control;
}

void control_say_stopped(void)
{
	struct pvio_msg msg = { .type = PVIO_MSG_STOPPED };

	write_all(&msg, sizeof(msg));
}

/* Takes one message; @program: 0: it has ended. Was it COMMIT? */
static bool obey(pid_t program)
{
	struct pvio_winsize size;
	struct pvio_signal signal;
	struct pvio_msg msg;

	read_all(&msg, sizeof(msg));
	if (msg.type == PVIO_MSG_SIGNAL && msg.len == sizeof(signal)) {
		read_all(&signal, sizeof(signal));
		if (program) /* it may have ended, but has not been waited for */
			kill(signal.to_group ? -program : program, signal.number);
	} else if (msg.type == PVIO_MSG_WINSIZE && msg.len == sizeof(size)) {
		read_all(&size, sizeof(size));
		terminal_resize(&size);
	} else if (msg.type != PVIO_MSG_COMMIT || msg.len || program) {
		fail(EPROTO, "unexpected message of type %u and %u bytes", msg.type, msg.len);
	}
	return msg.type == PVIO_MSG_COMMIT;
}

void control_obey(pid_t program)
{
	obey(program);
}

void control_ask_commit(void)
{
	struct pvio_msg msg = { .type = PVIO_MSG_COMMIT };

	write_all(&msg, sizeof(msg));
	while (!obey(0))
		;
}

_Noreturn void control_finish(const struct pvio_status *status, const char *text)
{
	struct pvio_msg msg = { .type = PVIO_MSG_STATUS };
	size_t len = strnlen(text, PVIO_STATUS_TEXT_MAX);

	msg.len = sizeof(*status) + len;
	write_all(&msg, sizeof(msg));
	write_all(status, sizeof(*status));
	write_all(text, len);
	reboot(RB_POWER_OFF);
	_exit(1);
}

_Noreturn void control_fail(__u32 kind, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(report->text, sizeof(report->text), fmt, ap);
	va_end(ap);
	report->status.value = err;
	report->status.kind = kind;
	if (getpid() == 1)
		control_forward_failure();
	_exit(1);
}

void control_forward_failure(void)
{
	if (report->status.kind)
		control_finish(&report->status, report->text);
}
