// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host does to memory: the VMM's second thread takes pages away, shares and copies them,
 * while the guest checks them; a read-only slot; a hole.
 */
#include "guest.h"

#define SETTLED 256U /* pages of slot 1 that keep their contents; the rest may turn to zeros */

/* Until there were @n events. */
static void events(u32 n)
{
	u32 i, page, got;

	for (i = 0; i < LOG_PAGES; i++)
		*at(LOG_SLOT + i * 4096) = *at(LOG_SLOT + i * 4096 + 4092) = i / 8 * 3;
	for (i = 0; i < LOG_PAGES; i++)
		*at(BIG + i * 4) = i / 8 * 3;
	out(PORT_EVENTS, 1);
	for (i = 0; *at(EVENTS) < n; i++) {
		page = random32() % LOG_PAGES;
		got = *at(LOG_SLOT + page * 4096);
		check(got == *at(BIG + page * 4) || (page >= SETTLED && !got), "events", "a word",
		      *at(BIG + page * 4), got);
		if (random32() & 1) /* few values: so that KSM finds equal pages */
			*at(LOG_SLOT + page * 4096) = *at(BIG + page * 4) = random32() & 3;
		if (i % 256 == 0)
			flush();
	}
	out(PORT_EVENTS, 0);
	for (i = 0; i < SETTLED; i++)
		check(*at(LOG_SLOT + i * 4096) == *at(BIG + i * 4), "events", "a word at the end",
		      *at(BIG + i * 4), *at(LOG_SLOT + i * 4096));
}

/* Each try() below is one exit at an address that the VMM is told. */
static void access(u32 addr, bool is_write)
{
	out(PORT_EXPECT, addr | is_write);
	try((u32)(is_write ? kernel_write : kernel_read), addr, 0xdead, 0, 2);
	out(PORT_EXPECT, 0);
	check(fault_vector == 128, "slots", "the vector", 128, fault_vector);
	if (!is_write)
		check(fault_eax == 0x5a5a5a5a, "slots", "the VMM's answer", 0x5a5a5a5a, fault_eax);
}

static void slots(const struct space *s)
{
	u32 i, ro = RO_SLOT, hole = HOLE;

	if (s->mode != M_OFF) {
		for (i = 0; i < 16; i++) {
			map(s, WINDOW + i * 4096, (RO_SLOT + i * 4096) | RWX);
			map(s, WINDOW + (16 + i) * 4096, (HOLE + i * 4096) | RWX);
		}
	}
	for (i = 0; i < 64; i++) {
		u32 at1 = (random32() & 0xfffc), physical = RO_SLOT + at1;
		u32 va = s->mode == M_OFF ? ro + at1 : WINDOW + at1;

		check(*at(va) == at1 / 4, "slots", "a read-only word", at1 / 4, *at(va));
		out(PORT_EXPECT, physical | 1);
		try((u32)kernel_write, va, 0xdead, 0, 2);
		out(PORT_EXPECT, 0);
		check(fault_vector == 128, "slots", "the vector", 128, fault_vector);
		check(*at(va) == at1 / 4, "slots", "it after a write", at1 / 4, *at(va));
		if (s->mode == M_OFF) {
			access(hole + at1, i & 1);
			continue;
		}
		out(PORT_EXPECT, (HOLE + at1) | (i & 1));
		try((u32)(i & 1 ? kernel_write : kernel_read), WINDOW + 0x10000 + at1, 0, 0, 2);
		out(PORT_EXPECT, 0);
		check(fault_vector == 128, "slots", "the vector", 128, fault_vector);
	}
}

void test_host(void)
{
	u32 n = 24;
	struct space s;

	option("events", &n);
	for (s.mode = M_OFF; s.mode <= M_64; s.mode++) {
		alloc_reset();
		current_mode = s.mode;
		if (s.mode != M_OFF) {
			s = new_space(s.mode);
			enter(&s, 0);
		}
		slots(&s);
		done("slots");
		events(n);
		if (s.mode != M_OFF)
			leave_paging();
		done("events");
	}
}
