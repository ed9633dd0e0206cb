// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control channel's two threads. One for the guest: READY, our RUN, perhaps COMMIT
 * both ways; STATUS ends the VM. One for the launcher's orders.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

void control_wake(struct machine *m)
{
	pthread_mutex_lock(&m->control_lock);
	if (!m->control_waits || m->powered_off || ring_moved(m->control_waits)) {
		m->control_woken = true;
		pthread_cond_signal(&m->control_cond);
	}
	pthread_mutex_unlock(&m->control_lock);
}

static void wait_for_guest(struct machine *m, struct ring *ring)
{
	pthread_mutex_lock(&m->control_lock);
	m->control_waits = ring;
	while (!m->control_woken)
		pthread_cond_wait(&m->control_cond, &m->control_lock);
	m->control_waits = NULL;
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
			wait_for_guest(m, ring);
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
	if (parser->stopped)
		machine_say_stopped(m);
	parser->stopped = false;
}

/* With send_lock. */
static void send_bytes(struct machine *m, const void *data, size_t left)
{
	const uint8_t *bytes = data;
	uint8_t *span;
	size_t len;

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

static void drain_output(struct machine *m)
{
	pump_drain(&m->pumps[PUMP_STDOUT]);
	pump_drain(&m->pumps[PUMP_STDERR]);
}

void *control_thread(void *arg)
{
	static const struct pvio_msg commit = { .type = PVIO_MSG_COMMIT };
	struct control_parser parser = { 0 };
	struct machine *m = arg;

	while (!parser.ready)
		receive(m, &parser);
	machine_ask(m, VMM_WANTS_RUN);
	m->config->record->ready_ns = machine_now(m);
	request_set_time(m->config->request);
	pthread_mutex_lock(&m->send_lock);
	send_bytes(m, m->config->request, m->config->request_size);
	m->run_sent = true;
	pthread_mutex_unlock(&m->send_lock);
	while (!parser.asked && !parser.finished)
		receive(m, &parser);
	drain_output(m);
	if (parser.asked) {
		if (!m->config->commits)
			machine_end(m, VMM_PROTOCOL, NULL, "it asked to commit without an overlay");
		machine_ask(m, VMM_WANTS_COMMIT);
		pthread_mutex_lock(&m->send_lock);
		send_bytes(m, &commit, sizeof(commit));
		pthread_mutex_unlock(&m->send_lock);
	}
	while (!parser.finished)
		receive(m, &parser);
	drain_output(m);
	machine_end(m, VMM_PROGRAM_ENDED, &parser.status, parser.text);
}

/* Would it end a program that does not care for it? */
static bool is_deadly(unsigned int sig)
{
	return sig != SIGWINCH && sig != SIGCONT && sig != SIGTSTP;
}

/* With send_lock. */
static void pass_on(struct machine *m, const struct vmm_order *order)
{
	struct {
		struct pvio_msg head;
		union {
			struct pvio_signal signal;
			struct pvio_winsize size;
		};
	} msg = { .head = { .type = PVIO_MSG_SIGNAL, .len = sizeof(msg.signal) },
		  .signal = order->signal };

	if (order->kind == VMM_WINSIZE) {
		msg.head.type = PVIO_MSG_WINSIZE;
		msg.size = order->size;
	}
	_Static_assert(sizeof(msg) == sizeof(msg.head) + sizeof(msg.signal) &&
			       sizeof(msg.signal) == sizeof(msg.size),
		       "both are as long");
	if (ring_put(&m->control_out, &msg, sizeof(msg)))
		machine_raise(m, PVIO_IRQ);
}

void *order_thread(void *arg)
{
	struct machine *m = arg;
	struct vmm_order order;

	while (TEMP_FAILURE_RETRY(read(m->config->result, &order, sizeof(order))) ==
	       sizeof(order)) {
		const struct pvio_status status = { .kind = PVIO_SIGNALED,
						    .value = order.signal.number };

		if (order.kind == VMM_GO_ON) {
			sem_post(&m->may_go_on);
			continue;
		}
		pthread_mutex_lock(&m->send_lock);
		if (m->run_sent)
			pass_on(m, &order);
		else if (order.kind == VMM_SIGNAL && is_deadly(order.signal.number))
			machine_end(m, VMM_SIGNALED, &status, "");
		pthread_mutex_unlock(&m->send_lock);
	}
	return NULL;
}
