// SPDX-License-Identifier: GPL-2.0-only
/* The control channel's messages, the kernel loader, sizes and times, program heads. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/boot.h"
#include "../../runtime/program.h"
#include "../../runtime/request.h"
#include "../../policy/units.h"
#include "check.h"

static size_t put_status(uint8_t *to, uint32_t kind, uint32_t value, const char *text)
{
	struct pvio_msg head = { PVIO_MSG_STATUS, sizeof(struct pvio_status) + strlen(text) };
	struct pvio_status status = { .kind = kind, .value = value };

	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), &status, sizeof(status));
	memcpy(to + sizeof(head) + sizeof(status), text, strlen(text));
	return sizeof(head) + head.len;
}

static const struct pvio_msg ready = { PVIO_MSG_READY, 0 };

static bool feed_after_ready(struct control_parser *p, const uint8_t *bytes, size_t n)
{
	memset(p, 0, sizeof(*p));
	return control_feed(p, (const uint8_t *)&ready, sizeof(ready)) && control_feed(p, bytes, n);
}

static void test_control_messages(void)
{
	uint8_t bytes[1024];
	struct control_parser p = { 0 };
	size_t n = put_status(bytes, PVIO_SETUP_FAILED, 2, "mount\033[2J"), i;

	CHECK(control_feed(&p, (const uint8_t *)&ready, sizeof(ready)));
	CHECK(p.ready && !p.finished);
	for (i = 0; i < n; i++)
		CHECK(control_feed(&p, bytes + i, 1));
	CHECK(p.finished);
	CHECK_EQ(p.status.value, 2);
	CHECK(!strcmp(p.text, "mount?[2J"));
	CHECK(!control_feed(&p, bytes, 1)); /* nothing comes after STATUS */
}

/* COMMIT comes once, if it comes, between READY and STATUS, and says nothing but that. */
static void test_commit_messages(void)
{
	const struct pvio_msg commit = { PVIO_MSG_COMMIT, 0 }, long_commit = { PVIO_MSG_COMMIT, 1 };
	struct control_parser p = { 0 };
	uint8_t bytes[1024];
	size_t n = put_status(bytes, PVIO_CHANGES_FAILED, 13, "commit: /w");

	CHECK(!control_feed(&p, (const uint8_t *)&commit, sizeof(commit)));
	CHECK(!feed_after_ready(&p, (const uint8_t *)&long_commit, sizeof(long_commit)));
	CHECK(feed_after_ready(&p, (const uint8_t *)&commit, sizeof(commit)));
	CHECK(p.asked && !p.finished);
	CHECK(control_feed(&p, bytes, n));
	CHECK(p.finished && p.status.kind == PVIO_CHANGES_FAILED);
	CHECK(feed_after_ready(&p, (const uint8_t *)&commit, sizeof(commit)));
	CHECK(!control_feed(&p, (const uint8_t *)&commit, sizeof(commit)));
	CHECK(feed_after_ready(&p, bytes, n) && !p.asked);
	CHECK(!control_feed(&p, (const uint8_t *)&commit, sizeof(commit)));
}

/* STOPPED comes as often as it likes, between READY and STATUS. */
static void test_stopped_messages(void)
{
	const struct pvio_msg stopped = { PVIO_MSG_STOPPED, 0 }, long_one = { PVIO_MSG_STOPPED, 4 };
	struct control_parser p = { 0 };
	uint8_t bytes[1024];
	size_t n = put_status(bytes, PVIO_EXITED, 0, "");
	int i;

	CHECK(!control_feed(&p, (const uint8_t *)&stopped, sizeof(stopped)));
	CHECK(!feed_after_ready(&p, (const uint8_t *)&long_one, sizeof(long_one)));
	CHECK(feed_after_ready(&p, (const uint8_t *)&stopped, sizeof(stopped)));
	for (i = 0; i < 3; i++) {
		CHECK(p.stopped && !p.finished);
		p.stopped = false;
		CHECK(control_feed(&p, (const uint8_t *)&stopped, sizeof(stopped)));
	}
	CHECK(control_feed(&p, bytes, n));
	CHECK(!control_feed(&p, (const uint8_t *)&stopped, sizeof(stopped)));
}

static void test_bad_control_messages(void)
{
	struct pvio_msg heads[] = { { PVIO_MSG_STATUS, 0 },
				    { PVIO_MSG_STATUS, sizeof(struct pvio_status) - 1 },
				    { PVIO_MSG_STATUS,
				      sizeof(struct pvio_status) + PVIO_STATUS_TEXT_MAX + 1 },
				    { PVIO_MSG_STATUS, ~0U },
				    { PVIO_MSG_READY, 0 }, /* a second time */
				    { PVIO_MSG_READY, 1 },
				    { PVIO_MSG_RUN, 8 },
				    { 0, 0 },
				    { 77, 4 } };
	uint8_t bytes[1024];
	struct control_parser p;
	size_t i, n;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		CHECK(!feed_after_ready(&p, (uint8_t *)&heads[i], sizeof(heads[i])));
	n = put_status(bytes, 9, 0, "");
	CHECK(!feed_after_ready(&p, bytes, n));
	n = put_status(bytes, PVIO_EXITED, 256, "");
	CHECK(!feed_after_ready(&p, bytes, n));
	n = put_status(bytes, PVIO_SIGNALED, 0, "");
	CHECK(!feed_after_ready(&p, bytes, n));
	n = put_status(bytes, PVIO_EXITED, 0, "");
	memset(&p, 0, sizeof(p));
	CHECK(!control_feed(&p, bytes, n)); /* STATUS before READY */
}

/* Cut anywhere it is not there yet; with a byte too many, or any wrong byte, it is refused or whole. */
static void test_cut_control_messages(void)
{
	uint8_t bytes[1024], wrong[1024];
	size_t n = put_status(bytes, PVIO_EXITED, 7, "text"), i;
	struct control_parser p;

	for (i = 0; i < n; i++) {
		CHECK(feed_after_ready(&p, bytes, i));
		CHECK(!p.finished);
	}
	bytes[n] = 0;
	CHECK(!feed_after_ready(&p, bytes, n + 1));
	for (i = 0; i < n * 256; i++) {
		bool good;

		memcpy(wrong, bytes, n);
		wrong[i / 256] = i;
		good = feed_after_ready(&p, wrong, n);
		CHECK(p.fill <= sizeof(p.buffer));
		if (good && p.finished)
			CHECK(p.status.value <= 4095 && strlen(p.text) <= PVIO_STATUS_TEXT_MAX);
		if (i / 256 < sizeof(struct pvio_msg) - 4 && wrong[i / 256] != bytes[i / 256])
			CHECK(!good); /* another type */
	}
}

static void test_random_control_bytes(void)
{
	int i, j;

	for (i = 0; i < 200000; i++) {
		size_t n = 1 + random() % 400;
		uint8_t *bytes = malloc(n);
		struct control_parser p = { 0 };

		for (j = 0; j < (int)n; j++)
			bytes[j] = random() % 3 ? random() % 4 : random();
		if (random() % 2 && n >= 8)
			memcpy(bytes, &ready, sizeof(ready));
		control_feed(&p, bytes, n);
		CHECK(p.fill <= sizeof(p.buffer));
		free(bytes);
	}
}

static struct boot_config config(uint8_t *file, size_t size, uint8_t *ram, uint64_t memory)
{
	static const uint8_t initrd[5000] = { 7, 8, 9 };

	return (struct boot_config){ .kernel = { file, size },
				     .initrd = { initrd, sizeof(initrd) },
				     .cmdline = "quiet",
				     .memory = memory,
				     .ram = ram };
}

static size_t make_elf(uint8_t *file)
{
	Elf64_Ehdr eh = { .e_machine = EM_X86_64,
			  .e_entry = 0x1000010,
			  .e_phoff = sizeof(eh),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 1 };
	Elf64_Phdr ph = { .p_type = PT_LOAD,
			  .p_offset = 256,
			  .p_paddr = 0x1000000,
			  .p_filesz = 100,
			  .p_memsz = 8192 };

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	memset(file, 0x5a, 512);
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + sizeof(eh), &ph, sizeof(ph));
	return 512;
}

static void test_boot_loader(void)
{
	const uint64_t memory = 64 << 20;
	uint8_t *ram = calloc(1, memory), file[512];
	struct boot_config c = config(file, make_elf(file), ram, memory);
	struct boot_entry entry;
	uint8_t sum = 0;
	int i;

	CHECK(!boot_load(&c, &entry));
	CHECK_EQ(entry.rip, 0x1000010);
	CHECK_EQ(ram[0x1000000], 0x5a);
	CHECK_EQ(ram[0x1000000 + 100], 0);
	CHECK(!memcmp(ram + 0x10, "_MP_", 4));
	for (i = 0; i < 16; i++)
		sum += ram[0x10 + i];
	CHECK_EQ(sum, 0);

	c.kernel.size = 300;
	CHECK(boot_load(&c, &entry));
	c.kernel.size = 80;
	CHECK(boot_load(&c, &entry));
	c.kernel.size = 0;
	CHECK(boot_load(&c, &entry));
	free(ram);
}

/* Any header at all: no write outside of RAM, no read outside of the file. */
static void test_hostile_kernels(void)
{
	const uint64_t memory = 32 << 20;
	uint8_t *ram = malloc(memory);
	int i, j;

	for (i = 0; i < 20000; i++) {
		uint8_t *file = malloc(512);
		struct boot_config c = config(file, make_elf(file), ram, memory);
		struct boot_entry entry;

		for (j = 0; j < 3; j++) {
			size_t at = 16 + random() % 110;

			file[at] = random() % 2 ? random() : 0xff;
		}
		c.kernel.size = random() % 3 ? 512 : random() % 512;
		boot_load(&c, &entry);
		free(file);
	}
	free(ram);
}

static void test_units(void)
{
	uint64_t v;

	CHECK(parse_size("512M", &v) && v == 512ULL << 20);
	CHECK(parse_size("2GiB", &v) && v == 2ULL << 30);
	CHECK(parse_size("4096", &v) && v == 4096);
	CHECK(!parse_size("", &v) && !parse_size("M", &v) && !parse_size("-1", &v));
	CHECK(!parse_size("1T", &v) && !parse_size("1 M", &v) && !parse_size("0x10", &v));
	CHECK(!parse_size("99999999999999999999", &v) && !parse_size("17179869184G", &v));
	CHECK(parse_duration("500ms", &v) && v == 500000000);
	CHECK(parse_duration("10", &v) && v == 10000000000ULL);
	CHECK(parse_duration("2m", &v) && v == 120000000000ULL);
	CHECK(!parse_duration("1d", &v) && !parse_duration("1.5s", &v));
}

static void test_program_heads(void)
{
	unsigned char elf[64] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, [18] = EM_X86_64 };

	CHECK(!program_check_head(elf, sizeof(elf)));
	elf[18] = EM_386;
	CHECK(!program_check_head(elf, sizeof(elf)));
	elf[18] = EM_AARCH64;
	CHECK(strstr(program_check_head(elf, sizeof(elf)), "arm64"));
	CHECK(program_check_head(elf, 19));
	elf[5] = 2;
	CHECK(strstr(program_check_head(elf, sizeof(elf)), "big-endian"));
	CHECK(!program_check_head((const unsigned char *)"#!/bin/sh\n", 10));
	CHECK(strstr(program_check_head((const unsigned char *)"hello", 5), "neither"));
	CHECK(program_check_head(elf, 0));
}

int main(void)
{
	srandom(1);
	test_control_messages();
	test_commit_messages();
	test_stopped_messages();
	test_bad_control_messages();
	test_cut_control_messages();
	test_random_control_bytes();
	test_boot_loader();
	test_hostile_kernels();
	test_units();
	test_program_heads();
	return check_failed;
}
