/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM for the driver tests: 16 MiB, identity page tables of 2 MiB pages, one guest program. */
#ifndef VMBOX_TEST_VM_H
#define VMBOX_TEST_VM_H

#include <linux/kvm.h>
#include <stdint.h>
#include <stdbool.h>
#include <stddef.h>

#define MEM_SIZE (16UL << 20)
#define PML4	 0x1000UL
#define PDPT	 0x2000UL
#define PD	 0x3000UL
#define PT	 0x4000UL /* 4 KiB pages for 2 to 4 MiB, for tests to edit */
#define GDT	 0x5000UL
#define IDT	 0x6000UL
#define STUBS	 0x8000UL
#define CODE	 0x10000UL
#define STACK	 0x20000UL
#define DATA	 0x200000UL /* mapped by PT */

struct vm {
	int dev, fd, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_size;
	struct kvm_regs regs; /* as run_guest() starts it */
};

extern const char *device;

void vm_create(struct vm *vm);	/* all of it */
void vm_destroy(struct vm *vm); /* likewise */
void vm_open(struct vm *vm);	/* over vm->mem, of a VM that was created: another on its memory */
void vm_close(struct vm *vm);	/* all but the memory */
void vm_load(struct vm *vm, const uint8_t *start, const uint8_t *end);
void vm_start(struct vm *vm); /* SET_REGS of vm->regs */
int vm_run(struct vm *vm);    /* exit reason, or -errno */
uint32_t vm_expect_out(struct vm *vm, uint16_t port);
void vm_expect_sum(struct vm *vm, uint32_t a); /* runs the guest add, which is loaded, with @a */
void vm_expect_fault(struct vm *vm, uint32_t vector, int64_t error, int64_t cr2);
uint64_t *vm_entry(struct vm *vm, uint64_t gpa);
/* All of memory, as data (@type 3) or code (11, of 64 bits or 32); its ring is the selector's. */
struct kvm_segment vm_segment(uint16_t selector, uint8_t type, bool is_64);

#define LOAD(vm, name)                                                     \
	do {                                                               \
		extern const uint8_t guest_##name[], guest_##name##_end[]; \
		vm_load(vm, guest_##name, guest_##name##_end);             \
	} while (0)

/* QEMU's CPU, without KVM: what it gets wrong is said where it is asked for. */
bool on_tcg(void);

struct test {
	const char *name;
	void (*fn)(void);
};
#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
/* That of the @n that @name names; of none, exit status 2. Without @name, lists them, and ends. */
const struct test *choose_test(const struct test *tests, size_t n, const char *name);

void fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
/* The test cannot be made on this host: exit status 77, for vmbox selftest; and why, in a line. */
void skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
#define FAIL(...) fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond)                        \
	do {                               \
		if (!(cond))               \
			FAIL("%s", #cond); \
	} while (0)
#define CHECK_EQ(a, b)                                                       \
	do {                                                                 \
		long long a_ = (long long)(a), b_ = (long long)(b);          \
		if (a_ != b_)                                                \
			FAIL("%s is %#llx, not %s = %#llx", #a, a_, #b, b_); \
	} while (0)
#define CHECK_ERRNO(call, err)                                        \
	do {                                                          \
		errno = 0;                                            \
		long r_ = (call);                                     \
		if (r_ != -1 || errno != (err))                       \
			FAIL("%s: %ld, %m; not %s", #call, r_, #err); \
	} while (0)

#endif
