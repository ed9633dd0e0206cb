// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams. One thread for each direction, because the caller's descriptors are
 * shared with other processes: they must stay in blocking mode, and a read or
 * write of them may block for as long as it likes without holding anything up.
 * A descriptor that somebody has made non-blocking is polled, not changed. The
 * only buffer is the ring, so back-pressure goes through to both ends. Of stdin
 * only what the program waits for is taken: the rest is the caller's next program's.
 * A stream that ended is closed here, so that its other end sees that at once.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "machine.h"

void pump_init(struct machine *m, unsigned int i, int fd, unsigned int channel,
	       unsigned int direction)
{
	struct pump *p = &m->pumps[i];

	p->machine = m;
	p->fd = fd;
	p->is_fs = channel == PVIO_CH_9P || channel == PVIO_CH_9P_RW;
	p->left = channel == PVIO_CH_STDOUT || channel == PVIO_CH_STDERR ? m->config->output
									 : UINT64_MAX;
	ring_init(&p->ring, m->region, channel, direction);
	p->ring.bytes = &m->config->record->bytes[channel][direction];
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
}

/* The guest's doorbell, which is that of all rings: who waits for another one sleeps on. */
void pump_wake(struct pump *p)
{
	pthread_mutex_lock(&p->lock);
	if (!p->waiting || ring_moved(&p->ring)) {
		p->woken = true;
		pthread_cond_broadcast(&p->cond);
	}
	pthread_mutex_unlock(&p->lock);
}

static void wait_for_guest(struct pump *p)
{
	pthread_mutex_lock(&p->lock);
	p->waiting = true;
	while (!p->woken)
		pthread_cond_wait(&p->cond, &p->lock);
	p->waiting = p->woken = false;
	pthread_mutex_unlock(&p->lock);
}

static void publish(struct pump *p, bool finished)
{
	pthread_mutex_lock(&p->lock);
	p->moved = p->ring.pos;
	p->finished = finished;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

/* One read or write (asked for, where it has to be), however long it takes. Bytes moved, 0 at the end of file, or -errno. */
static ssize_t move(struct pump *p, uint8_t *span, size_t len)
{
	struct pollfd ready = { .fd = p->fd, .events = p->ring.to_host ? POLLOUT : POLLIN };

	if (p->asks && write(p->fd, "", 1) != 1)
		return -errno;
	for (;;) {
		ssize_t n = p->ring.to_host ? write(p->fd, span, len) : read(p->fd, span, len);

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			poll(&ready, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
}

/* Is @err more than a reader that left, or a stdin that was never one to read? */
static bool loses_bytes(const struct pump *p, int err)
{
	if (p->ring.to_host)
		return err != EPIPE && err != ECONNRESET;
	return err != EBADF && err != EISDIR;
}

static void close_ring(struct pump *p)
{
	if (p->is_fs)
		machine_end(p->machine, VMM_LOST_FS, NULL, "");
	if (ring_close(&p->ring))
		machine_raise(p->machine, PVIO_IRQ);
}

void *pump_thread(void *arg)
{
	struct pump *p = arg;
	uint8_t *span;
	size_t len;
	ssize_t n;

	for (;;) {
		switch (ring_peek(&p->ring, &span, &len)) {
		case RING_READY:
			if (!p->left)
				machine_end(p->machine, VMM_OUTPUT_LIMIT, NULL,
					    p->fd == 1 ? "stdout" : "stderr");
			n = move(p, span, len < p->left ? len : p->left);
			if (n <= 0) {
				if (n && loses_bytes(p, -n))
					p->error = -n;
				close_ring(p);
				goto finished;
			}
			p->left -= n;
			if (ring_advance(&p->ring, n))
				machine_raise(p->machine, PVIO_IRQ);
			publish(p, false);
			break;
		case RING_EMPTY:
			wait_for_guest(p);
			break;
		case RING_CLOSED:
			goto finished;
		case RING_BROKEN:
			machine_end(p->machine, VMM_PROTOCOL, NULL,
				    "its ring counters are out of range");
		}
	}
finished:
	if (p->fd == 0 || p->fd == 1) /* stderr is for messages too */
		close(p->fd);
	publish(p, true);
	return NULL;
}

/* Waits until the bytes that the guest has put in so far are out, or nobody reads them. */
void pump_drain(struct pump *p)
{
	uint32_t target = __atomic_load_n(&p->ring.shared->prod, __ATOMIC_ACQUIRE);

	pthread_mutex_lock(&p->lock);
	p->woken = true;
	pthread_cond_broadcast(&p->cond);
	while (!p->finished && (int32_t)(target - p->moved) > 0)
		pthread_cond_wait(&p->cond, &p->lock);
	pthread_mutex_unlock(&p->lock);
}
