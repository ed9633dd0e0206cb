// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMM process: makes the VM, starts the threads, confines itself, runs, and
 * reports one result. Owns the machine. From the first entry on nothing that it
 * reads from the region, the ring bytes or the ports is believed.
 *
 * Threads: the vCPU (this one), one for each stream and direction, the timer,
 * and two for the control channel. They are made in the cage, before its filter, and
 * wait at a gate until that is in place.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "confine.h"
#include "cpuid.h"
#include "machine.h"

static struct machine machine;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t arrived; /* all threads are past glibc's own start */

uint64_t machine_now(const struct machine *m)
{
	return now_ns() - m->start_ns;
}

static pthread_mutex_t result_lock = PTHREAD_MUTEX_INITIALIZER;

/* With result_lock. */
static void send_result(struct machine *m, enum vmm_reason reason, const struct pvio_status *status,
			const char *text)
{
	static struct vmm_result result;
	unsigned int i;

	result.reason = reason;
	result.status = status ? *status : (struct pvio_status){ 0 };
	snprintf(result.text, sizeof(result.text), "%s", text);
	machine_console_tail(m, result.console);
	result.entered_ns = m->config->record->entered_ns;
	result.ready_ns = m->config->record->ready_ns;
	result.ended_ns = machine_now(m);
	for (i = 0; i < 3; i++)
		result.stream_error[i] = m->pumps[PUMP_STDIN + i].error;
	if (write(m->config->result, &result, sizeof(result)) != sizeof(result))
		_exit(1);
}

/* Reports and ends the process, with all its threads. The first caller wins. */
_Noreturn void machine_end(struct machine *m, enum vmm_reason reason,
			   const struct pvio_status *status, const char *text)
{
	pthread_mutex_lock(&result_lock); /* never unlocked */
	send_result(m, reason, status, text);
	_exit(0);
}

static void send_news(struct machine *m, enum vmm_reason reason)
{
	const struct pvio_status success = { .kind = PVIO_EXITED };

	pthread_mutex_lock(&result_lock);
	send_result(m, reason, &success, "");
	pthread_mutex_unlock(&result_lock);
}

/* Asks the launcher, and returns when it may be; if it may not, the launcher ends us. */
void machine_ask(struct machine *m, enum vmm_reason question)
{
	send_news(m, question);
	while (sem_wait(&m->may_go_on))
		;
}

void machine_say_stopped(struct machine *m)
{
	send_news(m, VMM_STOPPED);
}

static _Noreturn void setup_failed(struct machine *m, const char *what, int err)
{
	char text[PVIO_STATUS_TEXT_MAX];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(err));
	machine_end(m, VMM_SETUP_FAILED, NULL, text);
}

/* ---- setup ---- */

static void *map_shared_with_guest(struct machine *m, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		setup_failed(m, "memory for the guest (less with --memory)", errno);
	return p;
}

static void set_slot(struct machine *m, unsigned int slot, uint64_t gpa, void *hva, uint64_t size)
{
	struct kvm_userspace_memory_region r = { .slot = slot,
						 .guest_phys_addr = gpa,
						 .memory_size = size,
						 .userspace_addr = (uintptr_t)hva };

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &r))
		setup_failed(m, "KVM_SET_USER_MEMORY_REGION", errno);
}

static void make_memory(struct machine *m)
{
	uint64_t size = m->config->memory;
	uint64_t low = size < GUEST_LOW_LIMIT ? size : GUEST_LOW_LIMIT;
	struct pvio_header *header;

	m->ram = map_shared_with_guest(m, size);
	m->region = map_shared_with_guest(m, PVIO_REGION_SIZE);
	header = (struct pvio_header *)m->region;
	header->magic = PVIO_MAGIC;
	header->version = PVIO_VERSION;
	set_slot(m, 0, 0, m->ram, low);
	set_slot(m, 1, PVIO_GPA, m->region, PVIO_REGION_SIZE);
	if (size > low)
		set_slot(m, 2, GUEST_HIGH_BASE, m->ram + low, size - low);
}

static void make_vcpu(struct machine *m)
{
	int device = m->config->device;
	int size = ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0);
	const char *error;

	if (size < (int)sizeof(struct kvm_run))
		setup_failed(m, "KVM_GET_VCPU_MMAP_SIZE", size < 0 ? errno : EINVAL);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0)
		setup_failed(m, "KVM_CREATE_VCPU", errno);
	m->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED)
		setup_failed(m, "kvm_run", errno);
	error = cpuid_setup(device, m->vcpu);
	if (error)
		setup_failed(m, error, errno);
}

/*
 * The last thing before the guest runs: gives the launcher the driver's counters, by which it
 * watches the guest, and us. KVM has most of them with the vCPU, vmbox.ko all with the VM.
 */
static void send_counters(struct machine *m)
{
	static const struct vmm_result started = { .reason = VMM_STARTED };
	struct iovec bytes = { (void *)&started, sizeof(started) };
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
	int counters = ioctl(m->vcpu, KVM_GET_STATS_FD, NULL);

	if (counters < 0)
		counters = ioctl(m->vm, KVM_GET_STATS_FD, NULL);
	if (counters >= 0) {
		memcpy(CMSG_DATA(&control.head), &counters, sizeof(counters));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	if (sendmsg(m->config->result, &message, 0) != sizeof(started))
		setup_failed(m, "the launcher", errno);
	if (counters >= 0)
		close(counters);
}

static void load_guest(struct machine *m)
{
	int khz = ioctl(m->vcpu, KVM_GET_TSC_KHZ, 0);
	struct boot_config config = { .kernel = m->config->kernel,
				      .initrd = m->config->initrd,
				      .memory = m->config->memory,
				      .ram = m->ram };
	struct kvm_regs regs = { .rflags = 2 };
	struct boot_entry entry;
	struct kvm_sregs sregs;
	char cmdline[512];
	const char *error;

	if (khz <= 0)
		setup_failed(m, "KVM_GET_TSC_KHZ", khz < 0 ? errno : EINVAL);
	snprintf(cmdline, sizeof(cmdline),
		 "%s panic=-1 reboot=t rodata=off no_timer_check tsc=reliable tsc_early_khz=%d",
		 m->config->verbose ? "loglevel=7" : "quiet", khz);
	config.cmdline = cmdline;
	if (getrandom(config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
		setup_failed(m, "random seed", errno);
	error = boot_load(&config, &entry);
	if (error)
		machine_end(m, VMM_SETUP_FAILED, NULL, error);
	if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs))
		setup_failed(m, "KVM_GET_SREGS", errno);
	boot_sregs(&sregs);
	regs.rip = entry.rip;
	regs.rsi = entry.rsi;
	regs.rsp = entry.rsp;
	if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs) || ioctl(m->vcpu, KVM_SET_REGS, &regs))
		setup_failed(m, "vCPU state", errno);
	munmap((void *)config.kernel.data, config.kernel.size);
	munmap((void *)config.initrd.data, config.initrd.size);
}

static struct kvm_run *kicked_run;

static void on_kick(int sig)
{
	(void)sig;
	__atomic_store_n(&kicked_run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static void set_signals(struct machine *m)
{
	struct sigaction kick = { .sa_handler = on_kick };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	kicked_run = m->run;
	sigaction(SIGUSR1, &kick, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

struct thread {
	void *(*fn)(void *);
	void *arg;
};

static void *at_gate(void *arg)
{
	struct thread *t = arg;

	pthread_barrier_wait(&arrived);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return t->fn(t->arg);
}

static void start_threads(struct machine *m)
{
	static struct thread threads[NR_PUMPS + 3];
	pthread_t id;
	size_t i;

	for (i = 0; i < NR_PUMPS; i++)
		threads[i] = (struct thread){ pump_thread, &m->pumps[i] };
	threads[i++] = (struct thread){ timer_thread, m };
	threads[i++] = (struct thread){ control_thread, m };
	threads[i++] = (struct thread){ order_thread, m };
	m->pid = getpid();
	m->vcpu_tid = gettid();
	pthread_mutex_lock(&gate);
	pthread_barrier_init(&arrived, NULL, i + 1);
	while (i--) {
		int err = pthread_create(&id, NULL, at_gate, &threads[i]);

		if (err)
			setup_failed(m, "threads", err);
	}
	pthread_barrier_wait(&arrived);
}

static void make_channels(struct machine *m)
{
	const struct vmm_config *c = m->config;
	uint8_t *span;
	size_t len;

	pump_init(m, PUMP_STDIN, 0, PVIO_CH_STDIN, PVIO_TO_GUEST);
	ring_fill_on_demand(&m->pumps[PUMP_STDIN].ring);
	m->pumps[PUMP_STDIN].asks = c->asks;
	pump_init(m, PUMP_STDOUT, 1, PVIO_CH_STDOUT, PVIO_TO_HOST);
	pump_init(m, PUMP_STDERR, 2, PVIO_CH_STDERR, PVIO_TO_HOST);
	pump_init(m, PUMP_FS_IN, c->fs_sock[0], PVIO_CH_9P, PVIO_TO_GUEST);
	pump_init(m, PUMP_FS_OUT, c->fs_sock[0], PVIO_CH_9P, PVIO_TO_HOST);
	pump_init(m, PUMP_RW_IN, c->fs_sock[1], PVIO_CH_9P_RW, PVIO_TO_GUEST);
	pump_init(m, PUMP_RW_OUT, c->fs_sock[1], PVIO_CH_9P_RW, PVIO_TO_HOST);
	ring_init(&m->control_in, m->region, PVIO_CH_CONTROL, PVIO_TO_HOST);
	ring_init(&m->control_out, m->region, PVIO_CH_CONTROL, PVIO_TO_GUEST);
	ring_init(&m->console, m->region, PVIO_CH_CONSOLE, PVIO_TO_HOST);
	m->control_in.bytes = &c->record->bytes[PVIO_CH_CONTROL][PVIO_TO_HOST];
	m->control_out.bytes = &c->record->bytes[PVIO_CH_CONTROL][PVIO_TO_GUEST];
	m->console.bytes = &c->record->bytes[PVIO_CH_CONSOLE][PVIO_TO_HOST];
	ring_peek(&m->console, &span, &len); /* asks for doorbells from the first line on */
	pthread_mutex_init(&m->control_lock, NULL);
	pthread_cond_init(&m->control_cond, NULL);
	pthread_mutex_init(&m->send_lock, NULL);
	sem_init(&m->may_go_on, 0, 0);
}

static _Noreturn void confinement_failed(struct machine *m, const char *step)
{
	char what[64];

	snprintf(what, sizeof(what), "confinement of the VMM: %s", step);
	setup_failed(m, what, errno);
}

_Noreturn void vmm_main(const struct vmm_config *config)
{
	struct machine *m = &machine;
	const char *failed;

	m->config = config;
	m->start_ns = machine_now(m);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->irq_cond, NULL);
	pic_init(&m->pic);
	failed = confine_vmm_begin(config->device, config->fs_sock, config->result);
	if (failed)
		confinement_failed(m, failed);

	m->vm = TEMP_FAILURE_RETRY(ioctl(config->device, KVM_CREATE_VM, 0));
	if (m->vm < 0 && errno == EBUSY)
		machine_end(m, VMM_DEVICE_BUSY, NULL, "");
	if (m->vm < 0 && errno == EPERM)
		setup_failed(m,
			     "this CPU leaks between the threads of a core: turn SMT off, or load "
			     "vmbox with allow_smt=1",
			     errno);
	if (m->vm < 0)
		setup_failed(m, "KVM_CREATE_VM", errno);
	m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (m->timer < 0)
		setup_failed(m, "timerfd", errno);
	make_memory(m);
	make_vcpu(m);
	load_guest(m);
	make_channels(m);
	set_signals(m);
	start_threads(m);
	close(config->device);
	send_counters(m);
	failed = confine_vmm_finish(m->vcpu, m->timer);
	if (failed)
		confinement_failed(m, failed);
	pthread_mutex_unlock(&gate);
	vcpu_loop(m);
}
