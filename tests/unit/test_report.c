// SPDX-License-Identifier: GPL-2.0-only
/* What a report is made of: counters in KVM's format, reasons and exit statuses, digests. */
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../runtime/record.h"
#include "check.h"

#define NAME_SIZE 48

struct file {
	struct kvm_stats_header header;
	char id[NAME_SIZE];
	struct {
		struct kvm_stats_desc head;
		char name[NAME_SIZE];
	} desc[3];
	uint64_t data[6];
};

static const struct file good = {
	.header = { .name_size = NAME_SIZE,
		    .num_desc = 3,
		    .id_offset = offsetof(struct file, id),
		    .desc_offset = offsetof(struct file, desc),
		    .data_offset = offsetof(struct file, data) },
	.desc = { { { .size = 1, .offset = 0 }, "exits_io" },
		  { { .size = 4, .offset = 8 }, "halt_wait_hist" },
		  { { .size = 1, .offset = 40 }, "exits_host" } },
	.data = { 5, 1, 1, 1, 1, 7 },
};

static bool read_counters(const void *file, size_t size, struct counters *c)
{
	int fd = memfd_create("counters", MFD_CLOEXEC);
	bool done;

	CHECK(write(fd, file, size) == (ssize_t)size);
	done = counters_read(fd, c) && counters_read(fd, c); /* from the beginning, each time */
	close(fd);
	return done;
}

static void test_counters(void)
{
	struct counters c = { 0 };
	uint64_t value;

	CHECK(read_counters(&good, sizeof(good), &c));
	CHECK_EQ(c.n, 2);
	CHECK(counters_get(&c, "exits_host", &value) && value == 7);
	CHECK(!counters_get(&c, "halt_wait_hist", &value));
	CHECK(counters_exits(&c, &value) && value == 12);
	/* Stock KVM has a sum, and reasons that overlap. */
	strcpy(c.counter[0].name, "exits");
	strcpy(c.counter[1].name, "io_exits");
	CHECK(counters_exits(&c, &value) && value == 5);
	c.n = 0;
	CHECK(!counters_exits(&c, &value));
}

static void test_bad_counters(void)
{
	struct counters c;
	struct file f;
	size_t size;

	for (size = 0; size < sizeof(good); size++)
		CHECK(!read_counters(&good, size, &c));
	f = good;
	f.header.num_desc = ~0U;
	CHECK(!read_counters(&f, sizeof(f), &c));
	f = good;
	f.header.name_size = ~0U;
	CHECK(!read_counters(&f, sizeof(f), &c));
	f = good;
	f.header.desc_offset = ~0U;
	CHECK(!read_counters(&f, sizeof(f), &c));
	f = good;
	f.header.data_offset = ~0U;
	CHECK(!read_counters(&f, sizeof(f), &c));
	f = good;
	f.desc[2].head.offset = 41;
	CHECK(!read_counters(&f, sizeof(f), &c));
	f = good;
	memset(f.desc[0].name, 'x', NAME_SIZE); /* without an end */
	CHECK(read_counters(&f, sizeof(f), &c));
	CHECK_EQ(strlen(c.counter[0].name), COUNTER_NAME - 1);
}

static void test_exit_reasons(void)
{
	char reason[COUNTER_NAME];

	CHECK(!strcmp(counters_exit_reason("exits_page_fault", reason), "page_fault"));
	CHECK(!strcmp(counters_exit_reason("halt_exits", reason), "halt"));
	CHECK(!counters_exit_reason("exits", reason));
	CHECK(!counters_exit_reason("_exits", reason));
	CHECK(!counters_exit_reason("pf_fixed", reason));
}

static void test_reasons(void)
{
	int i;

	for (i = 0; i < NR_RUN_REASONS; i++)
		CHECK_EQ(run_reason_find(run_reason_name(i)), i);
	CHECK_EQ(run_reason_find("end"), -1);
	CHECK_EQ(run_status(RUN_EXITED, 124), 124);
	CHECK_EQ(run_status(RUN_WALL, 0), 124);
	CHECK_EQ(run_status(RUN_SIGNALED, 9), 137);
	CHECK_EQ(run_status(RUN_KILLED, 0), -1);
	CHECK_EQ(run_status(RUN_FAILED, 0), 125);
}

static void test_digest(void)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	int fd = memfd_create("abc", MFD_CLOEXEC);
	char text[DIGEST_TEXT];

	digest_bytes("abc", 3, text);
	CHECK(!strcmp(text, abc));
	CHECK(write(fd, "abc", 3) == 3);
	CHECK(!digest_file(fd, text) && !strcmp(text, abc));
	close(fd);
	CHECK(digest_file(fd, text) && !*text);
}

int main(void)
{
	test_counters();
	test_bad_counters();
	test_exit_reasons();
	test_reasons();
	test_digest();
	return check_failed;
}
