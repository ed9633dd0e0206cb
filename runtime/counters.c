// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's binary format (Documentation/virt/kvm/api.rst 4.133), written by the kernel: from its
 * header and descriptors to names with values. vmbox.ko has a counter for each reason of
 * an exit; stock KVM has one for all exits, and some by reason, which overlap.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "counters.h"

#define FILE_MAX (64 * 1024)

static bool is_inside(uint64_t offset, uint64_t size, uint64_t total)
{
	return offset <= total && size <= total - offset;
}

bool counters_read(int fd, struct counters *c)
{
	static uint8_t file[FILE_MAX];
	struct kvm_stats_header head;
	struct kvm_stats_desc desc;
	ssize_t size;
	size_t i;

	do
		size = pread(fd, file, sizeof(file), 0);
	while (size < 0 && errno == EINTR);
	if (size < (ssize_t)sizeof(head))
		return false;
	memcpy(&head, file, sizeof(head));
	c->n = 0;
	for (i = 0; i < head.num_desc && c->n < COUNTERS_MAX; i++) {
		uint64_t at = head.desc_offset + i * ((uint64_t)sizeof(desc) + head.name_size);
		uint64_t value_at;

		if (!is_inside(at, sizeof(desc) + head.name_size, size))
			return false;
		memcpy(&desc, file + at, sizeof(desc));
		value_at = (uint64_t)head.data_offset + desc.offset;
		if (!is_inside(value_at, sizeof(uint64_t), size))
			return false;
		if (desc.size != 1) /* a histogram */
			continue;
		snprintf(c->counter[c->n].name, COUNTER_NAME, "%.*s", (int)head.name_size,
			 (const char *)file + at + sizeof(desc));
		memcpy(&c->counter[c->n++].value, file + value_at, sizeof(uint64_t));
	}
	return true;
}

bool counters_get(const struct counters *c, const char *name, uint64_t *value)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (!strcmp(c->counter[i].name, name)) {
			*value = c->counter[i].value;
			return true;
		}
	return false;
}

const char *counters_exit_reason(const char *name, char reason[COUNTER_NAME])
{
	static const char before[] = "exits_", after[] = "_exits";
	size_t n = strlen(name), m = sizeof(after) - 1;

	if (!strncmp(name, before, sizeof(before) - 1))
		return strcpy(reason, name + sizeof(before) - 1);
	if (n <= m || strcmp(name + n - m, after))
		return NULL;
	snprintf(reason, COUNTER_NAME, "%.*s", (int)(n - m), name);
	return reason;
}

bool counters_exits(const struct counters *c, uint64_t *exits)
{
	char reason[COUNTER_NAME];
	bool found = false;
	size_t i;

	if (counters_get(c, "exits", exits))
		return true;
	*exits = 0;
	for (i = 0; i < c->n; i++)
		if (counters_exit_reason(c->counter[i].name, reason)) {
			*exits += c->counter[i].value;
			found = true;
		}
	return found;
}
