// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's half of a ring against a guest that keeps the protocol, and
 * against one that writes whatever it likes into the shared page. The region
 * is a heap block of the exact size: ASan sees any step outside of it.
 */
#include <stdlib.h>
#include <string.h>

#include "../../runtime/ring.h"
#include "check.h"

static uint8_t *region;

static struct pvio_ring *shared(unsigned int ch, unsigned int dir)
{
	return &((struct pvio_header *)region)->ring[ch][dir];
}

static void fresh(void)
{
	free(region);
	region = calloc(1, PVIO_REGION_SIZE);
}

static void test_bytes_come_out_as_they_went_in(void)
{
	struct pvio_ring *s;
	struct ring r;
	uint32_t in = 0xfffffff0, out = in, total = 0;
	uint8_t *span;
	size_t len;

	fresh();
	ring_init(&r, region, PVIO_CH_STDOUT, PVIO_TO_HOST);
	s = shared(PVIO_CH_STDOUT, PVIO_TO_HOST);
	s->prod = s->cons = r.pos = in; /* near the wrap of the counters */
	while (total < 1000000) {
		uint32_t n = random() % (PVIO_RING_SIZE - (in - out) + 1);

		while (n--) {
			region[PVIO_RING_OFFSET(PVIO_CH_STDOUT, PVIO_TO_HOST) +
			       (in & (PVIO_RING_SIZE - 1))] = in * 7;
			in++;
		}
		s->prod = in;
		while (ring_peek(&r, &span, &len) == RING_READY) {
			size_t take = 1 + random() % len, i;

			for (i = 0; i < take; i++)
				if (span[i] != (uint8_t)((out + i) * 7))
					CHECK(!"wrong byte");
			ring_advance(&r, take);
			out += take;
			total += take;
			CHECK_EQ(s->cons, out);
			if (!(random() % 4))
				break;
		}
	}
}

static void test_waiting_and_doorbell(void)
{
	struct pvio_ring *s;
	struct ring r;
	uint8_t *span;
	size_t len;

	fresh();
	ring_init(&r, region, PVIO_CH_STDOUT, PVIO_TO_HOST);
	s = shared(PVIO_CH_STDOUT, PVIO_TO_HOST);
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY);
	CHECK_EQ(s->cons_flags, PVIO_WAITING);
	s->prod = 10;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_READY);
	CHECK_EQ(len, 10);
	CHECK_EQ(s->cons_flags, 0);
	CHECK(!ring_advance(&r, 4));
	s->prod_flags = PVIO_WAITING;
	CHECK(ring_advance(&r, 6));
	s->prod_flags = PVIO_CLOSED;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_CLOSED);
}

static void test_end_of_file_comes_after_the_bytes(void)
{
	struct pvio_ring *s;
	struct ring r;
	uint8_t *span;
	size_t len;

	fresh();
	ring_init(&r, region, PVIO_CH_STDOUT, PVIO_TO_HOST);
	s = shared(PVIO_CH_STDOUT, PVIO_TO_HOST);
	s->prod = 3;
	s->prod_flags = PVIO_CLOSED;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_READY);
	CHECK_EQ(len, 3);
	ring_advance(&r, 3);
	CHECK_EQ(ring_peek(&r, &span, &len), RING_CLOSED);

	ring_init(&r, region, PVIO_CH_STDIN, PVIO_TO_GUEST);
	s = shared(PVIO_CH_STDIN, PVIO_TO_GUEST);
	CHECK_EQ(ring_peek(&r, &span, &len), RING_READY);
	CHECK_EQ(len, PVIO_RING_SIZE);
	ring_advance(&r, len);
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY);
	s->cons_flags = PVIO_CLOSED; /* nobody reads: no use filling it */
	CHECK_EQ(ring_peek(&r, &span, &len), RING_CLOSED);
	ring_close(&r);
	CHECK(s->prod_flags & PVIO_CLOSED);
}

static void test_impossible_counters_are_seen(void)
{
	struct ring r;
	uint8_t *span;
	size_t len;

	fresh();
	ring_init(&r, region, PVIO_CH_9P, PVIO_TO_HOST);
	shared(PVIO_CH_9P, PVIO_TO_HOST)->prod = PVIO_RING_SIZE + 1;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_BROKEN);
	ring_init(&r, region, PVIO_CH_9P, PVIO_TO_GUEST);
	shared(PVIO_CH_9P, PVIO_TO_GUEST)->cons = 1; /* read what was never written */
	CHECK_EQ(ring_peek(&r, &span, &len), RING_BROKEN);
}

static enum ring_state expected(const struct ring *r, uint32_t fill, uint32_t flags)
{
	uint32_t n = r->to_host ? fill : PVIO_RING_SIZE - fill;

	if (fill > PVIO_RING_SIZE)
		return RING_BROKEN;
	if ((flags & PVIO_CLOSED) && (!r->to_host || !n))
		return RING_CLOSED;
	return n ? RING_READY : RING_EMPTY;
}

/* Each edge of what the guest's counter can be, at each edge of ours, with any flags. */
static void test_every_counter(void)
{
	static const uint32_t edges[] = { 0,
					  1,
					  PVIO_RING_SIZE - 1,
					  PVIO_RING_SIZE,
					  PVIO_RING_SIZE + 1,
					  0x7fffffff,
					  0x80000000,
					  0xfffffffe,
					  0xffffffff,
					  -PVIO_RING_SIZE,
					  -PVIO_RING_SIZE - 1 };
	static const uint32_t flags[] = { 0, PVIO_CLOSED, PVIO_WAITING, ~0U & ~PVIO_CLOSED, ~0U };
	const size_t n = sizeof(edges) / sizeof(edges[0]);

	for (size_t i = 0; i < n * n * 5 * 2; i++) {
		uint32_t ours = edges[i % n], fill = edges[i / n % n], f = flags[i / n / n % 5];
		unsigned int dir = i / n / n / 5;
		struct ring r;
		uint8_t *span;
		size_t len;

		fresh();
		ring_init(&r, region, PVIO_CH_9P, dir);
		r.pos = ours;
		if (dir == PVIO_TO_HOST) {
			r.shared->prod = ours + fill;
			r.shared->prod_flags = f;
		} else {
			r.shared->cons = ours - fill;
			r.shared->cons_flags = f;
		}
		CHECK_EQ(ring_moved(&r), expected(&r, fill, f) != RING_EMPTY);
		CHECK_EQ(dir == PVIO_TO_HOST ? r.shared->cons_flags : r.shared->prod_flags, 0);
		CHECK_EQ(ring_peek(&r, &span, &len), expected(&r, fill, f));
		if (expected(&r, fill, f) == RING_READY)
			CHECK(span >= r.data && len && span + len <= r.data + PVIO_RING_SIZE);
	}
}

/* Any contents of the header at any time: spans stay inside the ring. */
static void test_hostile_header(void)
{
	struct ring rings[PVIO_NR_CHANNELS][2];
	unsigned int ch, dir, i, j;
	uint8_t *span;
	size_t len;

	fresh();
	for (ch = 0; ch < PVIO_NR_CHANNELS; ch++)
		for (dir = 0; dir < 2; dir++)
			ring_init(&rings[ch][dir], region, ch, dir);
	for (i = 0; i < 300000; i++) {
		uint32_t *words = (uint32_t *)region;
		struct ring *r;

		ch = random() % PVIO_NR_CHANNELS;
		dir = random() % 2;
		r = &rings[ch][dir];
		for (j = 0; j < 3; j++)
			words[random() % (sizeof(struct pvio_header) / 4)] =
				random() * 2 + random() % 2;
		if (random() % 2)
			*(dir ? &r->shared->prod : &r->shared->cons) =
				r->pos + (dir ? 1 : -1) * (random() % (PVIO_RING_SIZE + 2));
		if (ring_peek(r, &span, &len) != RING_READY)
			continue;
		CHECK(len >= 1 && len <= PVIO_RING_SIZE);
		CHECK(span >= r->data && span + len <= r->data + PVIO_RING_SIZE);
		memset(span, 0, len);
		ring_advance(r, 1 + random() % len);
	}
}

/* Bytes are wanted when the guest waits and has none, and not before. */
static void test_filling_on_demand(void)
{
	struct pvio_ring *s;
	struct ring r;
	uint8_t *span;
	size_t len;

	fresh();
	ring_init(&r, region, PVIO_CH_STDIN, PVIO_TO_GUEST);
	ring_fill_on_demand(&r);
	s = shared(PVIO_CH_STDIN, PVIO_TO_GUEST);
	CHECK_EQ(s->prod_flags, PVIO_ON_DEMAND);
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY);
	CHECK_EQ(s->prod_flags, PVIO_ON_DEMAND);
	CHECK(!ring_moved(&r));
	s->cons_flags = PVIO_WAITING;
	CHECK(ring_moved(&r));
	CHECK_EQ(ring_peek(&r, &span, &len), RING_READY);
	CHECK_EQ(len, PVIO_RING_SIZE);
	CHECK(ring_advance(&r, 3));
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY); /* it has some */
	s->cons = 2;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY);
	s->cons = 3;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_READY);
	s->cons_flags = 0;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_EMPTY);
	s->cons = 4;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_BROKEN);
	s->cons = 3;
	s->cons_flags = PVIO_CLOSED;
	CHECK_EQ(ring_peek(&r, &span, &len), RING_CLOSED);
	CHECK(!ring_close(&r));
	CHECK_EQ(s->prod_flags, PVIO_ON_DEMAND | PVIO_CLOSED);
}

/* All of it or nothing, over the end of the ring as well. */
static void test_whole_messages(void)
{
	uint8_t message[24], *data;
	struct pvio_ring *s;
	struct ring r;
	unsigned int i;

	fresh();
	ring_init(&r, region, PVIO_CH_CONTROL, PVIO_TO_GUEST);
	s = shared(PVIO_CH_CONTROL, PVIO_TO_GUEST);
	data = region + PVIO_RING_OFFSET(PVIO_CH_CONTROL, PVIO_TO_GUEST);
	for (i = 0; i < sizeof(message); i++)
		message[i] = i + 1;
	s->prod = s->cons = r.pos = 0xffffffff - 9;
	CHECK(!ring_put(&r, message, sizeof(message)));
	CHECK_EQ(s->prod, 14);
	CHECK(!memcmp(data + PVIO_RING_SIZE - 10, message, 10));
	CHECK(!memcmp(data, message + 10, 14));
	s->cons_flags = PVIO_WAITING;
	CHECK(ring_put(&r, message, sizeof(message)));
	s->cons = s->prod - (PVIO_RING_SIZE - 23);
	CHECK(!ring_put(&r, message, sizeof(message))); /* a byte too few */
	CHECK_EQ(s->prod, 38);
	s->cons++;
	CHECK(ring_put(&r, message, sizeof(message)));
	s->cons = s->prod + 1; /* impossible */
	CHECK(!ring_put(&r, message, sizeof(message)));
}

int main(void)
{
	srandom(1);
	test_bytes_come_out_as_they_went_in();
	test_waiting_and_doorbell();
	test_end_of_file_comes_after_the_bytes();
	test_impossible_counters_are_seen();
	test_every_counter();
	test_hostile_header();
	test_filling_on_demand();
	test_whole_messages();
	free(region);
	return check_failed;
}
