// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the audit's descriptor. The names are the guest's own invention: in a
 * record they are JSON strings of printable ASCII, whatever bytes they have, and
 * a record is one line of one write(). A change is recorded before it is done, and
 * what then fails has a second record: so nothing is done that has none, even if
 * the process is killed in between. What cannot be recorded is not done: beyond
 * the bound changes are refused, and an audit that cannot be written ends the
 * session. Refusals have a bound of their own; the last record says how many more
 * there were.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs_log.h"
#include "fs_node.h"
#include "fs_record.h"

/* ---- text ---- */

struct text {
	char *at, *end;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->end - t->at, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->at += n < t->end - t->at ? n : t->end - t->at - 1;
}

/* The code point that s begins with, and its length; 0: it is not UTF-8. */
static size_t utf8(const unsigned char *s, unsigned int *code)
{
	static const unsigned int least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80   ? 1
		   : *s < 0xc0 ? 0
		   : *s < 0xe0 ? 2
		   : *s < 0xf0 ? 3
		   : *s < 0xf8 ? 4
			       : 0;

	*code = n < 2 ? *s : *s & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if (n > 1 && (*code < least[n] || *code > 0x10ffff || (*code >> 11) == 0x1b))
		return 0;
	return n;
}

/* A JSON string in ASCII. A byte that is not UTF-8 is a lone surrogate, as Python has it. */
static void put_string(struct text *t, const char *string)
{
	const unsigned char *s = (const unsigned char *)string;

	put(t, "\"");
	while (*s) {
		unsigned int code;
		size_t n = utf8(s, &code);

		if (!n)
			put(t, "\\u%04x", 0xdc00 + *s);
		else if (code >= 0x10000)
			put(t, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
		else if (code < ' ' || code > '~')
			put(t, "\\u%04x", code);
		else
			put(t, code == '"' || code == '\\' ? "\\%c" : "%c", code);
		s += n ? n : 1;
	}
	put(t, "\"");
}

/*
 * Where @name in @node is, below @top, which is the export's place. One that is
 * too long loses its beginning.
 */
static const char *path_of(const struct fs_node *node, const char *name, const char *top,
			   char path[PATH_MAX])
{
	char *at = path + PATH_MAX - 1;

	*at = '\0';
	while (name) {
		size_t n = strlen(name);

		if (n + 5 > (size_t)(at - path))
			return memcpy(at - 3, "...", 3);
		at -= n;
		memcpy(at, name, n);
		*--at = '/';
		name = node->is_export ? NULL : node->name;
		node = node->is_export ? node : node->parent;
	}
	if (!strcmp(top, "/"))
		top = *at ? "" : top;
	if (strlen(top) > (size_t)(at - path))
		return at;
	at -= strlen(top);
	return memcpy(at, top, strlen(top));
}

const char *fs_log_path(const struct fs_act *act, bool of_host, char path[PATH_MAX])
{
	const struct fs_export *e = act->dir->share->export;
	const char *top = of_host ? e->host : e->at;

	if (!act->name && !act->dir->is_export)
		return path_of(act->dir->parent, act->dir->name, top, path);
	return path_of(act->dir, act->name, top, path);
}

/* ---- records ---- */

static void write_line(struct fs_log *log, struct text *t)
{
	size_t n;

	put(t, "\n");
	n = t->at - log->line;
	log->line[n - 1] = '\n';
	log->written += n;
	if (log->failed || write(log->audit, log->line, n) == (ssize_t)n)
		return;
	log->failed = true;
	fprintf(stderr, "vmbox: --audit: cannot be written: %s: the run ends here\n",
		strerror(errno));
}

static struct text begin(struct fs_log *log, const char *event)
{
	struct text t = { log->line, log->line + sizeof(log->line) };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	put(&t, "{\"time\": %lld.%03ld, \"event\": \"%s\"", (long long)now.tv_sec,
	    now.tv_nsec / 1000000, event);
	return t;
}

static void put_path(struct text *t, const char *key, const struct fs_act *act, bool of_host)
{
	char path[PATH_MAX];

	put(t, ", \"%s\": ", key);
	put_string(t, fs_log_path(act, of_host, path));
}

void fs_log_init(struct fs_log *log, int audit, int learn)
{
	memset(log, 0, sizeof(*log));
	log->audit = audit;
	log->uses.fd = learn;
}

int fs_log_intent(struct fs_log *log, const struct fs_act *act, const struct fs_act *to)
{
	struct text t;

	if (log->audit < 0)
		return 0;
	if (log->written >= FS_AUDIT_MAX) {
		if (!log->more_changes++)
			fprintf(stderr,
				"vmbox: --audit: it is full (%lu MiB): from here on the guest can "
				"change nothing\n",
				FS_AUDIT_MAX >> 20);
		return -ENOSPC;
	}
	t = begin(log, act->op);
	put_path(&t, "path", act, false);
	put_path(&t, "host", act, true);
	if (to)
		put_path(&t, "to", to, false);
	put(&t, ", \"rule\": ");
	put_string(&t, act->dir->share->export->rule);
	put(&t, "}");
	write_line(log, &t);
	return log->failed ? -EIO : 0;
}

int fs_log_failed(struct fs_log *log, const struct fs_act *act)
{
	int err = errno;
	struct text t;

	if (log->audit < 0)
		return -err;
	t = begin(log, "failed");
	put(&t, ", \"op\": \"%s\"", act->op);
	put_path(&t, "path", act, false);
	put(&t, ", \"why\": ");
	put_string(&t, strerror(err));
	put(&t, "}");
	write_line(log, &t);
	return -err;
}

static void count_more(struct fs_log *log)
{
	log->more_denials++;
	if (log->record)
		log->record->more++;
}

/* For the report: as it is, all but what there is no room for. */
static void record_refusal(struct fs_log *log, const char *const text[4])
{
	struct record_fs *to = log->record;
	size_t n[4], sum = 0, i;

	if (!to)
		return;
	for (i = 0; i < 4; i++)
		sum += n[i] = strlen(text[i]) + 1;
	if (sum > sizeof(to->text) - to->used) {
		to->more++;
		return;
	}
	for (i = 0; i < 4; i++) {
		memcpy(to->text + to->used, text[i], n[i]);
		to->used += n[i];
	}
}

/* Was the same refused before? If not, it is one more; if there are too many, it counts as such. */
static bool is_known(struct fs_log *log, const char *op, const char *path)
{
	char key[PATH_MAX + 32];

	snprintf(key, sizeof(key), "%s %s", op, path);
	for (size_t i = 0; i < log->denials; i++)
		if (!strcmp(log->seen[i], key))
			return true;
	if (log->denials < FS_DENIALS_MAX && (log->seen[log->denials] = strdup(key))) {
		log->denials++;
		return false;
	}
	count_more(log);
	return true;
}

/* Is it @cut itself, or a change of what leads to other rules? Then no rule goes over that one. */
static bool is_cut(const struct fs_act *act, const struct fs_cut *cut)
{
	char path[PATH_MAX];

	return strcmp(act->op, "lookup") ||
	       !strcmp(path_of(act->dir, act->name, "", path) + 1, cut->path);
}

/*
 * What would have allowed it: another rule, or if that would be a second one for a path, words. While
 * learning, nobody has given the rules.
 */
static void put_suggestion(const struct fs_log *log, struct text *t, const struct fs_act *act,
			   enum fs_reason reason, const struct fs_cut *cut)
{
	struct fs_act what = *act;
	const struct fs_export *e = act->dir->share->export;
	char path[PATH_MAX];

	if (cut && is_cut(act, cut)) {
		put(t, "take away the rule ");
		put_string(t, cut->rule);
		return;
	}
	if (reason == FS_READ_ONLY)
		what.name = NULL; /* what is made or moved has to do with its directory */
	if (reason == FS_READ_ONLY && what.dir->is_export && !e->is_program && log->uses.fd < 0) {
		put(t, "change the rule ");
		put_string(t, e->rule);
		put(t, " to rw");
		return;
	}
	put(t, "add the rule {path: ");
	put_string(t, fs_log_path(&what, true, path));
	if (strcmp(e->at, e->host)) {
		put(t, ", at: ");
		put_string(t, fs_log_path(&what, false, path));
	}
	put(t, ", access: %s}", reason == FS_READ_ONLY ? "rw" : "ro");
}

static const struct {
	int err;
	const char *why;
} reasons[] = {
	[FS_READ_ONLY] = { -EROFS, "it is read-only there" },
	[FS_NOT_YET] = { -EROFS,
			 "its changes are committed after the program's success, not before" },
	[FS_QUOTA] = { -EDQUOT, "its quota is used up" },
	[FS_FILE_SIZE] = { -EFBIG, "it would be larger than a file may be (file_size)" },
	[FS_MOUNT] = { -EACCES,
		       "the host has something mounted there: give that a rule of its own" },
	[FS_SPECIAL] = { -EACCES, "devices, sockets and fifos are neither made nor opened" },
	[FS_OTHER] = { -EXDEV, "it would come under another rule" },
	[FS_DENIED] = { -EACCES, "it is denied there" },
	[FS_IN_USE] = { -EBUSY, "it is, or leads to, what this rule is about" },
};

static bool has_suggestion(enum fs_reason reason)
{
	return reason == FS_READ_ONLY || reason == FS_DENIED;
}

/* For people: one line, printable; where they learn, for the policy's comments. */
static void say(struct fs_log *log, const struct fs_act *act, enum fs_reason reason,
		const struct fs_cut *cut, const char *rule)
{
	struct text t = { log->line, log->line + sizeof(log->line) };
	bool learns = log->uses.fd >= 0;
	char path[PATH_MAX];

	if (learns ? reason == FS_DENIED : log->said++ >= FS_SAID_MAX)
		return;
	put(&t, "refused: %s of ", act->op);
	put_string(&t, fs_log_path(act, false, path));
	if (!learns)
		put(&t, ": %s", rule);
	put(&t, ": %s", reasons[reason].why);
	if (has_suggestion(reason)) {
		put(&t, "; to allow it, ");
		put_suggestion(log, &t, act, reason, cut);
	}
	if (learns) {
		fs_use_note(&log->uses, log->line);
		return;
	}
	if (log->said == FS_SAID_MAX)
		put(&t, "; there may be more: see --audit FILE");
	fprintf(stderr, "vmbox: %s%s\n", log->line, log->on_terminal ? "\r" : "");
}

int fs_log_refused(struct fs_log *log, const struct fs_act *act, enum fs_reason reason,
		   const struct fs_cut *cut)
{
	const char *rule = cut ? cut->rule : act->dir->share->export->rule;
	char path[PATH_MAX];
	struct text t;

	if (log->record) {
		log->record->quota |= reason == FS_QUOTA;
		log->record->file_size |= reason == FS_FILE_SIZE;
	}
	if (is_known(log, act->op, fs_log_path(act, false, path)))
		return reasons[reason].err;
	record_refusal(log, (const char *[]){ act->op, fs_log_path(act, false, path), rule,
					      reasons[reason].why });
	say(log, act, reason, cut, rule);
	if (log->audit < 0)
		return reasons[reason].err;
	t = begin(log, "refused");
	put(&t, ", \"op\": \"%s\"", act->op);
	put_path(&t, "path", act, false);
	put_path(&t, "host", act, true);
	put(&t, ", \"rule\": ");
	put_string(&t, rule);
	put(&t, ", \"why\": \"%s\"", reasons[reason].why);
	if (has_suggestion(reason)) {
		char suggestion[3 * PATH_MAX];
		struct text s = { suggestion, suggestion + sizeof(suggestion) };

		put_suggestion(log, &s, act, reason, cut);
		put(&t, ", \"suggestion\": ");
		put_string(&t, suggestion);
	}
	put(&t, "}");
	write_line(log, &t);
	return reasons[reason].err;
}

int fs_log_cut(struct fs_log *log, const struct fs_act *act, const struct fs_cut *cut)
{
	return fs_log_refused(log, act, cut->deny ? FS_DENIED : FS_IN_USE, cut);
}

void fs_log_end(struct fs_log *log)
{
	struct text t;

	for (size_t i = 0; i < log->denials; i++)
		free(log->seen[i]);
	fs_use_end(&log->uses);
	if (log->more_denials)
		fprintf(stderr, "vmbox: refused: and %lu more\n", log->more_denials);
	if (log->audit < 0)
		return;
	t = begin(log, "end");
	put(&t, ", \"more\": %lu, \"more_refused\": %lu}", log->more_changes, log->more_denials);
	write_line(log, &t);
}
