/* SPDX-License-Identifier: GPL-2.0-only */
/* The pair of 8259 interrupt controllers of a PC. */
#ifndef VMBOX_PIC_H
#define VMBOX_PIC_H

#include <stdbool.h>
#include <stdint.h>

struct pic_chip {
	uint8_t auto_eoi_lines; /* fixed: these lines are never in service */
	uint8_t irr, isr, imr;
	uint8_t vector_base; /* ICW2 */
	uint8_t init_step;   /* the ICW that is awaited on the data port; 0: none */
	bool needs_icw4, auto_eoi, read_isr;
};

struct pic {
	struct pic_chip chip[2]; /* primary, secondary (on line 2 of the first) */
};

void pic_init(struct pic *pic);
void pic_raise(struct pic *pic, unsigned int irq); /* an edge */
bool pic_pending(const struct pic *pic);
int pic_acknowledge(struct pic *pic);			       /* the vector, or -1 */
bool pic_write(struct pic *pic, uint16_t port, uint8_t value); /* false: not our port */
bool pic_read(struct pic *pic, uint16_t port, uint8_t *value);

#endif
