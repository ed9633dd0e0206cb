/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's half of one pvio ring. include/vmbox/pvio.h has the protocol. */
#ifndef VMBOX_RING_H
#define VMBOX_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmbox/pvio.h"

/* Geometry and our own counter are private: the guest cannot move them. */
struct ring {
	struct pvio_ring *shared;
	uint8_t *data; /* PVIO_RING_SIZE bytes, shared */
	uint32_t pos;  /* our counter: cons of a ring to the host, prod of one to the guest */
	bool to_host;
	uint64_t *bytes; /* counts what has moved; NULL: nobody wants to know */
	bool on_demand;	 /* filled only when it is empty and the guest waits */
};

enum ring_state {
	RING_READY,  /* bytes to take, or space to fill: *span and *len */
	RING_EMPTY,  /* nothing to do now; WAITING is set, the guest will ring */
	RING_CLOSED, /* to the host: end of file. To the guest: nobody reads */
	RING_BROKEN, /* the guest's counters make no sense: end the VM */
};

void ring_init(struct ring *r, void *region, unsigned int channel, unsigned int direction);
void ring_fill_on_demand(struct ring *r);
enum ring_state ring_peek(struct ring *r, uint8_t **span, size_t *len);
bool ring_moved(struct ring *r);
bool ring_advance(struct ring *r, size_t n);
bool ring_put(struct ring *r, const void *data, size_t n);
bool ring_close(struct ring *r);

#endif
