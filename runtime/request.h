/* SPDX-License-Identifier: GPL-2.0-only */
/* The control channel: the RUN message that goes in, the messages that come out. */
#ifndef VMBOX_REQUEST_H
#define VMBOX_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "view.h"
#include "vmbox/pvio.h"

struct request {
	const char *program, *cwd, *hostname;
	char *const *argv; /* NULL-terminated */
	char *const *env;
	const struct view *view;
	uint32_t uid, gid;
	uint64_t file_size; /* UINT64_MAX: not limited */
	uint32_t files;	    /* 0: not limited; as pids is */
	uint32_t pids;
	struct pvio_terminal terminal;
};

/* The message with its head, to be freed; NULL with errno. time_* are left 0. */
uint8_t *request_build(const struct request *request, size_t *size);
void request_set_time(uint8_t *message);

/* Takes control bytes from the guest, which may be anything. */
struct control_parser {
	uint8_t buffer[sizeof(struct pvio_msg) + sizeof(struct pvio_status) + PVIO_STATUS_TEXT_MAX];
	size_t fill;
	bool ready, asked, finished;	     /* messages seen: READY, COMMIT, STATUS */
	bool stopped;			     /* STOPPED since the caller cleared it */
	struct pvio_status status;	     /* valid if finished */
	char text[PVIO_STATUS_TEXT_MAX + 1]; /* printable ASCII */
};

/* False: the guest broke the protocol. */
bool control_feed(struct control_parser *parser, const uint8_t *bytes, size_t n);
void make_printable(char *text, size_t n);

#endif
