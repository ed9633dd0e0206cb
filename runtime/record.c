// SPDX-License-Identifier: GPL-2.0-only
/* Owns the three pieces. A command that is no run has the launcher's alone, and nobody reads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../policy/policy.h"
#include "record.h"
#include "text_file.h"

static struct record none;
struct record *record = &none;
struct record_vmm *record_vmm;
struct record_fs *record_fs;

static const struct {
	const char *name;
	int status;
} reasons[] = {
#define RUN_REASON(id, name, status) [RUN_##id] = { name, status },
	RUN_REASONS(RUN_REASON)
#undef RUN_REASON
};

const char *run_reason_name(enum run_reason reason)
{
	return reasons[reason].name;
}

int run_reason_find(const char *name)
{
	int i;

	for (i = 0; i < NR_RUN_REASONS; i++)
		if (!strcmp(reasons[i].name, name))
			return i;
	return -1;
}

int run_status(enum run_reason reason, int value)
{
	switch (reasons[reason].status) {
	case RUN_CODE:
		return value;
	case RUN_SIGNAL:
		return 128 + value;
	case RUN_NONE:
		return -1;
	}
	return reasons[reason].status;
}

/* ---- the pieces ---- */

static void *shared(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

int record_make(void)
{
	void *launcher = shared(sizeof(*record)), *vmm = shared(sizeof(*record_vmm)),
	     *fs = shared(sizeof(*record_fs));

	if (launcher == MAP_FAILED || vmm == MAP_FAILED || fs == MAP_FAILED)
		return -1;
	record = launcher;
	record_vmm = vmm;
	record_fs = fs;
	return 0;
}

void record_hide(void)
{
	madvise(record, sizeof(*record), MADV_DONTFORK);
}

void record_keep(const void *mine)
{
	if (mine != record_vmm)
		munmap(record_vmm, sizeof(*record_vmm));
	if (mine != record_fs)
		munmap(record_fs, sizeof(*record_fs));
	record = &none;
}

int record_end(enum run_reason reason, int value)
{
	record->reason = reason;
	record->value = value;
	return run_status(reason, value);
}

void record_usage(pid_t pid, const struct rusage *usage)
{
	int i;

	for (i = 0; i < RECORD_PROCESSES; i++)
		if (record->process[i].pid == pid) {
			record->process[i].usage = *usage;
			record->process[i].known = true;
		}
}

/* ---- what the run is made of ---- */

void record_policy(const struct policy *policy)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = record->wanted ? open_memstream(&text, &n) : NULL;

	if (!out)
		return;
	if (!policy_print(policy, out) && !fclose(out))
		digest_bytes(text, n, record->policy);
	free(text);
}

void record_program(const char *path, int fd)
{
	if (!record->wanted)
		return;
	snprintf(record->program.path, PATH_MAX, "%s", path);
	digest_file(fd, record->program.digest);
}

void record_guest(struct record_file *file, const char *path, const void *bytes, size_t n)
{
	if (!record->wanted)
		return;
	if (!realpath(path, file->path))
		snprintf(file->path, PATH_MAX, "%s", path);
	digest_bytes(bytes, n, file->digest);
}

void record_module(const char *name, const char *key, char text[64])
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/module/%.64s/%s", name, key);
	text_read(path, text, 64);
}

/* "vmbox" of a symbolic link such as /sys/dev/char/10:121 -> ../../devices/virtual/misc/vmbox */
void record_driver(int device)
{
	char path[64], target[PATH_MAX];
	const char *name;
	struct stat st;

	if (!record->wanted || fstat(device, &st))
		return;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (!realpath(path, target))
		return;
	name = strrchr(target, '/') + 1;
	snprintf(record->driver, sizeof(record->driver), "%s", name);
	record_module(record->driver, "version", record->driver_version);
	record_module(record->driver, "srcversion", record->driver_source);
}
