// SPDX-License-Identifier: GPL-2.0-only
/* The VM of the driver tests, over the KVM API alone. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

const char *device = "/dev/vmbox";

void fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(77);
}

uint64_t *vm_entry(struct vm *vm, uint64_t gpa)
{
	return (uint64_t *)(vm->mem + gpa);
}

static void make_tables(struct vm *vm)
{
	int i;

	*vm_entry(vm, PML4) = PDPT | 7;
	*vm_entry(vm, PDPT) = PD | 7;
	for (i = 0; i < 512; i++)
		*vm_entry(vm, PD + i * 8) = ((uint64_t)i << 21) | 0x83;
	*vm_entry(vm, PD + 8) = PT | 7;
	for (i = 0; i < 512; i++)
		*vm_entry(vm, PT + i * 8) = (DATA + ((uint64_t)i << 12)) | 3;
}

static void make_idt(struct vm *vm)
{
	extern const uint8_t guest_stubs[], guest_stubs_end[];
	int i;

	memcpy(vm->mem + STUBS, guest_stubs, guest_stubs_end - guest_stubs);
	*vm_entry(vm, GDT + 8) = 0x00af9b000000ffffULL;	 /* 64-bit code */
	*vm_entry(vm, GDT + 16) = 0x00cf93000000ffffULL; /* data */
	for (i = 0; i < 256; i++) {
		uint64_t target = STUBS + i * 16;

		*vm_entry(vm, IDT + i * 16) = (target & 0xffff) | 8 << 16 | 0x8eULL << 40 |
					      (target >> 16 & 0xffff) << 48;
	}
}

struct kvm_segment vm_segment(uint16_t selector, uint8_t type, bool is_64)
{
	return (struct kvm_segment){ .limit = ~0U,
				     .selector = selector,
				     .type = type,
				     .dpl = selector & 3,
				     .present = 1,
				     .s = 1,
				     .l = is_64,
				     .db = !is_64,
				     .g = 1 };
}

static void set_sregs(struct vm *vm)
{
	const struct kvm_segment data = vm_segment(16, 3, false);
	struct kvm_segment tss = { .limit = 0x67, .type = 11, .present = 1 };
	struct kvm_sregs s;

	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	s.cs = vm_segment(8, 11, true);
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = tss;
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.gdt.base = GDT;
	s.gdt.limit = 23;
	s.idt.base = IDT;
	s.idt.limit = 4095;
	s.cr0 = 0x80010033; /* PG WP NE ET MP PE */
	s.cr3 = PML4;
	s.cr4 = 0x620;	/* OSXMMEXCPT OSFXSR PAE */
	s.efer = 0xd01; /* NX LMA LME SCE */
	s.apic_base = 0;
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_SREGS, &s), 0);
}

static void set_cpuid(struct vm *vm)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 64 * sizeof(c->entries[0]));

	c->nent = 64;
	CHECK_EQ(ioctl(vm->dev, KVM_GET_SUPPORTED_CPUID, c), 0);
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_CPUID2, c), 0);
	free(c);
}

void vm_open(struct vm *vm)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEM_SIZE };

	vm->dev = open(device, O_RDWR | O_CLOEXEC);
	if (vm->dev < 0)
		FAIL("%s: %m", device);
	do { /* the alarm of the VM before may come now */
		vm->fd = ioctl(vm->dev, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		FAIL("KVM_CREATE_VM: %m");
	region.userspace_addr = (uintptr_t)vm->mem;
	CHECK_EQ(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region), 0);
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	CHECK(vm->vcpu >= 0);
	vm->run_size = ioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	CHECK(vm->run != MAP_FAILED);
	set_cpuid(vm);
	set_sregs(vm);
	vm->regs = (struct kvm_regs){ .rip = CODE, .rsp = STACK, .rflags = 2 };
}

void vm_close(struct vm *vm)
{
	munmap(vm->run, vm->run_size);
	close(vm->vcpu);
	close(vm->fd);
	close(vm->dev);
}

void vm_create(struct vm *vm)
{
	vm->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(vm->mem != MAP_FAILED);
	make_tables(vm);
	make_idt(vm);
	vm_open(vm);
}

void vm_destroy(struct vm *vm)
{
	vm_close(vm);
	munmap(vm->mem, MEM_SIZE);
}

void vm_load(struct vm *vm, const uint8_t *start, const uint8_t *end)
{
	memcpy(vm->mem + CODE, start, end - start);
}

void vm_start(struct vm *vm)
{
	CHECK_EQ(ioctl(vm->vcpu, KVM_SET_REGS, &vm->regs), 0);
}

/* EINTR without a signal of ours: the kernel had work for the thread. KVM clients go on. */
int vm_run(struct vm *vm)
{
	int ret;

	do
		ret = ioctl(vm->vcpu, KVM_RUN, 0);
	while (ret && errno == EINTR);
	return ret ? -errno : (int)vm->run->exit_reason;
}

/* Runs to an OUT on @port and returns what it wrote. Anything else fails the test. */
uint32_t vm_expect_out(struct vm *vm, uint16_t port)
{
	uint32_t value = 0;
	int reason = vm_run(vm);

	if (reason != KVM_EXIT_IO || vm->run->io.direction != KVM_EXIT_IO_OUT ||
	    vm->run->io.port != port) {
		struct kvm_regs regs = { 0 };

		ioctl(vm->vcpu, KVM_GET_REGS, &regs);
		FAIL("exit %d (port %#x) at rip %#llx, not OUT to port %#x", reason,
		     reason == KVM_EXIT_IO ? vm->run->io.port : 0, regs.rip, port);
	}
	memcpy(&value, (uint8_t *)vm->run + vm->run->io.data_offset, vm->run->io.size);
	return value;
}

void vm_expect_sum(struct vm *vm, uint32_t a)
{
	vm->regs.rax = a;
	vm->regs.rbx = 2;
	vm_start(vm);
	CHECK_EQ(vm_expect_out(vm, 0x10), a + 2);
}

/* Runs to a fault of the guest. @error and @cr2 below 0 are not looked at. */
void vm_expect_fault(struct vm *vm, uint32_t vector, int64_t error, int64_t cr2)
{
	uint32_t value;

	CHECK_EQ(vm_expect_out(vm, 0x11), vector);
	value = vm_expect_out(vm, 0x11);
	if (error >= 0)
		CHECK_EQ(value, error);
	value = vm_expect_out(vm, 0x11);
	if (cr2 >= 0)
		CHECK_EQ(value, (uint32_t)cr2);
	CHECK_EQ(vm_run(vm), KVM_EXIT_HLT);
}

bool on_tcg(void)
{
	uint32_t eax, name[3];

	__cpuid(0x40000000, eax, name[0], name[1], name[2]);
	return !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
}

const struct test *choose_test(const struct test *tests, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!name)
			puts(tests[i].name);
		else if (!strcmp(name, tests[i].name))
			return &tests[i];
	}
	exit(name ? 2 : 0);
}
