// SPDX-License-Identifier: GPL-2.0-only
/*
 * testvmm [--device PATH] IMAGE: runs a multiboot (v1) image that has address
 * fields, in 16 MiB, over the KVM API. Port 0xE9 is text, 0xF4 the exit status.
 * The guest starts in 32-bit protected mode with paging off. 120 s, then it is hung.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY	  (16U << 20)
#define MULTIBOOT 0x1badb002U

struct multiboot {
	uint32_t magic, flags, checksum, header, load, load_end, bss_end, entry;
};

static void fail(const char *what)
{
	fprintf(stderr, "testvmm: %s: %s\n", what, strerror(errno));
	exit(125);
}

static int checked(int ret, const char *what)
{
	if (ret < 0)
		fail(what);
	return ret;
}

static void *map(size_t size, int flags, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

/* Loads by the header's address fields; returns the entry. */
static uint32_t load(const char *path, uint8_t *mem)
{
	static uint8_t file[1 << 20];
	int fd = checked(open(path, O_RDONLY), path);
	size_t size = checked(read(fd, file, sizeof(file)), path), i;
	struct multiboot m;

	close(fd);
	for (i = 0; i + sizeof(m) <= size && i < 8192; i += 4) {
		memcpy(&m, file + i, sizeof(m));
		if (m.magic != MULTIBOOT || m.magic + m.flags + m.checksum || !(m.flags & 0x10000))
			continue;
		i -= m.header - m.load;
		if (m.load_end > MEMORY || m.load > m.load_end || i + m.load_end - m.load > size)
			break;
		memcpy(mem + m.load, file + i, m.load_end - m.load);
		return m.entry;
	}
	errno = ENOEXEC;
	fail(path);
	return 0;
}

static void set_registers(int vcpu, uint32_t entry)
{
	struct kvm_segment code = {
		.limit = ~0U, .selector = 8, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_regs regs = { .rip = entry, .rflags = 2, .rax = 0x2badb002 };
	struct kvm_sregs s;

	checked(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.cr0 = 0x11;
	s.cr3 = s.cr4 = s.efer = 0;
	s.apic_base = 0;
	checked(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void set_cpuid(int device, int vcpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 100 * sizeof(c->entries[0]));

	c->nent = 100;
	checked(ioctl(device, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	checked(ioctl(vcpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
}

static int run(int vcpu, struct kvm_run *run)
{
	for (;;) {
		const uint8_t *data = (uint8_t *)run + run->io.data_offset;

		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			fail("KVM_RUN");
		}
		data = (uint8_t *)run + run->io.data_offset;
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT) {
			if (run->io.port == 0xe9) {
				putchar(*data);
				continue;
			}
			if (run->io.port == 0xf4)
				return *data;
		}
		break;
	}
	struct kvm_regs regs = { 0 };
	struct kvm_sregs s = { 0 };

	ioctl(vcpu, KVM_GET_REGS, &regs);
	ioctl(vcpu, KVM_GET_SREGS, &s);
	fflush(stdout);
	fprintf(stderr,
		"testvmm: the guest ended by exit %u (%#llx) at rip %#llx, cr0 %#llx cr2 %#llx cr3 "
		"%#llx cr4 %#llx efer %#llx\n",
		run->exit_reason, (unsigned long long)run->mmio.phys_addr,
		(unsigned long long)regs.rip, (unsigned long long)s.cr0, (unsigned long long)s.cr2,
		(unsigned long long)s.cr3, (unsigned long long)s.cr4, (unsigned long long)s.efer);
	return 124;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	const char *path = "/dev/vmbox";
	int device, vm, vcpu, size;
	struct kvm_run *state;
	uint8_t *mem;

	if (argc > 2 && !strcmp(argv[1], "--device")) {
		path = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: testvmm [--device PATH] IMAGE\n");
		return 125;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(120);
	device = checked(open(path, O_RDWR | O_CLOEXEC), path);
	vm = checked(ioctl(device, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	mem = map(MEMORY, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	region.userspace_addr = (uintptr_t)mem;
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	size = checked(ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	state = map(size, MAP_SHARED, vcpu);
	set_cpuid(device, vcpu);
	set_registers(vcpu, load(argv[1], mem));
	return run(vcpu, state);
}
