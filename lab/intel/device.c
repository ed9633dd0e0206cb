// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device of device.h as a plugin of Bochs, in C: the few of its functions
 * that are used are declared here by their symbols. A call's 9P message goes to the server at the other end of the FIFOs
 * $LAB_DIR/9p.requests and 9p.replies, whose reply is waited for; port N is the
 * client of the socket $LAB_DIR/portN.
 *
 * Bochs has no idle time: a halted processor's clock jumps to the next event.
 * While no port has a client, hold() keeps that clock back to real time, asleep,
 * so that a lab that waits costs nothing; under a command it may run ahead.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../wire.h"
#include "device.h"

/* --- Bochs --- */

typedef uint32_t (*io_read_fn)(void *self, uint32_t port, unsigned int len);
typedef void (*io_write_fn)(void *self, uint32_t port, uint32_t value, unsigned int len);

extern char bx_pc_system[];
extern int (*pluginRegisterIOReadHandler)(void *self, io_read_fn fn, unsigned int port,
					  const char *name, uint8_t sizes);
extern int (*pluginRegisterIOWriteHandler)(void *self, io_write_fn fn, unsigned int port,
					   const char *name, uint8_t sizes);
void pluginRegisterDeviceDevmodel(void *plugin, uint16_t type, void *device, const char *name);
int timer_register(void *system, void *self, void (*fn)(void *self), uint32_t usec, bool repeat,
		   bool active, const char *name) //
	__asm__("_ZN14bx_pc_system_c14register_timerEPvPFvS0_EjbbPKc");
uint64_t time_usec(void *system) __asm__("_ZN14bx_pc_system_c9time_usecEv");
/* Static members. Neither may cross a page. */
void dma_read(uint64_t addr, uint32_t len, void *to) //
	__asm__("_ZN8BX_MEM_C19dmaReadPhysicalPageEmjPh");
void dma_write(uint64_t addr, uint32_t len, const void *from) //
	__asm__("_ZN8BX_MEM_C20dmaWritePhysicalPageEmjPh");

enum {
	PLUGIN_INIT = 1,
	PLUGIN_PROBE = 2,
	PLUGIN_OPTIONAL = 4,
	SIZES_DWORD = 4,
	TICK_USEC = 1000,
};

/* --- Calls --- */

static int requests, replies;
static int listening[LAB_PORTS], client[LAB_PORTS];
static char buffer[LAB_FRAME_MAX];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lab device: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void guest_copy(uint64_t addr, void *at, uint32_t len, bool write)
{
	for (uint32_t n; len; len -= n, addr += n, at = (char *)at + n) {
		n = 4096 - addr % 4096;
		if (n > len)
			n = len;
		if (write)
			dma_write(addr, n, at);
		else
			dma_read(addr, n, at);
	}
}

static void server_io(char *at, size_t len, bool to)
{
	while (len) {
		ssize_t n = to ? write(requests, at, len) : read(replies, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			die("the file server");
		at += n;
		len -= n;
	}
}

static int32_t call_9p(const struct lab_call *c)
{
	uint32_t size;

	guest_copy(c->out, buffer, c->out_size, false);
	server_io(buffer, c->out_size, true);
	server_io(buffer, sizeof(size), false);
	memcpy(&size, buffer, sizeof(size));
	if (size < 7 || size > sizeof(buffer)) {
		errno = EPROTO;
		die("the file server");
	}
	server_io(buffer + sizeof(size), size - sizeof(size), false);
	if (size > c->in_size)
		return -2;
	guest_copy(c->in, buffer, size, true);
	return size;
}

/* What recv() or send() gave; a client that is gone is let go. */
static int32_t client_result(uint32_t port, ssize_t n)
{
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	close(client[port]);
	client[port] = -1;
	return 0;
}

static int32_t call_port(const struct lab_call *c, bool write)
{
	ssize_t n;

	if (c->port >= LAB_PORTS)
		return -2;
	if (client[c->port] < 0)
		return 0;
	if (write) {
		guest_copy(c->out, buffer, c->out_size, false);
		n = send(client[c->port], buffer, c->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
	} else {
		n = recv(client[c->port], buffer, c->in_size, MSG_DONTWAIT);
		if (n > 0)
			guest_copy(c->in, buffer, n, true);
	}
	return client_result(c->port, n);
}

/* Polls all sockets; takes new clients. */
static void sockets_poll(struct pollfd fds[LAB_PORTS], int timeout_ms)
{
	for (int i = 0; i < LAB_PORTS; i++)
		fds[i] = (struct pollfd){ .fd = client[i] < 0 ? listening[i] : client[i],
					  .events = client[i] < 0 ? POLLIN : POLLIN | POLLOUT };
	if (poll(fds, LAB_PORTS, timeout_ms) <= 0)
		return;
	for (int i = 0; i < LAB_PORTS; i++)
		if (fds[i].revents && client[i] < 0) {
			client[i] = accept4(listening[i], NULL, NULL, SOCK_CLOEXEC);
			fds[i].revents = 0;
		}
}

static int32_t call_state(const struct lab_call *c)
{
	struct pollfd fds[LAB_PORTS];
	struct lab_state s = { 0 };

	if (c->in_size != sizeof(s))
		return -2;
	sockets_poll(fds, 0);
	for (int i = 0; i < LAB_PORTS; i++) {
		if (client[i] < 0)
			continue;
		s.connected |= 1U << i;
		if (fds[i].revents & ~POLLOUT)
			s.readable |= 1U << i;
		if (fds[i].revents & POLLOUT)
			s.writable |= 1U << i;
	}
	guest_copy(c->in, &s, sizeof(s), true);
	return sizeof(s);
}

static void on_write(void *self, uint32_t port, uint32_t value, unsigned int len)
{
	struct lab_call c;

	guest_copy(value, &c, sizeof(c), false);
	if (c.out_size > sizeof(buffer) || c.in_size > sizeof(buffer))
		c.result = -2;
	else if (c.op == LAB_OP_9P)
		c.result = call_9p(&c);
	else if (c.op == LAB_OP_READ || c.op == LAB_OP_WRITE)
		c.result = call_port(&c, c.op == LAB_OP_WRITE);
	else if (c.op == LAB_OP_STATE)
		c.result = call_state(&c);
	else
		c.result = -2;
	guest_copy(value, &c, sizeof(c), true);
}

static uint32_t on_read(void *self, uint32_t port, unsigned int len)
{
	return LAB_IO_PORT; /* the driver looks whether the device is there */
}

/* --- Time --- */

static uint64_t real_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

static void hold(void *self)
{
	static uint64_t real_base, base;
	uint64_t now = time_usec(bx_pc_system), real = real_usec();
	struct pollfd fds[LAB_PORTS];
	bool wanted = false;

	for (int i = 0; i < LAB_PORTS; i++)
		wanted |= client[i] >= 0;
	if (!wanted && now - base > real - real_base + TICK_USEC)
		sockets_poll(fds, (now - base - (real - real_base)) / 1000);
	else if (wanted || now - base < real - real_base)
		base = now, real_base = real;
}

/* --- Start --- */

static void sockets_open(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	for (int i = 0; i < LAB_PORTS; i++) {
		client[i] = -1;
		if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/port%d", dir, i) >=
		    (int)sizeof(sa.sun_path)) {
			errno = ENAMETOOLONG;
			die(dir);
		}
		listening[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (listening[i] < 0 || bind(listening[i], (struct sockaddr *)&sa, sizeof(sa)) ||
		    listen(listening[i], 1))
			die(sa.sun_path);
	}
}

static int fifo_open(const char *dir, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static void device_init(void *self)
{
	const char *dir = getenv("LAB_DIR");

	if (!dir) {
		errno = EINVAL;
		die("LAB_DIR");
	}
	requests = fifo_open(dir, "9p.requests", O_WRONLY);
	replies = fifo_open(dir, "9p.replies", O_RDONLY);
	sockets_open(dir);
	pluginRegisterIOReadHandler(self, on_read, LAB_IO_PORT, "lab", SIZES_DWORD);
	pluginRegisterIOWriteHandler(self, on_write, LAB_IO_PORT, "lab", SIZES_DWORD);
	timer_register(bx_pc_system, self, hold, TICK_USEC, true, true, "lab");
}

static void nothing(void *self)
{
}

/* A bx_devmodel_c: two destructors, init, reset, register_state, after_restore_state. */
static void (*const methods[])(void *self) = { nothing, nothing, device_init,
					       nothing, nothing, nothing };
static struct {
	void (*const *methods)(void *self);
	char base[256]; /* logfunctions: not used */
} device = { .methods = methods };

int liblab_plugin_entry(void *plugin, uint16_t type, uint8_t mode)
{
	if (mode == PLUGIN_INIT)
		pluginRegisterDeviceDevmodel(plugin, type, &device, "lab");
	return mode == PLUGIN_PROBE ? PLUGIN_OPTIONAL : 0;
}
