/* SPDX-License-Identifier: GPL-2.0-only */
/* `vmbox version`. */
#ifndef VMBOX_VERSION_H
#define VMBOX_VERSION_H

#define DRIVER_TEXT_MAX 192

/* The loaded driver: its name, version and what it was built from; or that there is none. */
void version_driver(char text[DRIVER_TEXT_MAX]);

/* Prints all versions, on stdout. The exit status. */
int version_print(const char *device, const char *guest_dir);

#endif
