// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two 8259s, as far as an edge-triggered PC uses them: initialisation, masks,
 * fixed priority, specific and non-specific EOI, auto-EOI; and one line, the
 * channels', that needs no EOI. Pure logic; the caller has the lock. Intel 8259A data sheet (231468-003).
 */
#include <stddef.h>

#include "pic.h"
#include "vmbox/pvio.h"

#define CASCADE_LINE  2
#define ICW1	      0x10
#define ICW1_ICW4     0x01
#define ICW4_AEOI     0x02
#define OCW3	      0x08
#define OCW2_EOI      0x20
#define OCW2_SPECIFIC 0x40

void pic_init(struct pic *pic)
{
	*pic = (struct pic){ .chip = { { .imr = 0xff, .auto_eoi_lines = 1 << PVIO_IRQ },
				       { .imr = 0xff } } };
}

/* The line to serve next: 0 is the highest priority; 8: none. */
static unsigned int next_line(const struct pic_chip *c)
{
	unsigned int i;

	for (i = 0; i < 8; i++) {
		if (c->isr & (1 << i))
			return 8;
		if (c->irr & ~c->imr & (1 << i))
			return i;
	}
	return 8;
}

/* The secondary's output is line 2 of the primary. */
static unsigned int next_primary(const struct pic *pic)
{
	struct pic_chip primary = pic->chip[0];

	primary.irr &= ~(1 << CASCADE_LINE);
	if (next_line(&pic->chip[1]) < 8)
		primary.irr |= 1 << CASCADE_LINE;
	return next_line(&primary);
}

void pic_raise(struct pic *pic, unsigned int irq)
{
	pic->chip[irq >> 3].irr |= 1 << (irq & 7);
}

bool pic_pending(const struct pic *pic)
{
	return next_primary(pic) < 8;
}

static int acknowledge_chip(struct pic_chip *c, unsigned int line)
{
	c->irr &= ~(1 << line);
	if (!c->auto_eoi && !(c->auto_eoi_lines & (1 << line)))
		c->isr |= 1 << line;
	return c->vector_base + line;
}

int pic_acknowledge(struct pic *pic)
{
	unsigned int line = next_primary(pic);
	unsigned int second = next_line(&pic->chip[1]);

	if (line == 8)
		return -1;
	if (line != CASCADE_LINE)
		return acknowledge_chip(&pic->chip[0], line);
	acknowledge_chip(&pic->chip[0], line);
	return acknowledge_chip(&pic->chip[1], second);
}

static void write_command(struct pic_chip *c, uint8_t value)
{
	unsigned int i;

	if (value & ICW1) {
		*c = (struct pic_chip){ .auto_eoi_lines = c->auto_eoi_lines,
					.vector_base = c->vector_base,
					.init_step = 2,
					.needs_icw4 = value & ICW1_ICW4 };
	} else if (value & OCW3) {
		if (value & 2)
			c->read_isr = value & 1;
	} else if (value & OCW2_EOI) {
		if (value & OCW2_SPECIFIC) {
			c->isr &= ~(1 << (value & 7));
			return;
		}
		for (i = 0; i < 8 && !(c->isr & (1 << i)); i++)
			;
		c->isr &= ~(1 << i);
	}
}

static void write_data(struct pic_chip *c, uint8_t value)
{
	switch (c->init_step) {
	case 2:
		c->vector_base = value & 0xf8;
		c->init_step = 3;
		break;
	case 3: /* how the chips are cascaded is fixed */
		c->init_step = c->needs_icw4 ? 4 : 0;
		break;
	case 4:
		c->auto_eoi = value & ICW4_AEOI;
		c->init_step = 0;
		break;
	default:
		c->imr = value;
	}
}

static struct pic_chip *chip_at(struct pic *pic, uint16_t port)
{
	switch (port & ~1) {
	case 0x20:
		return &pic->chip[0];
	case 0xa0:
		return &pic->chip[1];
	}
	return NULL;
}

bool pic_write(struct pic *pic, uint16_t port, uint8_t value)
{
	struct pic_chip *c = chip_at(pic, port);

	if (!c)
		return false;
	if (port & 1)
		write_data(c, value);
	else
		write_command(c, value);
	return true;
}

bool pic_read(struct pic *pic, uint16_t port, uint8_t *value)
{
	const struct pic_chip *c = chip_at(pic, port);

	if (!c)
		return false;
	*value = port & 1 ? c->imr : c->read_isr ? c->isr : c->irr;
	return true;
}
