/* SPDX-License-Identifier: GPL-2.0-only */
/* The VMM process: one virtual machine, from its descriptors to its result. */
#ifndef VMBOX_VMM_H
#define VMBOX_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"
#include "vmbox/pvio.h"

struct vmm_config {
	int device;	/* open KVM-API device; consumed */
	int fs_sock[2]; /* 9P streams to the file server: cached, rw; consumed */
	/*
	 * A socket: struct vmm_result, of which the first comes with the descriptor of the driver's
	 * counters; struct vmm_order in. Consumed.
	 */
	int result;
	uint64_t memory; /* bytes */
	uint64_t output; /* bytes of stdout, and of stderr; UINT64_MAX: not limited */
	struct blob kernel, initrd;
	uint8_t *request; /* the RUN message */
	size_t request_size;
	bool verbose;
	bool commits;		   /* there is an overlay that is committed */
	struct record_vmm *record; /* what is counted goes there */
	bool asks;		   /* descriptor 0 is a socket: a byte out asks for some in */
};

enum vmm_reason {
	VMM_PROGRAM_ENDED = 1, /* status and text are guest-init's */
	VMM_SETUP_FAILED,      /* text: the host would not */
	VMM_DEVICE_BUSY,
	VMM_GUEST_PANIC,
	VMM_GUEST_STOPPED, /* reset, triple fault or power-off without a status; text: how */
	VMM_PROTOCOL,	   /* text: what the guest did */
	VMM_LOST_FS,	   /* the file server is gone */
	VMM_OUTPUT_LIMIT,  /* text: of which stream */
	VMM_SIGNALED, /* by the launcher's order before there was a program; status says which */
	VMM_STARTED,  /* not the end: what follows is the guest's doing */
	VMM_STOPPED,  /* not the end: the program has stopped */
	/* Not the end, but questions: */
	VMM_WANTS_RUN,	  /* the guest is ready; its program has written nothing yet */
	VMM_WANTS_COMMIT, /* the program has succeeded, its output is out */
};

#define VMM_CONSOLE_TAIL 2048

/* Written whole, read by the launcher. All of it may be the guest's: text is printable. */
struct vmm_result {
	uint32_t reason;
	struct pvio_status status;
	char text[PVIO_STATUS_TEXT_MAX + 1];
	char console[VMM_CONSOLE_TAIL + 1];	 /* the last lines of the guest kernel */
	uint64_t entered_ns, ready_ns, ended_ns; /* since the VMM started; 0: never */
	int32_t stream_error[3]; /* errno by which stdin, stdout or stderr lost bytes; 0: none */
};

enum vmm_order_kind {
	VMM_SIGNAL = 1, /* for the program; lost if the guest does not take them */
	VMM_WINSIZE,	/* of the program's terminal */
	VMM_GO_ON,	/* in answer to a question */
};

/* Written whole. */
struct vmm_order {
	uint32_t kind;
	struct pvio_signal signal;
	struct pvio_winsize size;
};

/* In a forked child with nothing but the config's descriptors and 0, 1, 2. */
_Noreturn void vmm_main(const struct vmm_config *config);

#endif
