// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process that writes the report. It is made before all others and before anything is
 * confined, waits for one byte, the exit status, and reads the record then (record.h): the end of
 * the pipe without that byte is the launcher's death, and is reported as such. By then all that the
 * guest could reach has ended or is ending, and what is written is a new file: nothing goes through
 * one that the guest may have made. The VMM's and the file server's pieces may be lies:
 * numbers are bounded, and names made into valid text.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "output.h"
#include "record.h"
#include "report.h"
#include "run_report.h"

#define REPORT_FD 3 /* of "-", if it is open */

static struct output to;
static int fd = -1; /* in place of a file */
static pid_t reporter;

static const char *const channel_names[PVIO_NR_CHANNELS] = {
	[PVIO_CH_CONTROL] = "control", [PVIO_CH_STDIN] = "stdin", [PVIO_CH_STDOUT] = "stdout",
	[PVIO_CH_STDERR] = "stderr",   [PVIO_CH_9P] = "files",	  [PVIO_CH_CONSOLE] = "console",
	[PVIO_CH_9P_RW] = "files_rw",
};

/* ---- values ---- */

static json_t *number_if(bool known, uint64_t n)
{
	return known ? json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n) : json_null();
}

static json_t *number(uint64_t n)
{
	return number_if(true, n);
}

/* @text, with a '?' for what JSON or a terminal would not take as it is; null if it is empty. */
static json_t *text(const char *text)
{
	char *copy = strdup(text), *p;
	json_t *value;

	if (!*text || !copy) {
		free(copy);
		return json_null();
	}
	for (p = copy; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	value = json_string(copy);
	for (p = copy; !value && *p; p++)
		if ((unsigned char)*p > 0x7f)
			*p = '?';
	if (!value)
		value = json_string(copy);
	free(copy);
	return value;
}

static uint64_t microseconds(const struct timeval *t)
{
	return t->tv_sec * 1000000ULL + t->tv_usec;
}

/* ---- parts ---- */

static json_t *limits_met(enum run_reason reason)
{
	const uint32_t flags = record->has_status ? record->status.flags : 0;
	const struct {
		const char *name;
		bool met;
	} limits[] = {
		{ "wall", reason == RUN_WALL },
		{ "cpu", reason == RUN_CPU },
		{ "memory", reason == RUN_MEMORY || (flags & PVIO_STATUS_OOM) },
		{ "pids", flags & PVIO_STATUS_PIDS },
		{ "file_size", reason == RUN_FILE_SIZE || record_fs->file_size },
		{ "stdout", reason == RUN_STDOUT },
		{ "exits", reason == RUN_EXITS },
		{ "quota", record_fs->quota },
	};
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (limits[i].met)
			json_array_append_new(list, json_string(limits[i].name));
	return list;
}

static json_t *times(uint64_t wall_ns)
{
	const struct record_process *p = record->process;
	uint64_t user = 0, system = 0, entered = record_vmm->entered_ns,
		 ready = record_vmm->ready_ns;
	bool known = record->vmm_start_ns;
	int i;

	for (i = 0; i < RECORD_PROCESSES; i++) {
		known &= p[i].known;
		user += microseconds(&p[i].usage.ru_utime);
		system += microseconds(&p[i].usage.ru_stime);
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "wall_us", number(wall_ns / 1000), "setup_us",
			 number_if(entered,
				   (record->vmm_start_ns - record->start_ns + entered) / 1000),
			 "boot_us", number_if(ready && ready >= entered, (ready - entered) / 1000),
			 "user_us", number_if(known, user), "system_us", number_if(known, system));
}

static json_t *memory(void)
{
	const struct record_process *vmm = &record->process[RECORD_VMM],
				    *fs = &record->process[RECORD_FS];

	return json_pack("{s:o, s:o, s:o}", "guest_bytes",
			 number_if(record->memory, record->memory), "vmm_peak_bytes",
			 number_if(vmm->known, vmm->usage.ru_maxrss * 1024ULL),
			 "file_server_peak_bytes",
			 number_if(fs->known, fs->usage.ru_maxrss * 1024ULL));
}

/* What guest-init says, and nobody can check. */
static json_t *guest(void)
{
	const struct pvio_status *s = &record->status;

	if (!record->has_status)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "user_us", number(s->user_us), "system_us",
			 number(s->system_us), "peak_bytes",
			 number_if(s->max_rss_kib < UINT64_MAX / 1024, s->max_rss_kib * 1024));
}

static json_t *exits(void)
{
	const struct counters *c = &record->counters;
	json_t *by_reason = json_object();
	char reason[COUNTER_NAME];
	uint64_t total = 0;
	bool known = counters_exits(c, &total);
	size_t i;

	for (i = 0; i < c->n; i++)
		if (counters_exit_reason(c->counter[i].name, reason))
			json_object_set_new(by_reason, reason, number(c->counter[i].value));
	return json_pack("{s:o, s:o}", "total", number_if(known, total), "by_reason", by_reason);
}

/* By vmbox.ko's name, or stock KVM's. */
static json_t *counter(const char *ours, const char *kvms)
{
	uint64_t value = 0;
	bool known = counters_get(&record->counters, ours, &value) ||
		     counters_get(&record->counters, kvms, &value);

	return number_if(known, value);
}

static json_t *channels(void)
{
	json_t *all = json_object();
	unsigned int i;

	for (i = 0; i < PVIO_NR_CHANNELS; i++)
		json_object_set_new(all, channel_names[i],
				    json_pack("{s:o, s:o}", "to_guest",
					      number(record_vmm->bytes[i][PVIO_TO_GUEST]),
					      "to_host",
					      number(record_vmm->bytes[i][PVIO_TO_HOST])));
	return all;
}

/* The piece is copied first: who writes it may not have ended. */
static json_t *denied(void)
{
	static const char *const keys[] = { "op", "path", "rule", "why" };
	struct record_fs *fs = malloc(sizeof(*fs));
	json_t *files = json_array();
	size_t at = 0, i;
	uint64_t more;

	if (!fs)
		return NULL;
	memcpy(fs, record_fs, sizeof(*fs));
	if (fs->used > sizeof(fs->text) || (fs->used && fs->text[fs->used - 1]))
		fs->used = 0;
	while (at < fs->used && json_array_size(files) < FS_DENIALS_MAX) {
		json_t *file = json_object();

		for (i = 0; i < 4 && at < fs->used; i++) {
			json_object_set_new(file, keys[i], text(fs->text + at));
			at += strlen(fs->text + at) + 1;
		}
		if (i == 4)
			json_array_append_new(files, file);
		else
			json_decref(file);
	}
	more = fs->more;
	free(fs);
	return json_pack("{s:o, s:o}", "files", files, "more", number(more));
}

static json_t *file(const struct record_file *f)
{
	return json_pack("{s:o, s:o}", "path", text(f->path), "sha256", text(f->digest));
}

/* ---- the whole ---- */

bool run_report_digest(const json_t *report, char digest[DIGEST_TEXT])
{
	json_t *copy = json_copy((json_t *)report);
	char *canonical;

	json_object_del(copy, "digest");
	canonical = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(copy);
	if (!canonical)
		return false;
	digest_bytes(canonical, strlen(canonical), digest);
	free(canonical);
	return true;
}

static json_t *make(enum run_reason reason, int status, uint64_t wall_ns)
{
	const struct pvio_status *s = &record->status;
	uint32_t ended = record->has_status ? s->kind : 0;
	char began[32], digest[DIGEST_TEXT];
	json_error_t error;
	json_t *report;

	strftime(began, sizeof(began), "%Y-%m-%dT%H:%M:%SZ", gmtime(&record->began));
	report = json_pack_ex(&error, 0,
			      "{s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			      "s:{s:o, s:o}, s:o, "
			      "s:o, s:{s:o, s:o, s:o}, s:{s:o}, s:o, s:o, s:o}",
			      "schema", REPORT_SCHEMA, "vmbox", VMBOX_VERSION, "began", began,
			      "reason", run_reason_name(reason), "status",
			      number_if(status >= 0, status), "code",
			      number_if(ended == PVIO_EXITED, s->value), "signal",
			      number_if(ended == PVIO_SIGNALED, s->value), "interrupted_by",
			      number_if(reason == RUN_INTERRUPTED, record->value), "message",
			      text(record->message), "limits", limits_met(reason), "times",
			      times(wall_ns), "memory", memory(), "exits", exits(), "shadow_faults",
			      "fixed", counter("faults_fixed", "pf_fixed"), "injected",
			      counter("faults_injected", "pf_guest"), "bytes", channels(), "denied",
			      denied(), "driver", "name", text(record->driver), "version",
			      text(record->driver_version), "srcversion",
			      text(record->driver_source), "policy", "sha256", text(record->policy),
			      "kernel", file(&record->kernel), "initrd", file(&record->initrd),
			      "program", file(&record->program));
	if (!report) {
		say("the report cannot be made: %s", error.text);
		return NULL;
	}
	json_object_set_new(report, "guest_says", guest());
	if (run_report_digest(report, digest)) {
		json_object_set_new(report, "digest", json_string(digest));
		return report;
	}
	say("the report cannot be made: no memory");
	json_decref(report);
	return NULL;
}

static bool write_report(const json_t *report, const char *name)
{
	char *json = json_dumps(report, JSON_INDENT(2) | JSON_ENSURE_ASCII), *line;
	const char *problem;
	int n = json ? asprintf(&line, "%s\n", json) : -1;

	if (n < 0)
		problem = "no memory";
	else if (fd >= 0)
		problem = output_write_all(fd, line, n) ? strerror(errno) : NULL;
	else
		problem = output_write(&to, line, n);
	if (problem)
		say("--report %s: cannot be written: %s", name, problem);
	return !problem;
}

static json_int_t get(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* For people; what is not known is 0. */
static void print_stats(const json_t *r)
{
	const json_t *t = json_object_get(r, "times"), *m = json_object_get(r, "memory"),
		     *exits = json_object_get(r, "exits"),
		     *faults = json_object_get(r, "shadow_faults"),
		     *bytes = json_object_get(r, "bytes"), *denied = json_object_get(r, "denied");
	const json_t *in = json_object_get(bytes, "files"),
		     *rw = json_object_get(bytes, "files_rw");

	say("stats: ended by %s; %.3f s: setup %.3f, boot %.3f; processor: user %.3f, system %.3f",
	    json_string_value(json_object_get(r, "reason")), get(t, "wall_us") / 1e6,
	    get(t, "setup_us") / 1e6, get(t, "boot_us") / 1e6, get(t, "user_us") / 1e6,
	    get(t, "system_us") / 1e6);
	say("stats: memory at most %.1f MiB for the VM of %.0f MiB, %.1f MiB for the file server",
	    get(m, "vmm_peak_bytes") / 1048576.0, get(m, "guest_bytes") / 1048576.0,
	    get(m, "file_server_peak_bytes") / 1048576.0);
	say("stats: %lld exits, %lld shadow faults", get(exits, "total"),
	    get(faults, "fixed") + get(faults, "injected"));
	say("stats: bytes: stdin %lld, stdout %lld, stderr %lld, of files to the guest %lld, back "
	    "%lld; %lld refused",
	    get(json_object_get(bytes, "stdin"), "to_guest"),
	    get(json_object_get(bytes, "stdout"), "to_host"),
	    get(json_object_get(bytes, "stderr"), "to_host"),
	    get(in, "to_guest") + get(rw, "to_guest"), get(in, "to_host") + get(rw, "to_host"),
	    (json_int_t)json_array_size(json_object_get(denied, "files")) + get(denied, "more"));
}

_Noreturn static void run_reporter(const struct run_options *o, int from)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	unsigned char status;
	bool ended, done;
	json_t *report;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN); /* they are the launcher's */
	setsid();			     /* nor does who kills all of its group mean us */
	close(0);
	close(1);
	ended = TEMP_FAILURE_RETRY(read(from, &status, 1)) == 1;
	report = make(ended ? record->reason : RUN_KILLED, ended ? status : -1,
		      now_ns() - record->start_ns);
	done = report && (!o->report || write_report(report, o->report));
	if (report && o->stats)
		print_stats(report);
	_exit(done ? 0 : 1);
}

/* ---- the launcher's side ---- */

static const char *open_report(const char *name)
{
	int flags = fcntl(REPORT_FD, F_GETFL);

	if (!name)
		return NULL;
	if (strcmp(name, "-"))
		return output_open(&to, name);
	fd = flags == -1 ? 2 : REPORT_FD;
	return fd == REPORT_FD && (flags & O_ACCMODE) == O_RDONLY
		       ? "descriptor 3 is not for writing"
		       : NULL;
}

int run_report_begin(struct run_options *o)
{
	const char *problem = open_report(o->report);
	int ends[2];

	if (problem) {
		say("--report %s: %s", o->report, problem);
		return EXIT_VMBOX_FAILED;
	}
	launcher_fill_descriptors();
	if (record_make()) {
		say("no memory: %s", strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	record->start_ns = now_ns();
	record->began = time(NULL);
	record->wanted = o->report;
	if (!o->report && !o->stats)
		return 0;
	if (pipe2(ends, O_CLOEXEC) || (reporter = fork()) < 0) {
		say("no process for the report: %s", strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	if (!reporter) {
		close(ends[1]);
		run_reporter(o, ends[0]);
	}
	close(ends[0]);
	o->reporter = ends[1];
	return 0;
}

int run_report_end(const struct run_options *o, int status)
{
	unsigned char byte = status;
	int ended;

	if (o->reporter < 0)
		return status;
	if (status != run_status(record->reason, record->value))
		record_end(RUN_FAILED, 0);
	if (write(o->reporter, &byte, 1) != 1 || waitpid(reporter, &ended, 0) < 0 || ended)
		return EXIT_VMBOX_FAILED;
	return status;
}
