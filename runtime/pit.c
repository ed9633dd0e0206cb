// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254, as far as Linux uses it: channel 0 in modes 0, 2, 3 and 4, read
 * back by latch. Channels 1 and 2 read 0 and drive nothing: a kernel that
 * calibrates against channel 2 gives up at once and takes the TSC's frequency
 * from its command line. Pure logic; time comes in, a timer request goes out.
 * Intel 8254 data sheet (231164-005).
 */
#include "pit.h"

#define PORT_CHANNEL0 0x40
#define PORT_CONTROL  0x43
#define MIN_PERIOD_NS 200000 /* a guest must not keep the timer's thread busy; KVM's is the same */

static uint64_t ticks_to_ns(uint64_t ticks)
{
	return ticks * 1000000000ULL / PIT_HZ;
}

static bool is_periodic(const struct pit *pit)
{
	return pit->mode == 2 || pit->mode == 3;
}

/* The counter's value now. */
static uint16_t current_count(const struct pit *pit, uint64_t now_ns)
{
	uint64_t elapsed = (now_ns - pit->start_ns) / 1000 * PIT_HZ / 1000000;

	if (!pit->count)
		return 0;
	if (is_periodic(pit))
		return pit->count - elapsed % pit->count;
	return elapsed < pit->count ? pit->count - elapsed : 0;
}

static void load(struct pit *pit, uint16_t value, uint64_t now_ns, struct pit_timer *timer)
{
	pit->count = value ? value : 65536;
	pit->start_ns = now_ns;
	*timer = (struct pit_timer){ .changed = true, .first_ns = ticks_to_ns(pit->count) };
	if (is_periodic(pit) && timer->first_ns < MIN_PERIOD_NS)
		timer->first_ns = MIN_PERIOD_NS;
	if (is_periodic(pit))
		timer->period_ns = timer->first_ns;
}

static void write_control(struct pit *pit, uint8_t value, uint64_t now_ns, struct pit_timer *timer)
{
	uint8_t access = value >> 4 & 3;

	if (value >> 6) /* another channel, or read-back */
		return;
	if (!access) {
		pit->latch = current_count(pit, now_ns);
		pit->latched = true;
		pit->high_next_read = false;
		return;
	}
	*pit = (struct pit){ .access = access, .mode = value >> 1 & 7 };
	if (pit->mode > 5)
		pit->mode -= 4;
	*timer = (struct pit_timer){ .changed = true };
}

static void write_count(struct pit *pit, uint8_t value, uint64_t now_ns, struct pit_timer *timer)
{
	switch (pit->access) {
	case 1:
		load(pit, value, now_ns, timer);
		break;
	case 2:
		load(pit, value << 8, now_ns, timer);
		break;
	case 3:
		if (pit->high_next_write)
			load(pit, value << 8 | pit->low, now_ns, timer);
		else
			pit->low = value;
		pit->high_next_write = !pit->high_next_write;
		break;
	}
}

/**
 * pit_write - a byte to one of the ports 0x40 to 0x43
 * @timer: what to do with the clock behind IRQ 0
 *
 * False: not our port.
 */
bool pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now_ns,
	       struct pit_timer *timer)
{
	*timer = (struct pit_timer){ 0 };
	if (port < PORT_CHANNEL0 || port > PORT_CONTROL)
		return false;
	if (port == PORT_CONTROL)
		write_control(pit, value, now_ns, timer);
	else if (port == PORT_CHANNEL0)
		write_count(pit, value, now_ns, timer);
	return true;
}

bool pit_read(struct pit *pit, uint16_t port, uint64_t now_ns, uint8_t *value)
{
	uint16_t count;

	if (port < PORT_CHANNEL0 || port > PORT_CONTROL)
		return false;
	*value = 0;
	if (port != PORT_CHANNEL0)
		return true;
	count = pit->latched ? pit->latch : current_count(pit, now_ns);
	if (pit->access == 3) {
		*value = pit->high_next_read ? count >> 8 : count;
		if (pit->high_next_read)
			pit->latched = false;
		pit->high_next_read = !pit->high_next_read;
	} else {
		*value = pit->access == 2 ? count >> 8 : count;
		pit->latched = false;
	}
	return true;
}
