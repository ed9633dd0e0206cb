// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU thread: KVM_RUN, interrupts in, port I/O out. The guest is hostile:
 * a port that is in no case reads as ones and ignores writes, an exit that is
 * in no case ends the VM.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "machine.h"

#define CMOS_INDEX	 0x70
#define CMOS_DATA	 0x71
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET	 0xfe

static _Noreturn void stopped(struct machine *m, const char *how, uint64_t detail)
{
	struct kvm_regs regs = { 0 };
	char text[PVIO_STATUS_TEXT_MAX];

	ioctl(m->vcpu, KVM_GET_REGS, &regs);
	snprintf(text, sizeof(text), "%s (%#llx) at rip %#llx", how, (unsigned long long)detail,
		 (unsigned long long)regs.rip);
	machine_end(m, VMM_GUEST_STOPPED, NULL, text);
}

/*
 * IRQ @irq of the guest. The vCPU thread holds no lock in KVM_RUN: whoever
 * raises an interrupt sends it a signal, whose handler sets immediate_exit.
 */
void machine_raise(struct machine *m, unsigned int irq)
{
	pthread_mutex_lock(&m->lock);
	pic_raise(&m->pic, irq);
	if (pic_pending(&m->pic)) {
		if (m->in_run)
			tgkill(m->pid, m->vcpu_tid, SIGUSR1);
		pthread_cond_signal(&m->irq_cond);
	}
	pthread_mutex_unlock(&m->lock);
}

void *timer_thread(void *arg)
{
	struct machine *m = arg;
	uint64_t expirations;

	for (;;)
		if (read(m->timer, &expirations, sizeof(expirations)) == sizeof(expirations))
			machine_raise(m, 0);
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static _Noreturn void stay_off(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	for (;;)
		pthread_cond_wait(&m->irq_cond, &m->lock);
}

static void doorbell(struct machine *m, uint32_t value)
{
	unsigned int i;

	switch (value) {
	case PVIO_DB_KICK:
		machine_take_console(m);
		control_wake(m);
		for (i = 0; i < NR_PUMPS; i++)
			pump_wake(&m->pumps[i]);
		return;
	case PVIO_DB_POWEROFF:
		/* A STATUS is in the ring already, or never comes: the control thread ends the VM. */
		m->powered_off = true;
		control_wake(m);
		stay_off(m);
	case PVIO_DB_PANIC:
		machine_take_console(m);
		machine_end(m, VMM_GUEST_PANIC, NULL, "");
	}
	machine_end(m, VMM_PROTOCOL, NULL, "it rang the doorbell with an unknown value");
}

static void port_write(struct machine *m, uint16_t port, unsigned int size, uint32_t value)
{
	struct pit_timer timer;

	if (port == PVIO_PORT && size == 4) {
		doorbell(m, value);
	} else if (pit_write(&m->pit, port, value, machine_now(m), &timer)) {
		struct itimerspec spec = { .it_value = to_timespec(timer.first_ns),
					   .it_interval = to_timespec(timer.period_ns) };

		if (timer.changed)
			timerfd_settime(m->timer, 0, &spec, NULL);
	} else if (port == KEYBOARD_COMMAND && value == KEYBOARD_RESET) {
		machine_take_console(m);
		stopped(m, "the guest reset itself", port);
	} else {
		pthread_mutex_lock(&m->lock);
		pic_write(&m->pic, port, value);
		pthread_mutex_unlock(&m->lock);
	}
}

static uint32_t port_read(struct machine *m, uint16_t port)
{
	uint8_t value;
	bool ours;

	pthread_mutex_lock(&m->lock);
	ours = pic_read(&m->pic, port, &value);
	pthread_mutex_unlock(&m->lock);
	if (ours || pit_read(&m->pit, port, machine_now(m), &value))
		return value;
	if (port == CMOS_DATA) /* "no update in progress", or the kernel waits for a second */
		return 0;
	return ~0U;
}

static void handle_io(struct machine *m)
{
	struct kvm_run *run = m->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t value = 0;

	if (run->io.count != 1)
		stopped(m, "string port I/O", run->io.port);
	if (run->io.direction == KVM_EXIT_IO_OUT) {
		memcpy(&value, data, run->io.size);
		port_write(m, run->io.port, run->io.size, value);
	} else {
		value = port_read(m, run->io.port);
		memcpy(data, &value, run->io.size);
	}
}

static void handle_hlt(struct machine *m)
{
	if (!m->run->if_flag) {
		machine_take_console(m);
		stopped(m, "the guest halted for good", 0);
	}
	pthread_mutex_lock(&m->lock);
	while (!pic_pending(&m->pic))
		pthread_cond_wait(&m->irq_cond, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

/* Gives the guest an interrupt if it can take one, else asks to be told when it can. */
static void prepare_entry(struct machine *m)
{
	struct kvm_run *run = m->run;
	struct kvm_interrupt irq = { 0 };
	int vector = -1;

	__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&m->lock);
	m->in_run = true;
	if (run->ready_for_interrupt_injection)
		vector = pic_acknowledge(&m->pic);
	run->request_interrupt_window = pic_pending(&m->pic);
	pthread_mutex_unlock(&m->lock);
	if (vector < 0)
		return;
	irq.irq = vector;
	if (ioctl(m->vcpu, KVM_INTERRUPT, &irq))
		stopped(m, "an interrupt was refused", vector);
}

static void handle_exit(struct machine *m)
{
	struct kvm_run *run = m->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(m);
		return;
	case KVM_EXIT_HLT:
		handle_hlt(m);
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return;
	}
	machine_take_console(m);
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		stopped(m, "the guest reset itself, or a triple fault", 0);
	case KVM_EXIT_MMIO:
		stopped(m, "the guest reached for memory that it does not have",
			run->mmio.phys_addr);
	case KVM_EXIT_FAIL_ENTRY:
		stopped(m, "the CPU refused to enter the guest",
			run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		stopped(m, "the driver gave up on the guest", run->internal.suberror);
	}
	stopped(m, "unknown exit", run->exit_reason);
}

/* The thread's life. Ends with the process. */
_Noreturn void vcpu_loop(struct machine *m)
{
	m->config->record->entered_ns = machine_now(m);
	for (;;) {
		int err;

		prepare_entry(m);
		err = ioctl(m->vcpu, KVM_RUN, 0) ? errno : 0;
		pthread_mutex_lock(&m->lock);
		m->in_run = false;
		pthread_mutex_unlock(&m->lock);
		if (err && err != EINTR && err != EAGAIN)
			stopped(m, "KVM_RUN failed", err);
		if (!err)
			handle_exit(m);
	}
}
