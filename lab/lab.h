/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LAB_LAB_H
#define LAB_LAB_H

/* agent.c: serves the virtio-serial port (a device path) for ever. */
_Noreturn void agent_run(const char *port);

#endif
