// SPDX-License-Identifier: GPL-2.0-only
/*
 * All that the guest can say to the VMM: the shared region, the doorbell, the
 * ports, in any order and at any time. The VMM's own threads run here, one at a
 * time, the first byte of the input says which. Where one would enter the guest
 * (KVM_RUN) or wait for it (a condition), the guest has its turn: the next bytes
 * say what it does. The run ends with the input, or as the VMM would end it. The
 * region and kvm_run are heap blocks of their exact size.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../runtime/machine.h"

#define RUN_SIZE     2048
#define DATA_OFFSET  1024
#define REQUEST_SIZE (PVIO_RING_SIZE + 5000) /* more than its ring holds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct machine m;
static const uint8_t *input;
static size_t left;
static jmp_buf end;

static uint8_t take8(void)
{
	if (!left)
		longjmp(end, 1);
	left--;
	return *input++;
}

static uint32_t take32(void)
{
	uint32_t v = take8();

	v |= take8() << 8;
	v |= take8() << 16;
	return v | (uint32_t)take8() << 24;
}

/* ---- the guest's turn ---- */

static void put_bytes(unsigned int channel)
{
	struct pvio_ring *ring = &((struct pvio_header *)m.region)->ring[channel][PVIO_TO_HOST];
	uint8_t *data = m.region + PVIO_RING_OFFSET(channel, PVIO_TO_HOST);

	for (unsigned int n = take8() % 32; n; n--)
		data[ring->prod++ % PVIO_RING_SIZE] = take8();
}

static void put_message(void)
{
	struct pvio_ring *ring =
		&((struct pvio_header *)m.region)->ring[PVIO_CH_CONTROL][PVIO_TO_HOST];
	uint8_t *data = m.region + PVIO_RING_OFFSET(PVIO_CH_CONTROL, PVIO_TO_HOST);
	struct pvio_msg head = { take8() % 5, 0 };
	struct pvio_status status = { .kind = take8() % 7, .value = take8() };
	uint8_t message[sizeof(head) + sizeof(status)];

	if (head.type == PVIO_MSG_STATUS)
		head.len = take8() & 1 ? take32() : sizeof(status);
	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), &status, sizeof(status));
	for (size_t i = 0; i < sizeof(message) && i < sizeof(head) + (size_t)head.len; i++)
		data[ring->prod++ % PVIO_RING_SIZE] = message[i];
}

static void move_counter(void)
{
	uint8_t which = take8();
	unsigned int channel = which / 2 % PVIO_NR_CHANNELS;
	struct pvio_ring *ring = &((struct pvio_header *)m.region)->ring[channel][which % 2];
	uint32_t far = take8() << 8;

	if (which % 2 == PVIO_TO_HOST)
		ring->prod = ring->cons + far;
	else
		ring->cons = ring->prod - far;
}

static void guest(void)
{
	uint32_t *words = (uint32_t *)m.region;
	unsigned int i;

	switch (take8() % 8) {
	case 0:
		i = take8() * 4U % (sizeof(struct pvio_header) / 4);
		words[i + take8() % 4] = take32();
		break;
	case 1:
		move_counter();
		break;
	case 2:
		put_message();
		break;
	default:
		put_bytes(take8() % PVIO_NR_CHANNELS);
	}
	m.control_woken = true;
	for (i = 0; i < NR_PUMPS; i++)
		m.pumps[i].woken = true;
	pic_raise(&m.pic, 0);
}

/* Waiting is the guest's time. */
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	guest();
	return 0;
}

static void exit_by_port(struct kvm_run *run)
{
	static const uint16_t ports[] = { PVIO_PORT, 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41,
					  0x42,	     0x43, 0x61, 0x64, 0x70, 0x71, 0x80 };
	uint8_t how = take8();
	uint32_t value = how & 0x40 ? take32() : take8();

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = how & 1;
	run->io.size = 1U << (how >> 1) % 3;
	run->io.count = how == 0xff ? 2 : 1;
	run->io.port = how & 8 ? ports[(how >> 4 & 3) + take8() % 11] : take32();
	if ((how & 0x88) == 0x88) {
		run->io.port = PVIO_PORT;
		run->io.size = 4;
		value %= 4;
	}
	run->io.data_offset = DATA_OFFSET;
	memcpy((uint8_t *)run + DATA_OFFSET, &value, sizeof(value));
}

static int enter(struct kvm_run *run)
{
	static const uint8_t others[] = { KVM_EXIT_INTR,       KVM_EXIT_IRQ_WINDOW_OPEN,
					  KVM_EXIT_HLT,	       KVM_EXIT_HLT,
					  KVM_EXIT_SHUTDOWN,   KVM_EXIT_MMIO,
					  KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR };
	uint8_t how = take8();

	run->if_flag = how & 1;
	run->ready_for_interrupt_injection = how >> 1 & 1;
	if (how & 4)
		guest();
	if (how & 0x80) {
		exit_by_port(run);
	} else {
		run->exit_reason = others[how >> 4];
		errno = EINTR;
		return how & 8 ? -1 : 0;
	}
	return 0;
}

/* The vCPU's three. */
int ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_interrupt *irq;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	switch (request) {
	case KVM_RUN:
		return enter(m.run);
	case KVM_INTERRUPT:
		irq = arg;
		if (irq->irq > 255)
			abort();
		return 0;
	case KVM_GET_REGS:
		memset(arg, 0, sizeof(struct kvm_regs));
		return 0;
	}
	abort();
}

/* ---- in place of vmm.c ---- */

uint64_t machine_now(const struct machine *machine)
{
	return 1000000ULL * (1 + left);
}

static void check_printable(const char *text, size_t max)
{
	size_t n = strnlen(text, max + 1);

	if (n > max)
		abort();
	for (size_t i = 0; i < n; i++)
		if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
			abort();
}

_Noreturn void machine_end(struct machine *machine, enum vmm_reason reason,
			   const struct pvio_status *status, const char *text)
{
	char tail[VMM_CONSOLE_TAIL + 1];

	check_printable(text, PVIO_STATUS_TEXT_MAX);
	machine_console_tail(machine, tail);
	check_printable(tail, VMM_CONSOLE_TAIL);
	longjmp(end, 1);
}

/* The launcher says yes; the next bytes are the guest's. */
void machine_ask(struct machine *machine, enum vmm_reason question)
{
	guest();
}

void machine_say_stopped(struct machine *machine)
{
	guest();
}

static void make_machine(struct vmm_config *config, int fd)
{
	memset(&m, 0, sizeof(m));
	m.config = config;
	m.timer = -1;
	m.region = calloc(1, PVIO_REGION_SIZE);
	m.run = calloc(1, RUN_SIZE);
	pthread_mutex_init(&m.lock, NULL);
	pthread_mutex_init(&m.control_lock, NULL);
	pthread_mutex_init(&m.send_lock, NULL);
	pic_init(&m.pic);
	pump_init(&m, PUMP_STDIN, fd, PVIO_CH_STDIN, PVIO_TO_GUEST);
	ring_fill_on_demand(&m.pumps[PUMP_STDIN].ring);
	pump_init(&m, PUMP_STDOUT, fd, PVIO_CH_STDOUT, PVIO_TO_HOST);
	pump_init(&m, PUMP_STDERR, fd, PVIO_CH_STDERR, PVIO_TO_HOST);
	pump_init(&m, PUMP_FS_IN, fd, PVIO_CH_9P, PVIO_TO_GUEST);
	pump_init(&m, PUMP_FS_OUT, fd, PVIO_CH_9P, PVIO_TO_HOST);
	pump_init(&m, PUMP_RW_IN, fd, PVIO_CH_9P_RW, PVIO_TO_GUEST);
	pump_init(&m, PUMP_RW_OUT, fd, PVIO_CH_9P_RW, PVIO_TO_HOST);
	ring_init(&m.control_in, m.region, PVIO_CH_CONTROL, PVIO_TO_HOST);
	ring_init(&m.control_out, m.region, PVIO_CH_CONTROL, PVIO_TO_GUEST);
	ring_init(&m.console, m.region, PVIO_CH_CONSOLE, PVIO_TO_HOST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t request[REQUEST_SIZE];
	static struct record_vmm record;
	static struct vmm_config config = { .request = request,
					    .commits = true,
					    .record = &record };
	static int fds[2];

	if (!fds[0]) {
		fds[0] = open("/dev/zero", O_RDWR);
		fds[1] = open("/dev/full", O_RDWR);
	}
	input = data;
	left = size;
	config.request_size = size % 3 ? 200 : REQUEST_SIZE;
	config.output = size % 5 ? UINT64_MAX : 1000;
	make_machine(&config, fds[size % 2]);
	if (!setjmp(end)) {
		unsigned int who = take8() % (NR_PUMPS + 6);

		guest();
		if (who < NR_PUMPS)
			pump_thread(&m.pumps[who]);
		else if (who < NR_PUMPS + 3)
			control_thread(&m);
		else
			vcpu_loop(&m);
	}
	free(m.region);
	free(m.run);
	return 0;
}
