/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * pvio: the paravirtual channels between a vmbox guest and its VMM.
 *
 * Both sides share one region of guest-physical memory at PVIO_GPA. It holds
 * one header page and, for every channel, two single-producer single-consumer
 * byte rings: one towards the guest, one towards the host. Everything about
 * the geometry is a constant of this file: nothing that either side writes
 * into the region can change where a ring is or how large it is.
 *
 * Rules, for both sides and both directions:
 *  - prod and cons are free-running 32-bit counters; the offset into a ring is
 *    counter & (PVIO_RING_SIZE - 1), the fill is prod - cons (unsigned). A peer
 *    whose counters give a fill over PVIO_RING_SIZE has broken the protocol.
 *  - Each counter is read once into a local, checked, and only the local used.
 *  - The producer writes data, then prod (release). The consumer reads prod
 *    (acquire), then data, then writes cons (release).
 *  - PVIO_CLOSED, once set, stays. A closed producer means end-of-file after
 *    the bytes that are in the ring. A closed consumer means that nobody will
 *    read (EPIPE for the producer).
 *  - Before it sleeps a side sets PVIO_WAITING in its own flags, issues a full
 *    barrier and looks at the peer's counter again. After it moved its counter
 *    or closed, a side issues a full barrier and rings the doorbell if the
 *    peer's PVIO_WAITING is set. The owner of a flag clears it.
 *  - A producer whose flags have PVIO_ON_DEMAND, from before the boot on, fills the ring only
 *    when it is empty and the consumer has PVIO_WAITING set; the consumer rings the doorbell
 *    whenever it sets that. So only what the program waits for is taken from the caller's stdin.
 *
 * Doorbells: the guest writes 32 bits to PVIO_PORT; the host raises PVIO_IRQ
 * (8259, edge, ended automatically: no EOI, so that an interrupt costs no exit
 * beyond its delivery). Neither says which ring moved: the receiver looks at all.
 */
#ifndef VMBOX_PVIO_H
#define VMBOX_PVIO_H

#include <linux/types.h>

#define PVIO_MAGIC   0x4f495650 /* "PVIO" */
#define PVIO_VERSION 4

#define PVIO_GPA  0xd0000000ULL /* guest-physical base of the region */
#define PVIO_PORT 0x0d00	/* doorbell port, 32-bit writes only */
#define PVIO_IRQ  5

/* Values that the guest writes to PVIO_PORT; anything else ends the VM. */
#define PVIO_DB_KICK	 0 /* a ring moved */
#define PVIO_DB_POWEROFF 1 /* the guest is done */
#define PVIO_DB_PANIC	 2 /* the guest kernel panicked; the console has it */

/* Channels. A direction that a channel does not use stays empty. */
#define PVIO_CH_CONTROL	 0 /* struct pvio_msg, both directions */
#define PVIO_CH_STDIN	 1 /* to the guest */
#define PVIO_CH_STDOUT	 2 /* to the host */
#define PVIO_CH_STDERR	 3 /* to the host */
#define PVIO_CH_9P	 4 /* 9P2000.L, both directions: what the guest may cache */
#define PVIO_CH_CONSOLE	 5 /* guest kernel messages, to the host */
#define PVIO_CH_9P_RW	 6 /* 9P2000.L, both directions: what it may change */
#define PVIO_NR_CHANNELS 7

#define PVIO_TO_GUEST 0
#define PVIO_TO_HOST  1

#define PVIO_CLOSED    1 /* flags of either side of a ring */
#define PVIO_WAITING   2
#define PVIO_ON_DEMAND 4

#define PVIO_RING_SIZE	 (64U * 1024) /* bytes of data per ring, a power of two */
#define PVIO_HEADER_SIZE 4096U
#define PVIO_REGION_SIZE (PVIO_HEADER_SIZE + PVIO_NR_CHANNELS * 2U * PVIO_RING_SIZE)
/* Offset of a ring's data in the region. */
#define PVIO_RING_OFFSET(ch, dir) (PVIO_HEADER_SIZE + ((ch)*2U + (dir)) * PVIO_RING_SIZE)

struct pvio_ring {
	__u32 prod; /* written by the producer only */
	__u32 prod_flags;
	__u8 pad0[56];
	__u32 cons; /* written by the consumer only */
	__u32 cons_flags;
	__u8 pad1[56];
};

/* At offset 0 of the region. The host writes magic and version before boot. */
struct pvio_header {
	__u32 magic;
	__u32 version;
	__u8 pad[120];
	struct pvio_ring ring[PVIO_NR_CHANNELS][2];
};

_Static_assert(sizeof(struct pvio_ring) == 128, "pvio_ring has a hole");
_Static_assert(sizeof(struct pvio_header) <= PVIO_HEADER_SIZE, "header page");

/*
 * The control channel. Every message is this head and len bytes.
 *   host  -> guest: RUN, once; then SIGNAL and WINSIZE at any time. COMMIT, as the answer to
 *                   the guest's.
 *   guest -> host:  READY once guest-init runs, STOPPED whenever the program has stopped, then
 *                   STATUS once. If there is an overlay to commit and the program has exited
 *                   with 0, COMMIT before STATUS: from the answer on its files may be
 *                   changed, and STATUS says if all went well.
 */
#define PVIO_MSG_RUN	 1 /* struct pvio_run, mounts, strings */
#define PVIO_MSG_READY	 2 /* no payload */
#define PVIO_MSG_STATUS	 3 /* struct pvio_status, text */
#define PVIO_MSG_COMMIT	 4 /* no payload */
#define PVIO_MSG_SIGNAL	 5 /* struct pvio_signal */
#define PVIO_MSG_WINSIZE 6 /* struct pvio_winsize */
#define PVIO_MSG_STOPPED 7 /* no payload */

struct pvio_msg {
	__u32 type; /* PVIO_MSG_* */
	__u32 len;  /* bytes that follow */
};

#define PVIO_RUN_MAX	(2U * 1024 * 1024) /* payload of RUN */
#define PVIO_MAX_MOUNTS 256

/*
 * RUN: this structure; nr_mounts x struct pvio_mount; then NUL-terminated
 * strings without gaps: path of the program, working directory, host name,
 * nr_argv arguments, nr_env NAME=VALUE, and two for each mount: the absolute
 * path in the guest, and the target of a symlink ("" for the other kinds).
 */
struct pvio_winsize { /* as struct winsize */
	__u16 rows, columns, x_pixels, y_pixels;
};

/* The terminal that the program gets, as the caller's is: struct termios of x86 Linux. */
struct pvio_terminal {
	struct pvio_winsize size;
	__u32 iflag, oflag, cflag, lflag;
	__u8 cc[19];
	__u8 streams; /* bit N: descriptor N is the terminal; 0: there is none */
	__u32 reserved;
};

struct pvio_run {
	__u64 time_sec; /* CLOCK_REALTIME when the message was written */
	__u32 time_nsec;
	__u32 uid;
	__u32 gid;
	__u32 nr_argv;
	__u32 nr_env;
	__u32 nr_mounts;
	__u64 file_size; /* RLIMIT_FSIZE; ~0: none */
	__u32 files;	 /* RLIMIT_NOFILE; 0: the usual */
	__u32 pids;	 /* processes and threads of the program at a time; 0: not limited */
	struct pvio_terminal terminal; /* its input comes by STDIN, its output goes to STDOUT */
};

struct pvio_signal {
	__u32 number;
	__u32 to_group; /* 0: to the program's process only; 1: to its process group */
};

#define PVIO_MOUNT_DIR	   1 /* bind directory "<export>" of the 9P root */
#define PVIO_MOUNT_FILE	   2 /* bind file "<export>" of the 9P root */
#define PVIO_MOUNT_SYMLINK 3 /* make a symbolic link */
#define PVIO_MOUNT_OVERLAY 4 /* directory "<export>" below, a tmpfs of the guest's above */

/* Flags. */
#define PVIO_MOUNT_RW	  1 /* of DIR and FILE: by PVIO_CH_9P_RW, not to be cached */
#define PVIO_MOUNT_DIFF	  2 /* of OVERLAY: list what was changed on stderr at the end */
#define PVIO_MOUNT_COMMIT 4 /* of OVERLAY: change the host's files at the end, by PVIO_CH_9P_RW */

/* The mounts come in an order in which each may be beneath those before it. */
struct pvio_mount {
	__u32 kind;	/* PVIO_MOUNT_* */
	__u32 export;	/* name in the 9P root, in decimal */
	__u32 flags;	/* PVIO_MOUNT_RW, ... */
	__u32 reserved; /* 0 */
	__u64 size;	/* of an overlay's tmpfs, in bytes; 0: not limited but by memory */
};

#define PVIO_EXITED	    1 /* value: exit status 0..255 */
#define PVIO_SIGNALED	    2 /* value: signal number */
#define PVIO_EXEC_FAILED    3 /* value: errno of execve */
#define PVIO_SETUP_FAILED   4 /* value: errno; text says what failed */
#define PVIO_CHANGES_FAILED 5 /* value: errno; text says of which overlay's changes */

#define PVIO_STATUS_OOM	 1 /* flags: the guest's OOM killer ended a process */
#define PVIO_STATUS_CORE 2 /* flags: WCOREDUMP */
#define PVIO_STATUS_PIDS 4 /* flags: a fork was refused because of pids */

#define PVIO_STATUS_TEXT_MAX 256

/* STATUS: this and up to PVIO_STATUS_TEXT_MAX bytes of text. */
struct pvio_status {
	__u32 kind; /* PVIO_EXITED, ... */
	__u32 value;
	__u32 flags;
	__u32 reserved;
	__u64 user_us; /* CPU time of the program and its waited-for children */
	__u64 system_us;
	__u64 max_rss_kib;
};

#endif /* VMBOX_PVIO_H */
