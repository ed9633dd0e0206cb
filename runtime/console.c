// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest kernel prints: taken off its ring, made printable at once, kept
 * as far as the result has space for it. vCPU thread, but for the tail at the end.
 */
#include <errno.h>
#include <unistd.h>

#include "machine.h"

/* The last of the console, oldest first, made printable but for line ends. */
void machine_console_tail(const struct machine *m, char to[VMM_CONSOLE_TAIL + 1])
{
	size_t n = m->tail_pos < sizeof(m->tail) ? m->tail_pos : sizeof(m->tail), i;

	for (i = 0; i < n; i++) {
		to[i] = m->tail[(m->tail_pos - n + i) % sizeof(m->tail)];
		if (to[i] != '\n')
			make_printable(&to[i], 1);
	}
	to[n] = 0;
}

/* For --verbose. A stderr that is gone changes nothing. */
static void show_console(const struct machine *m, const char *line, size_t len)
{
	ssize_t n;

	if (!m->config->verbose)
		return;
	for (; len; line += n, len -= n) {
		n = write(2, line, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return;
	}
}

/* Takes what the guest kernel has printed: for the tail, and for --verbose. vCPU thread. */
void machine_take_console(struct machine *m)
{
	enum ring_state state;
	uint8_t *span;
	size_t len, i;

	while ((state = ring_peek(&m->console, &span, &len)) == RING_READY) {
		char line[256];

		if (len > sizeof(line))
			len = sizeof(line);
		for (i = 0; i < len; i++) {
			line[i] = span[i];
			if (line[i] != '\n')
				make_printable(&line[i], 1);
			m->tail[m->tail_pos++ % sizeof(m->tail)] = line[i];
		}
		show_console(m, line, len);
		if (ring_advance(&m->console, len))
			machine_raise(m, PVIO_IRQ);
	}
	if (state == RING_BROKEN)
		machine_end(m, VMM_PROTOCOL, NULL, "its ring counters are out of range");
}
