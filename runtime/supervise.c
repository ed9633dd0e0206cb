// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waits for a result or a limit, for signals and what is typed, and says what happened. All it
 * gets is a struct vmm_result of fixed size, whose text is printable, and some before: that the
 * program will write from now on: then the terminal is the program's; that it has succeeded, if
 * there is an overlay to be committed: then it opens the file server's gate; and that it has
 * stopped. Meanwhile it looks at the driver's counters.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "confine.h"
#include "fs.h"
#include "progress.h"
#include "record.h"
#include "report.h"
#include "run.h"

#define NR_POLL 4

#define WATCH_MS  500		/* how often the guest's exits are looked at */
#define WINDOW_NS 1000000000ULL /* of processor time: the least that a rate is taken over */

/* Milliseconds until the time limit, or -1: none. */
static int time_left(const struct run *r)
{
	uint64_t now = now_ns(), end = r->start_ns + r->options->timeout_ns;

	if (!r->options->timeout_ns)
		return -1;
	if (end <= now)
		return 0;
	return (end - now) / 1000000 < 1000000 ? (int)((end - now + 999999) / 1000000) : 1000000;
}

/* What limits the exits of a run. */
static uint64_t exits_limit(const struct run *r)
{
	uint64_t limit = r->options->policy->limit[POLICY_EXITS];

	return limit == POLICY_UNSET ? POLICY_EXITS_MAX : limit;
}

/* How many there were. False: the driver does not say. */
static bool count_exits(const struct run *r, uint64_t *exits)
{
	return r->counters >= 0 && counters_read(r->counters, &record->counters) &&
	       counters_exits(&record->counters, exits);
}

/*
 * Has the guest had more exits since the last look than it may have in the processor time that
 * it took? The driver counts them, so that also those are seen that no process of ours is told
 * of. More time than has passed does not count: that is of the VMM's other threads.
 */
static bool is_exit_storm(struct run *r)
{
	uint64_t cpu = clock_ns(r->vmm_clock), wall = now_ns(), exits, took;
	bool storm;

	if (!count_exits(r, &exits))
		return false;
	took = cpu - r->window.cpu_ns;
	if (took > wall - r->window.wall_ns)
		took = wall - r->window.wall_ns;
	if (took < WINDOW_NS)
		return false;
	storm = (double)(exits - r->window.exits) * 1e9 > (double)exits_limit(r) * (double)took;
	r->window.exits = exits;
	r->window.cpu_ns = cpu;
	r->window.wall_ns = wall;
	return storm;
}

/* Milliseconds until there is something to do that no descriptor tells of; -1: never. */
static int time_to_wait(const struct run *r)
{
	int left = time_left(r);

	return r->counters < 0 || (left >= 0 && left < WATCH_MS) ? left : WATCH_MS;
}

/* Takes bytes from the VMM, and the driver's counters, which come with the first. As read(). */
static ssize_t receive(struct run *r, void *to, size_t size)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec bytes = { to, size };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(r->result, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (head && head->cmsg_type == SCM_RIGHTS && r->counters < 0)
		memcpy(&r->counters, CMSG_DATA(head), sizeof(r->counters));
	return n;
}

enum outcome {
	HAVE_RESULT,
	VMM_GONE,   /* without a result */
	ENDED_HERE, /* by a signal or the time limit: with an exit code */
};

/* Ends the run: nothing of the guest's comes to the terminal after @why. */
static enum outcome end_here(struct run *r, const char *why, int status, int *code)
{
	children_reap(r->vmm);
	r->vmm = 0;
	terminal_recover(&r->terminal);
	if (why)
		say("%s: the program was ended", why);
	*code = status;
	return ENDED_HERE;
}

/* Never waits for the VMM alone: signals and the time limit hold whatever it does. */
static enum outcome wait_for_result(struct run *r, struct vmm_result *res, int *code)
{
	struct pollfd fds[NR_POLL] = { { .fd = r->result, .events = POLLIN },
				       { .fd = r->signal_fd, .events = POLLIN },
				       { .events = POLLIN },
				       { .events = POLLIN } };
	struct signalfd_siginfo info;
	size_t fill = 0;
	ssize_t n;

	while (fill < sizeof(*res)) {
		if (!time_left(r))
			return end_here(r, "the time limit is over (--wall)",
					record_end(RUN_WALL, 0), code);
		if (is_exit_storm(r))
			return end_here(
				r, "the guest leaves guest mode more often than it may (--exits)",
				record_end(RUN_EXITS, 0), code);
		fds[2].fd = r->terminal.keys;
		fds[3].fd = terminal_poll_fd(&r->terminal);
		if (poll(fds, NR_POLL, time_to_wait(r)) < 0) {
			if (errno == EINTR)
				continue;
			say("poll: %s", strerror(errno));
			return end_here(r, NULL, EXIT_VMBOX_FAILED, code);
		}
		if ((fds[1].revents & POLLIN) &&
		    read(r->signal_fd, &info, sizeof(info)) == sizeof(info) &&
		    !jobs_forward(r, &info))
			return end_here(r, NULL, record_end(RUN_INTERRUPTED, (int)info.ssi_signo),
					code);
		if (!jobs_attend_terminal(r, fds[2].revents, fds[3].revents))
			return end_here(r, "Ctrl-] was typed three times",
					record_end(RUN_INTERRUPTED, SIGINT), code);
		if (!fds[0].revents)
			continue;
		n = receive(r, (char *)res + fill, sizeof(*res) - fill);
		if (n <= 0)
			return VMM_GONE;
		fill += n;
		if (fill == sizeof(*res) && res->reason == VMM_WANTS_RUN && !r->running) {
			r->running = true;
			progress_end();
			if (!children_order(r, &(struct vmm_order){ .kind = VMM_GO_ON }))
				return VMM_GONE;
			fill = 0;
		}
		if (fill == sizeof(*res) && res->reason == VMM_STOPPED) {
			jobs_follow_stop(r);
			fill = 0;
		}
	}
	return HAVE_RESULT;
}

/*
 * The guest says that the program has succeeded, and its output is out: it may make
 * the changes. Once: what comes next is the end. False if that cannot be told.
 */
static bool open_gate(struct run *r)
{
	r->opened = write(r->gate, "", 1) == 1;
	return r->opened && children_order(r, &(struct vmm_order){ .kind = VMM_GO_ON });
}

static bool may_commit(const struct run *r, const struct vmm_result *res)
{
	const int *lost = res->stream_error;

	return r->gate >= 0 && !lost[0] && !lost[1] && !lost[2];
}

static enum outcome wait_for_end(struct run *r, struct vmm_result *res, int *code)
{
	enum outcome outcome = wait_for_result(r, res, code);
	uint64_t exits;

	if (outcome == HAVE_RESULT && res->reason == VMM_STARTED) {
		if (r->options->policy->limit[POLICY_EXITS] != POLICY_UNSET &&
		    !count_exits(r, &exits)) {
			say("--exits: cannot be enforced, since %s counts no exits: take it away, "
			    "or use another device",
			    r->options->device);
			return end_here(r, NULL, EXIT_VMBOX_FAILED, code);
		}
		outcome = wait_for_result(r, res, code);
	}
	if (outcome != HAVE_RESULT || res->reason != VMM_WANTS_COMMIT)
		return outcome;
	if (may_commit(r, res)) {
		progress_begin("committing");
		return open_gate(r) ? wait_for_result(r, res, code) : VMM_GONE;
	}
	res->reason = VMM_PROGRAM_ENDED; /* but some of its output is lost */
	return HAVE_RESULT;
}

/* What became of the changes: if they may be there, success and nothing else is said of the run. */
static int finish_commit(const struct run *r, enum outcome outcome, const struct vmm_result *res,
			 int code)
{
	if (r->gate < 0 || (r->opened && outcome == HAVE_RESULT && report_is_success(res)))
		return code;
	report_not_committed(r->opened);
	return r->opened && outcome == HAVE_RESULT ? record_end(RUN_COMMIT, 0) : code;
}

static int report_outcome(struct run *r, enum outcome outcome, const struct vmm_result *res,
			  int code)
{
	int status;

	if (outcome == ENDED_HERE)
		return code;
	status = children_collect(&r->vmm);
	if (outcome == HAVE_RESULT && res->reason == VMM_PROGRAM_ENDED)
		terminal_leave(&r->terminal);
	else
		terminal_recover(&r->terminal);
	/* One that goes on after its result, and then tries what it may not, lied. */
	if (outcome == VMM_GONE || (status != -1 && WIFSIGNALED(status)))
		return report_lost(RUN_VMM, status);
	if (res->reason == VMM_LOST_FS)
		return report_lost(RUN_FILE_SERVER, children_collect(&r->fs));
	return report_result(r->options, res);
}

int supervise(struct run *r)
{
	const int keep[] = { r->result,		 r->signal_fd,	       r->gate,
			     r->options->scribe, r->options->reporter, r->terminal.keys,
			     r->terminal.fd };
	uint64_t vmm_start = record->vmm_start_ns = now_ns();
	struct vmm_result res;
	enum outcome outcome;
	const char *failed;
	int code = 0;

	/* Only the VMM holds the program's streams now: one that it closes is closed. */
	close(0);
	close(1);
	progress_prepare();
	if (!r->options->verbose)
		progress_begin("starting the guest");
	clock_getcpuclockid(r->vmm, &r->vmm_clock);
	r->window.wall_ns = vmm_start;
	failed = confine_launcher(r->vmm, r->fs, r->terminal.fd, keep,
				  sizeof(keep) / sizeof(keep[0]));
	if (failed) {
		run_confinement_failed(failed);
		return EXIT_VMBOX_FAILED;
	}
	outcome = wait_for_end(r, &res, &code);
	progress_end();
	if (outcome == HAVE_RESULT)
		report_sanitize(&res);
	code = report_outcome(r, outcome, &res, code);
	if (outcome == HAVE_RESULT && r->options->verbose)
		report_times(&res, vmm_start - r->start_ns, now_ns() - r->start_ns);
	return finish_commit(r, outcome, &res, code);
}

int supervise_fs(struct run *r, int code)
{
	int status;

	if (r->fs <= 0)
		return code;
	status = children_collect(&r->fs);
	if (status == -1 && r->audit >= 0)
		say("--audit %s: its end is missing: the file server was at work on the guest's "
		    "last request for a second, and was ended",
		    r->options->audit);
	if (status == -1)
		return r->audit >= 0 ? record_end(RUN_AUDIT, 0) : code;
	if (WIFSIGNALED(status))
		return report_lost(RUN_FILE_SERVER, status);
	return WEXITSTATUS(status) == FS_AUDIT_FAILED ? record_end(RUN_AUDIT, 0) : code;
}
