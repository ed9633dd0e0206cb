// SPDX-License-Identifier: GPL-2.0-only
/* The 8259 pair and the 8254 as the guest programs them, and under random port writes. */
#include <stdlib.h>

#include "../../runtime/pic.h"
#include "../../runtime/pit.h"
#include "check.h"

static void program_pic(struct pic *pic)
{
	pic_init(pic);
	pic_write(pic, 0x20, 0x11);
	pic_write(pic, 0x21, 0x30);
	pic_write(pic, 0x21, 4);
	pic_write(pic, 0x21, 1);
	pic_write(pic, 0xa0, 0x11);
	pic_write(pic, 0xa1, 0x38);
	pic_write(pic, 0xa1, 2);
	pic_write(pic, 0xa1, 1);
}

static void test_pic_priorities_and_eoi(void)
{
	struct pic pic;
	uint8_t value;

	program_pic(&pic);
	pic_raise(&pic, 3);
	pic_raise(&pic, 0);
	CHECK_EQ(pic_acknowledge(&pic), 0x30);
	CHECK(!pic_pending(&pic)); /* line 0 is in service */
	pic_write(&pic, 0x20, 0x20);
	CHECK_EQ(pic_acknowledge(&pic), 0x33);
	pic_raise(&pic, 0); /* a higher priority comes through */
	CHECK_EQ(pic_acknowledge(&pic), 0x30);
	pic_write(&pic, 0x20, 0x60);
	pic_write(&pic, 0x20, 0x0b);
	CHECK(pic_read(&pic, 0x20, &value));
	CHECK_EQ(value, 1 << 3);
	pic_write(&pic, 0x20, 0x63);
	CHECK_EQ(pic_acknowledge(&pic), -1);
}

static void test_pic_masks(void)
{
	struct pic pic;
	uint8_t value;

	pic_init(&pic);
	pic_raise(&pic, 1);
	CHECK(!pic_pending(&pic)); /* all masked before anybody programs it */
	program_pic(&pic);
	pic_write(&pic, 0x21, 0xfe);
	CHECK(pic_read(&pic, 0x21, &value));
	CHECK_EQ(value, 0xfe);
	pic_raise(&pic, 4);
	CHECK(!pic_pending(&pic));
	pic_write(&pic, 0x21, 0);
	CHECK_EQ(pic_acknowledge(&pic), 0x34);
}

static void test_pic_cascade(void)
{
	struct pic pic;

	program_pic(&pic);
	pic_raise(&pic, 10);
	CHECK_EQ(pic_acknowledge(&pic), 0x3a);
	pic_raise(&pic, 12);
	CHECK(!pic_pending(&pic));
	pic_write(&pic, 0xa0, 0x20);
	CHECK(!pic_pending(&pic)); /* the primary still serves its line 2 */
	pic_write(&pic, 0x20, 0x20);
	CHECK_EQ(pic_acknowledge(&pic), 0x3c);
}

static void test_pic_channel_line_needs_no_eoi(void)
{
	struct pic pic;

	program_pic(&pic);
	pic_raise(&pic, 5);
	CHECK_EQ(pic_acknowledge(&pic), 0x35);
	pic_raise(&pic, 5);
	CHECK_EQ(pic_acknowledge(&pic), 0x35);
	pic_raise(&pic, 6);
	CHECK_EQ(pic_acknowledge(&pic), 0x36);
}

static void test_pit_modes(void)
{
	struct pit_timer timer;
	struct pit pit = { 0 };
	uint8_t lo, hi;

	CHECK(!pit_write(&pit, 0x44, 0, 0, &timer));
	CHECK(pit_write(&pit, 0x43, 0x34, 0, &timer)); /* channel 0, lo/hi, mode 2 */
	CHECK(timer.changed && !timer.first_ns);       /* stops */
	pit_write(&pit, 0x40, 11932 & 0xff, 0, &timer);
	CHECK(!timer.changed);
	pit_write(&pit, 0x40, 11932 >> 8, 0, &timer);
	CHECK(timer.changed && timer.first_ns == timer.period_ns);
	CHECK(timer.first_ns > 9999000 && timer.first_ns < 10001000);
	CHECK(pit_read(&pit, 0x40, 5000000, &lo) && pit_read(&pit, 0x40, 5000000, &hi));
	CHECK((hi << 8 | lo) > 5900 && (hi << 8 | lo) < 6000);

	pit_write(&pit, 0x40, 1, 0, &timer); /* not granted: below a microsecond */
	pit_write(&pit, 0x40, 0, 0, &timer);
	CHECK(timer.changed && timer.period_ns >= 100000);
	CHECK_EQ(timer.first_ns, timer.period_ns);

	pit_write(&pit, 0x43, 0x38, 0, &timer); /* mode 4: once */
	pit_write(&pit, 0x40, 0, 0, &timer);
	pit_write(&pit, 0x40, 0, 0, &timer);
	CHECK(timer.changed && !timer.period_ns);
	CHECK_EQ(timer.first_ns / 1000, 54925); /* a count of 65536 */
	CHECK(pit_read(&pit, 0x42, 0, &lo));
	CHECK_EQ(lo, 0);
}

static void test_random_writes(void)
{
	struct pit_timer timer;
	struct pit pit = { 0 };
	struct pic pic;
	uint64_t now = 0;
	uint8_t value;
	int i;

	pic_init(&pic);
	for (i = 0; i < 1000000; i++) {
		static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43 };
		uint16_t port = ports[random() % 8];
		int vector;

		now += random() % 100000;
		value = random();
		CHECK(pic_write(&pic, port, value) || pit_write(&pit, port, value, now, &timer));
		CHECK(pic_read(&pic, port, &value) || pit_read(&pit, port, now, &value));
		pic_raise(&pic, random() % 16);
		if (pic_pending(&pic)) {
			vector = pic_acknowledge(&pic);
			CHECK(vector >= 0 && vector <= 255);
		} else {
			CHECK_EQ(pic_acknowledge(&pic), -1);
		}
	}
}

int main(void)
{
	srandom(1);
	test_pic_priorities_and_eoi();
	test_pic_masks();
	test_pic_cascade();
	test_pic_channel_line_needs_no_eoi();
	test_pit_modes();
	test_random_writes();
	return check_failed;
}
