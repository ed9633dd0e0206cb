// SPDX-License-Identifier: GPL-2.0-only
/* The control channel's thread: READY, then our RUN, then STATUS ends the VM. */
#include <string.h>

#include "machine.h"

void control_wake(struct machine *m)
{
	pthread_mutex_lock(&m->control_lock);
	m->control_woken = true;
	pthread_cond_signal(&m->control_cond);
	pthread_mutex_unlock(&m->control_lock);
}

static void wait_for_guest(struct machine *m)
{
	pthread_mutex_lock(&m->control_lock);
	while (!m->control_woken)
		pthread_cond_wait(&m->control_cond, &m->control_lock);
	m->control_woken = false;
	pthread_mutex_unlock(&m->control_lock);
}

/* The span of @ring, however long it takes. */
static void wait_ring(struct machine *m, struct ring *ring, uint8_t **span, size_t *len)
{
	for (;;) {
		bool off = m->powered_off; /* before the look: what came before it counts */

		switch (ring_peek(ring, span, len)) {
		case RING_READY:
			return;
		case RING_EMPTY:
			if (off)
				machine_end(m, VMM_GUEST_STOPPED, NULL,
					    "it switched itself off without a status");
			wait_for_guest(m);
			break;
		case RING_CLOSED:
			machine_end(m, VMM_PROTOCOL, NULL, "it closed the control channel");
		case RING_BROKEN:
			machine_end(m, VMM_PROTOCOL, NULL, "its ring counters are out of range");
		}
	}
}

static void advance(struct machine *m, struct ring *ring, size_t n)
{
	if (ring_advance(ring, n))
		machine_raise(m, PVIO_IRQ);
}

static void receive(struct machine *m, struct control_parser *parser)
{
	uint8_t *span, copy[1024];
	size_t len;

	wait_ring(m, &m->control_in, &span, &len);
	if (len > sizeof(copy))
		len = sizeof(copy);
	memcpy(copy, span, len);
	advance(m, &m->control_in, len);
	if (!control_feed(parser, copy, len))
		machine_end(m, VMM_PROTOCOL, NULL, "it sent a malformed control message");
}

static void send_request(struct machine *m)
{
	const uint8_t *bytes = m->config->request;
	size_t left = m->config->request_size, len;
	uint8_t *span;

	request_set_time(m->config->request);
	while (left) {
		wait_ring(m, &m->control_out, &span, &len);
		if (len > left)
			len = left;
		memcpy(span, bytes, len);
		advance(m, &m->control_out, len);
		bytes += len;
		left -= len;
	}
}

void *control_thread(void *arg)
{
	static struct control_parser parser;
	struct machine *m = arg;

	while (!parser.ready)
		receive(m, &parser);
	m->ready_ns = machine_now(m);
	send_request(m);
	while (!parser.finished)
		receive(m, &parser);
	pump_drain(&m->pumps[PUMP_STDOUT]);
	pump_drain(&m->pumps[PUMP_STDERR]);
	machine_end(m, VMM_PROGRAM_ENDED, &parser.status, parser.text);
}
