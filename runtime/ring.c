// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's half of one pvio ring. Owns our counter and flags. Trusts nothing
 * in the shared page: the guest's counter is read once and checked, the data
 * is only ever copied as bytes, and no length comes from the guest.
 */
#include "ring.h"

void ring_init(struct ring *r, void *region, unsigned int channel, unsigned int direction)
{
	struct pvio_header *h = region;

	*r = (struct ring){ .shared = &h->ring[channel][direction],
			    .data = (uint8_t *)region + PVIO_RING_OFFSET(channel, direction),
			    .to_host = direction == PVIO_TO_HOST };
}

/* Of a ring to the guest, before it boots. */
void ring_fill_on_demand(struct ring *r)
{
	r->on_demand = true;
	r->shared->prod_flags = PVIO_ON_DEMAND;
}

static uint32_t *guest_counter(const struct ring *r)
{
	return r->to_host ? &r->shared->prod : &r->shared->cons;
}

static uint32_t *guest_flags(const struct ring *r)
{
	return r->to_host ? &r->shared->prod_flags : &r->shared->cons_flags;
}

static uint32_t *own_flags(const struct ring *r)
{
	return r->to_host ? &r->shared->cons_flags : &r->shared->prod_flags;
}

/* Should the doorbell ring after our counter or flags moved? */
static bool guest_waits(const struct ring *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(guest_flags(r), __ATOMIC_RELAXED) & PVIO_WAITING;
}

static enum ring_state look(struct ring *r, uint8_t **span, size_t *len)
{
	/* The flags first: what was written before CLOSED is then seen too. */
	uint32_t flags = __atomic_load_n(guest_flags(r), __ATOMIC_ACQUIRE);
	uint32_t guest = __atomic_load_n(guest_counter(r), __ATOMIC_ACQUIRE);
	uint32_t fill = r->to_host ? guest - r->pos : r->pos - guest;
	uint32_t offset = r->pos & (PVIO_RING_SIZE - 1);
	uint32_t n = r->to_host ? fill : PVIO_RING_SIZE - fill;

	if (fill > PVIO_RING_SIZE)
		return RING_BROKEN;
	if ((flags & PVIO_CLOSED) && (!r->to_host || !n))
		return RING_CLOSED;
	if (!n || (r->on_demand && (fill || !(flags & PVIO_WAITING))))
		return RING_EMPTY;
	*span = r->data + offset;
	*len = n < PVIO_RING_SIZE - offset ? n : PVIO_RING_SIZE - offset;
	return RING_READY;
}

/**
 * ring_peek - what can be done with the ring now
 * @span, @len: for RING_READY the contiguous bytes to take or to fill
 *
 * RING_EMPTY asks the guest for a doorbell before it says so; one that is filled on demand has it.
 */
enum ring_state ring_peek(struct ring *r, uint8_t **span, size_t *len)
{
	enum ring_state state = look(r, span, len);

	if (state == RING_EMPTY && !r->on_demand) {
		__atomic_fetch_or(own_flags(r), PVIO_WAITING, __ATOMIC_SEQ_CST);
		state = look(r, span, len);
	}
	if (state == RING_READY)
		__atomic_fetch_and(own_flags(r), ~(uint32_t)PVIO_WAITING, __ATOMIC_SEQ_CST);
	return state;
}

/* Would ring_peek() say anything but RING_EMPTY? Asks the guest for nothing. */
bool ring_moved(struct ring *r)
{
	uint8_t *span;
	size_t len;

	return look(r, &span, &len) != RING_EMPTY;
}

/* Says that @n bytes of the span are taken or filled. True: ring the guest's doorbell. */
bool ring_advance(struct ring *r, size_t n)
{
	r->pos += n;
	if (r->bytes)
		*r->bytes += n;
	__atomic_store_n(r->to_host ? &r->shared->cons : &r->shared->prod, r->pos,
			 __ATOMIC_RELEASE);
	return guest_waits(r);
}

/*
 * All of @data into a ring to the guest, or nothing if there is not the space.
 * True: ring the guest's doorbell.
 */
bool ring_put(struct ring *r, const void *data, size_t n)
{
	uint32_t fill = r->pos - __atomic_load_n(guest_counter(r), __ATOMIC_ACQUIRE);
	const uint8_t *bytes = data;
	size_t i;

	if (fill > PVIO_RING_SIZE || n > PVIO_RING_SIZE - fill)
		return false;
	for (i = 0; i < n; i++)
		r->data[(r->pos + i) & (PVIO_RING_SIZE - 1)] = bytes[i];
	return ring_advance(r, n);
}

/* We will not read, or write, any more. True: ring the guest's doorbell. */
bool ring_close(struct ring *r)
{
	__atomic_fetch_or(own_flags(r), PVIO_CLOSED, __ATOMIC_SEQ_CST);
	return guest_waits(r);
}
