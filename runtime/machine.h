/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the VMM process: the one machine, and who may touch what.
 *
 * Legend: (c) constant once the threads run, [m] lock, {v} vCPU thread only
 */
#ifndef VMBOX_MACHINE_H
#define VMBOX_MACHINE_H

#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "pic.h"
#include "pit.h"
#include "record.h"
#include "request.h"
#include "ring.h"
#include "vmm.h"

/* Moves bytes between one ring and one descriptor, in a thread of its own. */
struct pump {
	struct machine *machine; /* (c) */
	struct ring ring;	 /* its thread's, but while it waits */
	int fd;			 /* (c) */
	bool is_fs;		 /* (c) the end of fd is the end of the VM */
	bool asks;		 /* (c) fd gives bytes when it gets one */
	uint64_t left;		 /* its thread's: bytes that may still go out */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool waiting;	  /* [lock] for the guest's doorbell */
	bool woken;	  /* [lock] */
	bool finished;	  /* [lock] nothing will be moved any more */
	uint32_t moved;	  /* [lock] our counter, as far as bytes are out */
	atomic_int error; /* errno that made the descriptor lose bytes */
};

enum {
	PUMP_STDIN,
	PUMP_STDOUT,
	PUMP_STDERR,
	PUMP_FS_IN, /* from the server to the guest */
	PUMP_FS_OUT,
	PUMP_RW_IN, /* the same, for what is not cached */
	PUMP_RW_OUT,
	NR_PUMPS
};

struct machine {
	const struct vmm_config *config; /* (c) */
	int vm, vcpu;			 /* (c) */
	struct kvm_run *run;		 /* {v}, and immediate_exit by the signal handler */
	uint8_t *ram, *region;		 /* (c) shared with the guest */
	uint64_t start_ns;		 /* (c) */

	pthread_mutex_t lock;
	pthread_cond_t irq_cond; /* with lock: an interrupt is pending */
	struct pic pic;		 /* [m] */
	pid_t pid, vcpu_tid;	 /* (c) */
	bool in_run;		 /* [m] the vCPU is in, or about to enter, KVM_RUN */

	struct pit pit; /* {v} */
	int timer;	/* (c) timerfd behind IRQ 0 */

	struct ring console;	     /* {v} */
	char tail[VMM_CONSOLE_TAIL]; /* {v} circular */
	size_t tail_pos;	     /* {v} bytes ever */

	struct ring control_in, control_out; /* its thread's, but while it waits */
	pthread_mutex_t control_lock;
	pthread_cond_t control_cond;
	struct ring *control_waits; /* [control_lock] NULL: its thread is busy */
	bool control_woken;	    /* [control_lock] */
	pthread_mutex_t send_lock;  /* whole messages go into control_out */
	bool run_sent;		    /* [send_lock] the guest knows its program */
	sem_t may_go_on;
	atomic_bool powered_off; /* no STATUS comes any more */

	struct pump pumps[NR_PUMPS];
};

uint64_t machine_now(const struct machine *m);
void machine_raise(struct machine *m, unsigned int irq);
_Noreturn void machine_end(struct machine *m, enum vmm_reason reason,
			   const struct pvio_status *status, const char *text);
void machine_ask(struct machine *m, enum vmm_reason question);
void machine_say_stopped(struct machine *m);
void machine_take_console(struct machine *m);
void machine_console_tail(const struct machine *m, char to[VMM_CONSOLE_TAIL + 1]);

void pump_init(struct machine *m, unsigned int i, int fd, unsigned int channel,
	       unsigned int direction);
void *pump_thread(void *pump);
void pump_wake(struct pump *p);
void pump_drain(struct pump *p);

void *control_thread(void *machine);
void *order_thread(void *machine);
void control_wake(struct machine *m);

void *timer_thread(void *machine);
_Noreturn void vcpu_loop(struct machine *m);

#endif
