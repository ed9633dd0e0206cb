/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Intel lab's device, between driver.c (Linux in Bochs) and device.c (a
 * plugin of Bochs): the guest writes the physical address of a struct lab_call,
 * below 4 GiB, to an I/O port, and the call is done when the instruction is.
 * There are no interrupts: the driver asks for the ports' state at each tick.
 */
#ifndef LAB_DEVICE_H
#define LAB_DEVICE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define LAB_IO_PORT 0x5600

enum lab_op {
	LAB_OP_9P = 1, /* a request of 9P2000.L and room for its reply; result: the reply's size */
	LAB_OP_READ,   /* of a port; result: bytes, 0 without a client, -1 none now */
	LAB_OP_WRITE,  /* to a port; likewise */
	LAB_OP_STATE,  /* of all ports, a struct lab_state; result: its size */
};

/* Addresses are physical, of memory that is contiguous. */
struct lab_call {
	uint64_t out, in; /* what the device reads and writes */
	uint32_t out_size, in_size;
	uint32_t op, port;
	int32_t result; /* written last; -2: the call makes no sense */
	uint32_t zero;
};

/* Bit N: port N. */
struct lab_state {
	uint32_t connected, readable, writable;
};

#endif
