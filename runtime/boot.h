/* SPDX-License-Identifier: GPL-2.0-only */
/* Puts a Linux kernel into guest memory, ready to be entered in 64-bit mode. */
#ifndef VMBOX_BOOT_H
#define VMBOX_BOOT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_LOW_LIMIT (3ULL << 30) /* RAM above it starts at 4 GiB */
#define GUEST_HIGH_BASE (4ULL << 30)

struct blob {
	const uint8_t *data;
	size_t size;
};

struct boot_config {
	struct blob kernel; /* ELF vmlinux */
	struct blob initrd;
	const char *cmdline;
	uint64_t memory; /* bytes, all of it, a multiple of 2 MiB */
	uint8_t *ram;	 /* memory bytes: low RAM, then what lies above 4 GiB */
	uint8_t seed[32];
};

struct boot_entry {
	uint64_t rip, rsi, rsp;
};

/* NULL, or what is wrong. Untrusted files are checked; guest memory is written only inside ram. */
const char *boot_load(const struct boot_config *config, struct boot_entry *entry);
void boot_sregs(struct kvm_sregs *sregs);

#endif
