/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lab's wire: what `client` on the machine and `agent` in the lab say to
 * each other over one virtio-serial port, and the pump that both run.
 *
 * A stream is a source on one side and a sink on the other. A source sends no
 * more than LAB_WINDOW bytes that the sink has not acknowledged, so a full
 * stream never holds up the others, and neither side buffers without bound.
 * The two sides trust each other; the port is the user's own (mode 0700).
 */
#ifndef LAB_WIRE_H
#define LAB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_WINDOW    (256 * 1024)
#define LAB_FRAME_MAX (2 * 1024 * 1024)
#define LAB_NONCE     16
#define LAB_PORTS     16

enum lab_frame_type {
	LAB_HELLO = 0x6c616201, /* nonce; the agent returns it. Starts a session anew. */
	LAB_RUN,		/* struct lab_run and strings */
	LAB_DATA,		/* bytes of a stream */
	LAB_ACK,		/* uint32_t: bytes the sink has disposed of */
	LAB_CLOSE,		/* from the source: end of file; from the sink: nobody reads */
	LAB_WINCH,		/* struct lab_size */
	LAB_SIGNAL,		/* int32_t */
	LAB_EXIT,		/* int32_t: exit status, 128+N for signal N */
};

struct lab_frame {
	uint32_t type;
	uint32_t stream;
	uint32_t len;
};

struct lab_size {
	uint16_t rows, cols;
};

/* Then NUL-terminated: the directory, argc arguments, envc NAME=VALUE. */
struct lab_run {
	uint32_t tty_mask; /* bit N: descriptor N is the terminal */
	struct lab_size size;
	uint32_t argc, envc;
};

/* Streams. Terminal input is LAB_STDIN; its output has a stream of its own. */
enum {
	LAB_STDIN,
	LAB_STDOUT,
	LAB_STDERR,
	LAB_TTY,
	LAB_STREAMS
};

struct lab_stream {
	int fd; /* -1: closed here */
	bool source;
	bool keep;	  /* fd is shared: not closed with the stream */
	bool ending;	  /* sink: close once buf is empty */
	uint32_t unacked; /* source */
	uint32_t len;	  /* sink: bytes in buf */
	char buf[LAB_WINDOW];
};

struct lab_pump {
	int wire;
	struct lab_stream stream[LAB_STREAMS];
	char *in, *out;
	size_t in_len, out_len, out_off;
	/* Frames that are not the pump's own; payload is valid for the call. */
	void (*other)(struct lab_pump *p, const struct lab_frame *f, const char *payload);
};

void lab_pump_init(struct lab_pump *p, int wire);
void lab_pump_source(struct lab_pump *p, int id, int fd);
void lab_pump_sink(struct lab_pump *p, int id, int fd);
void lab_pump_send(struct lab_pump *p, uint32_t type, uint32_t stream, const void *payload,
		   uint32_t len);
/* One round, woken also by `wake`, a descriptor. False: the wire is gone. */
bool lab_pump_round(struct lab_pump *p, int wake, int timeout_ms);
/* Sends on what the source can give at once, whatever the window. */
void lab_pump_drain(struct lab_pump *p, int id);
/* All that was sent is written, or the wire is gone (false). */
bool lab_pump_flush(struct lab_pump *p);

#endif
