/* SPDX-License-Identifier: GPL-2.0-only */
/* Channel 0 of the 8254 timer. */
#ifndef VMBOX_PIT_H
#define VMBOX_PIT_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ 1193182ULL

struct pit {
	uint8_t mode;	/* 0: one-shot, 2 and 3: periodic */
	uint8_t access; /* 1: low byte, 2: high byte, 3: low then high */
	bool high_next_write, high_next_read, latched;
	uint16_t latch;
	uint8_t low;	   /* of a count that is being written */
	uint32_t count;	   /* 1 to 65536; 0: not programmed */
	uint64_t start_ns; /* when the count was loaded */
};

/* What a write asks of the caller's clock. */
struct pit_timer {
	bool changed;
	uint64_t first_ns;  /* from now; 0: stop */
	uint64_t period_ns; /* 0: once */
};

bool pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now_ns,
	       struct pit_timer *timer);
bool pit_read(struct pit *pit, uint16_t port, uint64_t now_ns, uint8_t *value);

#endif
