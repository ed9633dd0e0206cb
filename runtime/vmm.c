// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMM process: makes the VM, starts the threads, confines itself, runs, and
 * reports one result. Owns the machine. From the first entry on nothing that it
 * reads from the region, the ring bytes or the ports is believed.
 *
 * Threads: the vCPU (this one), one for each stream and direction, the timer
 * and the control channel. They are made before the filter, and wait at a gate
 * until it is in place.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "cpuid.h"
#include "machine.h"

static struct machine machine;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t arrived; /* all threads are past glibc's own start */

uint64_t machine_now(const struct machine *m)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec - m->start_ns;
}

/* The last of the console, oldest first, made printable but for line ends. */
static void copy_tail(const struct machine *m, char *to)
{
	size_t n = m->tail_pos < sizeof(m->tail) ? m->tail_pos : sizeof(m->tail), i;

	for (i = 0; i < n; i++) {
		to[i] = m->tail[(m->tail_pos - n + i) % sizeof(m->tail)];
		if (to[i] != '\n')
			make_printable(&to[i], 1);
	}
	to[n] = 0;
}

/* Reports and ends the process, with all its threads. The first caller wins. */
_Noreturn void machine_end(struct machine *m, enum vmm_reason reason,
			   const struct pvio_status *status, const char *text)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	static struct vmm_result result;
	unsigned int i;
	ssize_t n;

	pthread_mutex_lock(&once); /* never unlocked */
	result.reason = reason;
	if (status)
		result.status = *status;
	snprintf(result.text, sizeof(result.text), "%s", text);
	copy_tail(m, result.console);
	result.entered_ns = m->entered_ns;
	result.ready_ns = m->ready_ns;
	result.ended_ns = machine_now(m);
	for (i = 0; i < 3; i++)
		result.stream_error[i] = m->pumps[PUMP_STDIN + i].error;
	n = write(m->config->result, &result, sizeof(result)); /* fits into the pipe's buffer */
	_exit(n == sizeof(result) ? 0 : 1);
}

static _Noreturn void setup_failed(struct machine *m, const char *what, int err)
{
	char text[PVIO_STATUS_TEXT_MAX];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(err));
	machine_end(m, VMM_SETUP_FAILED, NULL, text);
}

/* For --verbose. A stderr that is gone changes nothing. */
static void show_console(const struct machine *m, const char *line, size_t len)
{
	ssize_t n;

	if (!m->config->verbose)
		return;
	for (; len; line += n, len -= n) {
		n = write(2, line, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return;
	}
}

/* Takes what the guest kernel has printed: for the tail, and for --verbose. vCPU thread. */
void machine_take_console(struct machine *m)
{
	enum ring_state state;
	uint8_t *span;
	size_t len, i;

	while ((state = ring_peek(&m->console, &span, &len)) == RING_READY) {
		char line[256];

		if (len > sizeof(line))
			len = sizeof(line);
		for (i = 0; i < len; i++) {
			line[i] = span[i];
			if (line[i] != '\n')
				make_printable(&line[i], 1);
			m->tail[m->tail_pos++ % sizeof(m->tail)] = line[i];
		}
		show_console(m, line, len);
		if (ring_advance(&m->console, len))
			machine_raise(m, PVIO_IRQ);
	}
	if (state == RING_BROKEN)
		machine_end(m, VMM_PROTOCOL, NULL, "its ring counters are out of range");
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
	static struct thread threads[NR_PUMPS + 2];
	pthread_t id;
	size_t i;

	for (i = 0; i < NR_PUMPS; i++)
		threads[i] = (struct thread){ pump_thread, &m->pumps[i] };
	threads[i++] = (struct thread){ timer_thread, m };
	threads[i++] = (struct thread){ control_thread, m };
	m->vcpu_thread = pthread_self();
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
	pump_init(m, PUMP_STDOUT, 1, PVIO_CH_STDOUT, PVIO_TO_HOST);
	pump_init(m, PUMP_STDERR, 2, PVIO_CH_STDERR, PVIO_TO_HOST);
	pump_init(m, PUMP_FS_IN, c->fs_sock, PVIO_CH_9P, PVIO_TO_GUEST);
	pump_init(m, PUMP_FS_OUT, c->fs_sock, PVIO_CH_9P, PVIO_TO_HOST);
	ring_init(&m->control_in, m->region, PVIO_CH_CONTROL, PVIO_TO_HOST);
	ring_init(&m->control_out, m->region, PVIO_CH_CONTROL, PVIO_TO_GUEST);
	ring_init(&m->console, m->region, PVIO_CH_CONSOLE, PVIO_TO_HOST);
	ring_peek(&m->console, &span, &len); /* asks for doorbells from the first line on */
	pthread_mutex_init(&m->control_lock, NULL);
	pthread_cond_init(&m->control_cond, NULL);
}

_Noreturn void vmm_main(const struct vmm_config *config)
{
	const int keep[] = { config->device, config->fs_sock, config->result };
	struct machine *m = &machine;
	int err;

	m->config = config;
	m->start_ns = machine_now(m);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->irq_cond, NULL);
	pic_init(&m->pic);
	err = confine_begin(keep, sizeof(keep) / sizeof(keep[0]));
	if (err)
		setup_failed(m, "confinement", -err);

	m->vm = ioctl(config->device, KVM_CREATE_VM, 0);
	if (m->vm < 0 && errno == EBUSY)
		machine_end(m, VMM_DEVICE_BUSY, NULL, "");
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
	err = confine_finish(m->vcpu);
	if (err)
		setup_failed(m, "confinement", -err);
	pthread_mutex_unlock(&gate);
	vcpu_loop(m);
}
