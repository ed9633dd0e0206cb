// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log of slot 1, whose tables are in slot 0. The VMM knows which pages a round writes,
 * and compares at each round's end.
 */
#include "guest.h"

static u32 next_round;

/* As in testvmm.c. */
static u32 next(u32 *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* 64 writes, with reads of other pages between them, and flushes. */
static void write_round(u32 round, bool report)
{
	u32 x = round * 2654435761U | 1, i;

	for (i = 0; i < 64; i++) {
		*at(LOG_SLOT + next(&x) % LOG_PAGES * 4096 + (i * 52 & 0xffc)) = round;
		if (i % 4 == 0)
			(void)*at(LOG_SLOT + random32() % LOG_PAGES * 4096);
		if (i % 16 == 0 && read_cr0() & CR0_PG)
			flush();
	}
	if (report)
		out(PORT_ROUND, round);
}

/* What each word of the slot should be is kept in RAM. */
static void under_toggling(void)
{
	u32 i, page, n = 20000;

	option("writes", &n);
	for (i = 0; i < LOG_PAGES; i++)
		*at(BIG + i * 4) = *at(LOG_SLOT + i * 4096);
	out(PORT_LOG, 2);
	for (i = 0; i < n; i++) {
		page = random32() % LOG_PAGES;
		check(*at(LOG_SLOT + page * 4096) == *at(BIG + page * 4), "dirty",
		      "a word while the log is toggled", *at(BIG + page * 4),
		      *at(LOG_SLOT + page * 4096));
		*at(LOG_SLOT + page * 4096) = *at(BIG + page * 4) = random32();
		if (i % 64 == 0)
			flush();
	}
	out(PORT_LOG, 3);
}

void test_dirty(void)
{
	struct space s;
	u32 i;

	for (s.mode = M_OFF; s.mode <= M_64; s.mode++) {
		alloc_reset();
		current_mode = s.mode;
		if (s.mode != M_OFF) {
			s = new_space(s.mode);
			enter(&s, 0);
		}
		write_round(++next_round, false);
		out(PORT_LOG, 1);
		for (i = 0; i < 24; i++)
			write_round(++next_round, true);
		out(PORT_LOG, 0);
		write_round(++next_round, false);
		out(PORT_LOG, 1);
		write_round(++next_round, true);
		if (s.mode != M_OFF) {
			under_toggling();
			for (i = 0; i < 8; i++)
				write_round(++next_round, true);
		}
		out(PORT_LOG, 0);
		if (s.mode != M_OFF)
			leave_paging();
		done("dirty");
	}
}
