// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages of the control channel. What goes out is built from trusted parts;
 * what comes in is the guest's: types and lengths are checked against the one
 * shape that each message has, before anything is copied.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "request.h"

struct builder {
	uint8_t *data;
	size_t size, capacity;
	bool failed;
};

static void put(struct builder *b, const void *bytes, size_t n)
{
	if (b->failed || b->size + n > PVIO_RUN_MAX) {
		b->failed = true;
		errno = E2BIG;
		return;
	}
	if (b->size + n > b->capacity) {
		size_t capacity = (b->size + n) * 2;
		uint8_t *data = realloc(b->data, capacity);

		if (!data) {
			b->failed = true;
			return;
		}
		b->data = data;
		b->capacity = capacity;
	}
	memcpy(b->data + b->size, bytes, n);
	b->size += n;
}

static void put_string(struct builder *b, const char *s)
{
	put(b, s, strlen(s) + 1);
}

static uint32_t put_strings(struct builder *b, char *const *list)
{
	uint32_t n = 0;

	for (; list[n]; n++)
		put_string(b, list[n]);
	return n;
}

uint8_t *request_build(const struct request *r, size_t *size)
{
	struct pvio_run run = { .uid = r->uid,
				.gid = r->gid,
				.nr_mounts = r->view->nr_mounts,
				.file_size = r->file_size,
				.files = r->files,
				.pids = r->pids,
				.terminal = r->terminal };
	struct pvio_msg head = { .type = PVIO_MSG_RUN };
	struct builder b = { 0 };
	size_t i;

	put(&b, &head, sizeof(head));
	put(&b, &run, sizeof(run));
	for (i = 0; i < r->view->nr_mounts; i++)
		put(&b, &r->view->mounts[i].mount, sizeof(struct pvio_mount));
	put_string(&b, r->program);
	put_string(&b, r->cwd);
	put_string(&b, r->hostname);
	run.nr_argv = put_strings(&b, r->argv);
	run.nr_env = put_strings(&b, r->env);
	for (i = 0; i < r->view->nr_mounts; i++) {
		put_string(&b, r->view->mounts[i].at);
		put_string(&b, r->view->mounts[i].target);
	}
	if (b.failed) {
		free(b.data);
		return NULL;
	}
	head.len = b.size - sizeof(head);
	memcpy(b.data, &head, sizeof(head));
	memcpy(b.data + sizeof(head), &run, sizeof(run));
	*size = b.size;
	return b.data;
}

void request_set_time(uint8_t *message)
{
	struct pvio_run run;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memcpy(&run, message + sizeof(struct pvio_msg), sizeof(run));
	run.time_sec = now.tv_sec;
	run.time_nsec = now.tv_nsec;
	memcpy(message + sizeof(struct pvio_msg), &run, sizeof(run));
}

void make_printable(char *text, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
}

/* A whole STATUS is in the buffer. */
static bool take_status(struct control_parser *p, const struct pvio_msg *head)
{
	const uint8_t *payload = p->buffer + sizeof(*head);
	size_t text = head->len - sizeof(p->status);

	memcpy(&p->status, payload, sizeof(p->status));
	memcpy(p->text, payload + sizeof(p->status), text);
	p->text[text] = 0;
	make_printable(p->text, text);
	p->finished = true;
	switch (p->status.kind) {
	case PVIO_EXITED:
		return p->status.value <= 255;
	case PVIO_SIGNALED:
		return p->status.value >= 1 && p->status.value <= 64;
	case PVIO_EXEC_FAILED:
	case PVIO_SETUP_FAILED:
	case PVIO_CHANGES_FAILED:
		return p->status.value <= 4095;
	}
	return false;
}

static bool length_is_right(const struct pvio_msg *head)
{
	switch (head->type) {
	case PVIO_MSG_READY:
	case PVIO_MSG_COMMIT:
	case PVIO_MSG_STOPPED:
		return !head->len;
	case PVIO_MSG_STATUS:
		return head->len >= sizeof(struct pvio_status) &&
		       head->len <= sizeof(struct pvio_status) + PVIO_STATUS_TEXT_MAX;
	}
	return false;
}

static bool is_in_turn(const struct control_parser *p, const struct pvio_msg *head)
{
	switch (head->type) {
	case PVIO_MSG_READY:
		return !p->ready;
	case PVIO_MSG_COMMIT:
		return p->ready && !p->asked;
	}
	return p->ready;
}

/**
 * control_feed - take bytes of the guest's half of the control channel
 *
 * READY once, STOPPED at times, perhaps COMMIT once, then STATUS once, nothing else.
 * False ends the VM.
 */
bool control_feed(struct control_parser *p, const uint8_t *bytes, size_t n)
{
	struct pvio_msg head;

	while (n--) {
		if (p->finished)
			return false;
		p->buffer[p->fill++] = *bytes++;
		if (p->fill < sizeof(head))
			continue;
		memcpy(&head, p->buffer, sizeof(head));
		if (!length_is_right(&head) || !is_in_turn(p, &head))
			return false;
		if (p->fill < sizeof(head) + head.len)
			continue;
		if (head.type == PVIO_MSG_STATUS && !take_status(p, &head))
			return false;
		p->ready |= head.type == PVIO_MSG_READY;
		p->asked |= head.type == PVIO_MSG_COMMIT;
		p->stopped |= head.type == PVIO_MSG_STOPPED;
		p->fill = 0;
	}
	return true;
}
