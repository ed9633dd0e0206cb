// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver, asked and attacked through its ioctls. Each test is a process of
 * its own: `driver_test [--device PATH] NAME`; without NAME it lists them.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vm.h"

#define UD 6
#define GP 13
#define PF 14
#define DB 1

/* Starts guest NAME with rax and rbx, in a new VM. */
#define GUEST(var, name, a, b) \
	struct vm var;         \
	vm_create(&var);       \
	LOAD(&var, name);      \
	var.regs.rax = (a);    \
	var.regs.rbx = (b);    \
	vm_start(&var)

static void put_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, val, strlen(val)) < 0)
		FAIL("%s: %m", path);
	close(fd);
}

static long get_file(const char *path)
{
	char buf[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 0)
		FAIL("%s: %m", path);
	close(fd);
	return atol(buf);
}

#define AUDIT "/sys/module/vmbox/parameters/audit"

/* KVM's binary statistics: the value of @name. */
static uint64_t stat_of(int fd, const char *name)
{
	static char file[8192];
	ssize_t size = pread(fd, file, sizeof(file), 0);
	struct kvm_stats_header h;
	uint64_t val = 0;
	uint32_t i;

	CHECK(size > (ssize_t)sizeof(h));
	memcpy(&h, file, sizeof(h));
	for (i = 0; i < h.num_desc; i++) {
		const char *at =
			file + h.desc_offset + i * (sizeof(struct kvm_stats_desc) + h.name_size);
		struct kvm_stats_desc d;

		memcpy(&d, at, sizeof(d));
		if (strcmp(at + sizeof(d), name))
			continue;
		memcpy(&val, file + h.data_offset + d.offset, sizeof(val));
		return val;
	}
	FAIL("there is no counter %s", name);
}

static void test_unknown_ioctls_are_refused(void)
{
	static const unsigned long cmds[] = {
		KVM_CREATE_IRQCHIP,
		KVM_CREATE_PIT2,
		KVM_IRQ_LINE,
		KVM_SET_GSI_ROUTING,
		KVM_IRQFD,
		KVM_IOEVENTFD,
		KVM_CREATE_DEVICE,
		KVM_REGISTER_COALESCED_MMIO,
		KVM_GET_NESTED_STATE,
		KVM_SMI,
		KVM_NMI,
		KVM_SET_MSRS,
		KVM_ENABLE_CAP,
		KVM_MEMORY_ENCRYPT_OP,
		0xdeadbeef,
		0,
	};
	struct vm vm;
	size_t i;

	vm_create(&vm);
	for (i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		CHECK_ERRNO(ioctl(vm.dev, cmds[i], 0), ENOTTY);
		CHECK_ERRNO(ioctl(vm.fd, cmds[i], 0), ENOTTY);
		CHECK_ERRNO(ioctl(vm.vcpu, cmds[i], 0), ENOTTY);
	}
	vm_destroy(&vm);
}

static void test_bad_arguments_are_refused(void)
{
	struct kvm_userspace_memory_region r = { .slot = 1,
						 .guest_phys_addr = MEM_SIZE,
						 .memory_size = 4096 };
	struct kvm_regs regs = { .rflags = 1 << 17 };
	struct kvm_interrupt irq = { .irq = 256 };
	struct kvm_sregs sregs, bad;
	struct kvm_cpuid2 cpuid = { .nent = 1000 };
	struct vm vm;

	vm_create(&vm);
	r.userspace_addr = (uintptr_t)vm.mem;
	CHECK_EQ(ioctl(vm.dev, KVM_GET_API_VERSION, 0), 12);
	CHECK_ERRNO(ioctl(vm.dev, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK_ERRNO(ioctl(vm.dev, KVM_CREATE_VM, 1), EINVAL);
	CHECK_ERRNO(ioctl(vm.fd, KVM_CREATE_VCPU, 1), EINVAL);
	CHECK_ERRNO(ioctl(vm.fd, KVM_CREATE_VCPU, 0), EEXIST);
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_RUN, 1), EINVAL);

#define BAD_REGION(field, value, err)                                           \
	do {                                                                    \
		struct kvm_userspace_memory_region b = r;                       \
		b.field = (value);                                              \
		CHECK_ERRNO(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &b), err); \
	} while (0)
	BAD_REGION(slot, 8, EINVAL);
	BAD_REGION(slot, 0x10001, EINVAL);
	BAD_REGION(flags, 4, EINVAL);
	BAD_REGION(flags, 0x80000000U, EINVAL);
	BAD_REGION(guest_phys_addr, 0x800, EINVAL);
	BAD_REGION(guest_phys_addr, 1UL << 40, EINVAL);
	BAD_REGION(guest_phys_addr, -4096UL, EINVAL);
	BAD_REGION(memory_size, (256UL << 30) + 4096, EINVAL);
	BAD_REGION(guest_phys_addr, 4096, EEXIST);
	BAD_REGION(memory_size, 4095, EINVAL);
	BAD_REGION(memory_size, -4096UL, EINVAL);
	BAD_REGION(userspace_addr, 0, EINVAL);
	BAD_REGION(userspace_addr, 0xffff800000000000UL, EINVAL);
	BAD_REGION(userspace_addr, r.userspace_addr + 8, EINVAL);
	CHECK_ERRNO(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, NULL), EFAULT);

	CHECK_ERRNO(ioctl(vm.vcpu, KVM_SET_REGS, &regs), EINVAL);
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), EINVAL);
	irq.irq = 8;
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), EINVAL);
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_SET_CPUID2, &cpuid), E2BIG);

	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs), 0);
#define BAD_SREGS(field, value)                                           \
	do {                                                              \
		bad = sregs;                                              \
		bad.field = (value);                                      \
		CHECK_ERRNO(ioctl(vm.vcpu, KVM_SET_SREGS, &bad), EINVAL); \
	} while (0)
	BAD_SREGS(cr0, 0x80000000); /* paging without protection */
	BAD_SREGS(cr0, 0x33);	    /* no paging */
	BAD_SREGS(cr0, sregs.cr0 | 1UL << 32);
	BAD_SREGS(cr3, 1UL << 40);
	BAD_SREGS(cr4, sregs.cr4 | 1 << 18);   /* OSXSAVE */
	BAD_SREGS(cr4, sregs.cr4 | 1 << 13);   /* VMXE */
	BAD_SREGS(cr4, sregs.cr4 | 1 << 17);   /* PCIDE */
	BAD_SREGS(cr4, sregs.cr4 | 1 << 12);   /* LA57 */
	BAD_SREGS(efer, sregs.efer | 1 << 12); /* SVME */
	BAD_SREGS(efer, 0);
	BAD_SREGS(gs.base, 1UL << 47);
	BAD_SREGS(gdt.base, 1UL << 63);
	BAD_SREGS(apic_base, 0xfee00900);
	BAD_SREGS(interrupt_bitmap[0], 1);
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &bad), 0);
	CHECK(!memcmp(&bad, &sregs, sizeof(bad))); /* a failed SET changes nothing */

	bad.efer = 0;
	bad.cs.l = 0;
	bad.cr0 = 0x10; /* real mode; and nothing else is wrong with it: */
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_SET_SREGS, &bad), EINVAL);
	bad.cr0 = 0x11;
	CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &bad), 0);
	vm_destroy(&vm);
}

static void test_registers_and_port_out(void)
{
	GUEST(vm, add, 40, 2);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 42);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
	vm_destroy(&vm);
}

static void test_port_in(void)
{
	struct vm vm;

	vm_create(&vm);
	LOAD(&vm, in);
	vm_start(&vm);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IO);
	CHECK_EQ(vm.run->io.direction, KVM_EXIT_IO_IN);
	CHECK_EQ(vm.run->io.size, 1);
	memset((uint8_t *)vm.run + vm.run->io.data_offset, 0xaa, 4);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x556677aa);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IO);
	memset((uint8_t *)vm.run + vm.run->io.data_offset, 0xbb, 8);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0xbbbbbbbb);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0); /* a 32-bit IN clears the upper half */
	vm_destroy(&vm);
}

static void test_cpuid_is_an_allow_list(void)
{
	GUEST(vm, cpuid, 1, 0);
	vm_expect_out(&vm, 0x10);
	CHECK_EQ(vm_expect_out(&vm, 0x10) & 0xff000000, 0); /* local APIC id */
	/* ECX: MONITOR VMX SMX PCID x2APIC XSAVE OSXSAVE AVX are hidden, HYPERVISOR is told */
	CHECK_EQ(vm_expect_out(&vm, 0x10) & 0x9c220068, 0x80000000);
	/* EDX: VME MCE APIC MTRR MCA are hidden, FPU TSC MSR PAE are there */
	CHECK_EQ(vm_expect_out(&vm, 0x10) & 0x000052b3 & ~0x2080, 0x31);
	vm_destroy(&vm);

	GUEST(vm2, cpuid, 0x80000001, 0);
	vm_expect_out(&vm2, 0x10);
	vm_expect_out(&vm2, 0x10);
	CHECK_EQ(vm_expect_out(&vm2, 0x10) & 4, 0);		      /* ECX: SVM */
	CHECK_EQ(vm_expect_out(&vm2, 0x10) & 0x2c000000, 0x24000000); /* LM, 1 GiB; RDTSCP */
	vm_destroy(&vm2);

	GUEST(vm3, cpuid, 0x8000000a, 0); /* SVM's leaf */
	CHECK_EQ(vm_expect_out(&vm3, 0x10), 0);
	vm_destroy(&vm3);
}

static void expect_fault(struct vm *vm, int vector)
{
	vm_expect_fault(vm, vector, vector == UD ? -1 : 0, -1);
	vm_destroy(vm);
}

static void test_unlisted_msrs_fault(void)
{
	static const uint32_t msrs[] = {
		0x1b,	    0x48,	0x49,	    0x3a,	0xfe,	    0x174 + 0x10000,
		0x1d9,	    0x277 + 1,	0x4b564d00, 0xc0000103, 0xc0000104, 0xc0010114,
		0xc0010117, 0xc0010015, 0xffffffff,
	};
	size_t i;

	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		GUEST(vm, rdmsr, 0, 0);
		vm.regs.rcx = msrs[i];
		vm_start(&vm);
		expect_fault(&vm, GP);
		GUEST(vm2, wrmsr, 0, 0);
		vm2.regs.rcx = msrs[i];
		vm_start(&vm2);
		expect_fault(&vm2, GP);
	}
}

/*
 * Every MSR that a permission map has a bit for. A bit that is open by mistake shows as an MSR
 * that works; or, where the CPU has no such MSR, as an exit that is missing.
 */
static void test_all_other_msrs_exit(void)
{
	static const struct {
		uint32_t msr;
		bool exits, intel;
	} listed[] = {
		{ 0x10, true }, { 0x8b, true, true },  { 0x174 },	{ 0x175 },
		{ 0x176 },	{ 0x1a0, true, true }, { 0x277, true }, { 0xc0000080, true },
		{ 0xc0000081 }, { 0xc0000082 },	       { 0xc0000083 },	{ 0xc0000084 },
		{ 0xc0000100 }, { 0xc0000101 },	       { 0xc0000102 },
	};
	static const uint32_t ranges[] = { 0, 0xc0000000, 0xc0010000 };
	bool intel = __builtin_cpu_is("intel");
	long audit = access(AUDIT, W_OK) ? 0 : get_file(AUDIT);
	char was[24];
	size_t r, i;
	int fd;

	snprintf(was, sizeof(was), "%ld", audit);
	if (audit) /* not at each of some 50,000 exits */
		put_file(AUDIT, "0");
	GUEST(vm, msrs, 0, 0);
	if (audit)
		put_file(AUDIT, was);
	fd = ioctl(vm.fd, KVM_GET_STATS_FD, 0);
	*vm_entry(&vm, IDT + GP * 16) = ((CODE + 16) & 0xffff) | 8 << 16 | 0x8eULL << 40 |
					(CODE + 16) >> 16 << 48;
	for (r = 0; r < 3; r++) {
		/* VT-x's map does not have the third range: all of it exits */
		uint32_t n = r == 2 && intel ? 16 : 0x2000;
		uint64_t exits = stat_of(fd, "exits_insn"), open = 0;

		vm.regs.rsi = ranges[r];
		vm.regs.rdi = ranges[r] + n;
		vm_start(&vm);
		for (i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
			if (listed[i].msr - ranges[r] >= n || (listed[i].intel && !intel))
				continue;
			CHECK_EQ(vm_expect_out(&vm, 0x10), listed[i].msr);
			open += !listed[i].exits;
		}
		CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
		CHECK_EQ(stat_of(fd, "exits_insn") - exits, 2 * (n - open) + 1);
	}
	close(fd);
	vm_destroy(&vm);
}

/* No port is open: a sample of all, in every size. */
static void test_ports_exit(void)
{
	uint32_t port, size;

	GUEST(vm, ports, 0, 0);
	for (port = 0; port < 0x10000; port += port < 0x100 || port >= 0xfff0 ? 1 : 251) {
		vm.regs.rdx = port;
		vm_start(&vm);
		for (size = 1; size <= 4; size *= 2) {
			CHECK_EQ(vm_run(&vm), KVM_EXIT_IO);
			CHECK_EQ(vm.run->io.direction, KVM_EXIT_IO_IN);
			CHECK_EQ(vm.run->io.port, port);
			CHECK_EQ(vm.run->io.size, size);
		}
	}
	vm_destroy(&vm);
}

/* What Linux reads of an Intel CPU before it can take a fault; AMD has neither. */
static void test_msrs_of_intel(void)
{
	static const uint32_t msrs[][2] = { { 0x1a0, 0x1801 }, { 0x8b, 0 } };
	size_t i;

	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		GUEST(vm, rdmsr, 0, 0);
		vm.regs.rcx = msrs[i][0];
		vm_start(&vm);
		if (__builtin_cpu_is("intel")) {
			CHECK_EQ(vm_expect_out(&vm, 0x10), msrs[i][1]);
			vm_destroy(&vm);
		} else {
			expect_fault(&vm, GP);
		}
		GUEST(vm2, wrmsr, 4, 0);
		vm2.regs.rcx = msrs[i][0];
		vm_start(&vm2);
		expect_fault(&vm2, GP);
	}
}

static void test_listed_msrs_work(void)
{
	static const uint32_t msrs[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					 0xc0000100, 0xc0000101, 0xc0000102, 0x174 };
	size_t i;

	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		GUEST(vm, wrmsr, 0x1230 + i, 0);
		vm.regs.rcx = msrs[i];
		vm_start(&vm);
		CHECK_EQ(vm_expect_out(&vm, 0x10), 0x1230 + i);
		vm_destroy(&vm);
	}
	GUEST(efer, wrmsr, 0x1d01, 0); /* SVME */
	efer.regs.rcx = 0xc0000080;
	vm_start(&efer);
	expect_fault(&efer, GP);
	GUEST(pat, wrmsr, 0x02020202, 0); /* type 2 is reserved */
	pat.regs.rcx = 0x277;
	vm_start(&pat);
	expect_fault(&pat, GP);
}

static void test_control_registers_are_checked(void)
{
	static const uint64_t cr4[] = { 1 << 13, 1 << 18, 1 << 17, 1 << 22, 1 << 12, 1UL << 40 };
	size_t i;

	for (i = 0; i < sizeof(cr4) / sizeof(cr4[0]); i++) {
		GUEST(vm, cr4, 0, cr4[i]);
		expect_fault(&vm, GP);
	}
	GUEST(pge, cr4, 0, 1 << 7);
	CHECK_EQ(vm_expect_out(&pge, 0x10), 0x6a0);
	vm_destroy(&pge);
	GUEST(wp, cr0, 0, 0x80000033); /* WP off, and seen as off */
	CHECK_EQ(vm_expect_out(&wp, 0x10), 0x80000033);
	vm_destroy(&wp);
	GUEST(pg, cr0, 0, 0x33); /* paging off from 64-bit code */
	expect_fault(&pg, GP);
	GUEST(nw, cr0, 0, 0xa0010033); /* NW without CD */
	expect_fault(&nw, GP);
}

/* ---- PAE paging's registers of level 3: a guest of 32 bits, and its tables at PD and PDPT ---- */

#define IDT32 0x7000UL
#define PAE   0x20 /* CR4 */
#define CR0   0	   /* which register: load_cr's code for it is at CODE + 8 times this */
#define CR3   1
#define CR4   2

static int set_mode32(struct vm *vm, uint64_t cr0, uint64_t cr4)
{
	struct kvm_sregs s;

	CHECK_EQ(ioctl(vm->vcpu, KVM_GET_SREGS, &s), 0);
	s.cs.l = 0;
	s.cs.db = 1;
	s.efer = 0;
	s.cr0 = cr0;
	s.cr3 = PDPT;
	s.cr4 = cr4;
	s.idt.base = IDT32;
	*vm_entry(vm, GDT + 8) = 0x00cf9b000000ffffULL;
	*vm_entry(vm, IDT32 + GP * 8) = ((CODE + 32) & 0xffff) | 8 << 16 | 0x8eULL << 40 |
					(CODE + 32) >> 16 << 48;
	return ioctl(vm->vcpu, KVM_SET_SREGS, &s);
}

/*
 * A PDPTE with a reserved bit is written to memory while a good one is in the register. Writes
 * that load the registers find it, others do not look. SDM vol 3 §4.4.1.
 */
static void test_pdptes_are_loaded_when_they_should(void)
{
	static const struct {
		uint64_t cr0, cr4;
		int reg;
		uint64_t val;
		bool loads;
	} cases[] = {
		{ 0x80010011, 0x20, CR3, PDPT, true },
		{ 0x00010011, 0x20, CR0, 0x80010011, true },  /* PG */
		{ 0x80010011, 0x20, CR0, 0xc0010011, true },  /* CD */
		{ 0xc0010011, 0x20, CR0, 0xe0010011, true },  /* NW */
		{ 0xc0010011, 0x20, CR0, 0x80010011, true },  /* CD, to 0 */
		{ 0x80010011, 0x20, CR4, 0x30, true },	      /* PSE */
		{ 0x80010011, 0x20, CR4, 0xa0, true },	      /* PGE */
		{ 0x80010011, 0x20, CR4, 0x100020, true },    /* SMEP */
		{ 0x80010011, 0x20, CR0, 0x80000011, false }, /* WP */
		{ 0x80010011, 0x20, CR0, 0x8005001b, false }, /* AM, TS, MP */
		{ 0x80010011, 0x20, CR4, 0x62c, false },      /* DE, TSD, OSFXSR, OSXMMEXCPT */
		{ 0x80010011, 0x20, CR4, 0x200020, false },   /* SMAP */
		{ 0x00010011, 0x20, CR3, PDPT, false },	      /* no paging */
		{ 0x80010011, 0x20, CR0, 0x00010011, false }, /* no more */
	};
	static const uint64_t reserved[] = { 1 << 1, 1 << 2, 1 << 5,	1 << 6,
					     1 << 7, 1 << 8, 1UL << 40, 1UL << 63 };
	const uint64_t good = PD | 1;
	unsigned int eax, ebx = 0, ecx, edx;
	size_t i, bit;

	__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	GUEST(vm, load_cr, 0, 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* SMEP and SMAP, where there are */
		uint64_t missing = (ebx & 1 << 7 ? 0 : 1 << 20) | (ebx & 1 << 20 ? 0 : 1 << 21);

		if (cases[i].reg == CR4 && (cases[i].val & missing))
			continue;
		for (bit = 0; bit < 8; bit++) {
			uint64_t *pdpte = vm_entry(&vm, PDPT + bit % 4 * 8);

			printf("case %zu, reserved bit %zu\n", i, bit);
			*vm_entry(&vm, PDPT) = good;
			CHECK_EQ(set_mode32(&vm, cases[i].cr0, cases[i].cr4), 0);
			*pdpte = good | reserved[bit];
			vm.regs.rip = CODE + cases[i].reg * 8;
			vm.regs.rbx = cases[i].val;
			vm_start(&vm);
			if (cases[i].loads)
				CHECK_EQ(vm_expect_out(&vm, 0x11), GP);
			else
				CHECK_EQ(vm_expect_out(&vm, 0x10), 0);
			CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
			if (cases[i].cr0 >> 31)
				CHECK_ERRNO(set_mode32(&vm, cases[i].cr0, cases[i].cr4), EINVAL);
			*pdpte = reserved[bit]; /* not present: nothing is reserved in it */
			*vm_entry(&vm, PDPT) = good;
			CHECK_EQ(set_mode32(&vm, cases[i].cr0, cases[i].cr4), 0);
			*pdpte = 0;
		}
	}
	vm_destroy(&vm);
}

/* What the guest's CPU does not have; the host's may, and then it has to exit. */
static void test_virtualization_is_not_nested(void)
{
	static const struct {
		const char *name;
		uint8_t code[6];
	} insns[] = {
		{ "vmrun", { 0x0f, 0x01, 0xd8 } },
		{ "vmmcall", { 0x0f, 0x01, 0xd9 } },
		{ "vmload", { 0x0f, 0x01, 0xda } },
		{ "vmsave", { 0x0f, 0x01, 0xdb } },
		{ "stgi", { 0x0f, 0x01, 0xdc } },
		{ "clgi", { 0x0f, 0x01, 0xdd } },
		{ "skinit", { 0x0f, 0x01, 0xde } },
		{ "invlpga", { 0x0f, 0x01, 0xdf } },
		{ "vmcall", { 0x0f, 0x01, 0xc1 } },
		{ "vmlaunch", { 0x0f, 0x01, 0xc2 } },
		{ "vmresume", { 0x0f, 0x01, 0xc3 } },
		{ "vmxoff", { 0x0f, 0x01, 0xc4 } },
		{ "vmfunc", { 0x0f, 0x01, 0xd4 } },
		{ "vmptrld", { 0x0f, 0xc7, 0x33 } }, /* (%rbx), as all that follow */
		{ "vmptrst", { 0x0f, 0xc7, 0x3b } },
		{ "vmclear", { 0x66, 0x0f, 0xc7, 0x33 } },
		{ "vmxon", { 0xf3, 0x0f, 0xc7, 0x33 } },
		{ "vmread", { 0x0f, 0x78, 0x03 } },
		{ "vmwrite", { 0x0f, 0x79, 0x03 } },
		{ "invept", { 0x66, 0x0f, 0x38, 0x80, 0x03 } },
		{ "invvpid", { 0x66, 0x0f, 0x38, 0x81, 0x03 } },
		{ "invpcid", { 0x66, 0x0f, 0x38, 0x82, 0x03 } },
		{ "getsec", { 0x0f, 0x37 } },
		{ "encls", { 0x0f, 0x01, 0xcf } },
		{ "rsm", { 0x0f, 0xaa } },
		{ "monitor", { 0x0f, 0x01, 0xc8 } },
		{ "mwait", { 0x0f, 0x01, 0xc9 } },
		{ "rdpmc", { 0x0f, 0x33 } },
		{ "rdtscp", { 0x0f, 0x01, 0xf9 } },
		{ "rdpru", { 0x0f, 0x01, 0xfd } },
		{ "xgetbv", { 0x0f, 0x01, 0xd0 } },
		{ "xsetbv", { 0x0f, 0x01, 0xd1 } },
		{ "xsave", { 0x0f, 0xae, 0x23 } },
		{ "xsaves", { 0x0f, 0xc7, 0x2b } },
		{ "xrstors", { 0x0f, 0xc7, 0x1b } },
	};
	size_t i;

	GUEST(vm, spin, 0, DATA);
	vm.regs.rsp = STACK;
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		if (on_tcg() && !strcmp(insns[i].name, "rdtscp"))
			continue; /* its intercept is not looked at there */
		printf("%s\n", insns[i].name);
		memset(vm.mem + CODE, 0xf4, 16); /* HLT */
		memcpy(vm.mem + CODE, insns[i].code, strnlen((char *)insns[i].code, 6));
		vm_start(&vm);
		vm_expect_fault(&vm, UD, CODE, -1);
	}
	vm_destroy(&vm);
}

static void test_page_faults_reach_the_guest(void)
{
	struct vm vm;

	vm_create(&vm);
	*vm_entry(&vm, PT + 8) = 0;
	LOAD(&vm, load);
	vm.regs.rbx = DATA + 0x1008;
	vm_start(&vm);
	vm_expect_fault(&vm, PF, 0, DATA + 0x1008);
	vm_destroy(&vm);

	vm_create(&vm);
	*vm_entry(&vm, PT + 8) = (DATA + 0x1000) | 1;
	LOAD(&vm, store);
	vm.regs.rbx = DATA + 0x1010;
	vm_start(&vm);
	vm_expect_fault(&vm, PF, 3, DATA + 0x1010);
	vm_destroy(&vm);

	vm_create(&vm);
	*vm_entry(&vm, PT + 8) = (DATA + 0x1000) | 1 | 1UL << 45; /* over MAXPHYADDR */
	LOAD(&vm, load);
	vm.regs.rbx = DATA + 0x1000;
	vm_start(&vm);
	vm_expect_fault(&vm, PF, 9, DATA + 0x1000);
	vm_destroy(&vm);
}

/* RF, so that a breakpoint on the instruction that faulted does not stop it again. AMD APM vol 2 §3.1.6. */
static void test_injected_faults_have_rf(void)
{
	GUEST(pf, load, 0, DATA + 0x1000);
	*vm_entry(&pf, PT + 8) = 0;
	vm_expect_fault(&pf, PF, 0, DATA + 0x1000);
	CHECK_EQ(*vm_entry(&pf, STACK - 24), 0x10002);
	vm_destroy(&pf);

	GUEST(gp, rdmsr, 0, 0);
	gp.regs.rcx = 0xffffffff;
	vm_start(&gp);
	vm_expect_fault(&gp, GP, 0, -1);
	CHECK_EQ(*vm_entry(&gp, STACK - 24), 0x10002);
	vm_destroy(&gp);
}

/* Of an entry that points to a table it is reserved in level 4 alone, and that on AMD. */
static void test_bit_8_of_level_3_is_ignored(void)
{
	GUEST(vm, load, 0, DATA);
	*vm_entry(&vm, DATA) = 0x1234;
	*vm_entry(&vm, PDPT) |= 1 << 8;
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x1234);
	vm_destroy(&vm);
}

static void test_accessed_and_dirty_bits(void)
{
	GUEST(vm, load, 0, DATA + 0x3000);
	vm_expect_out(&vm, 0x10);
	CHECK_EQ(*vm_entry(&vm, PT + 24) & 0x60, 0x20);
	CHECK_EQ(*vm_entry(&vm, PD + 8) & 0x20, 0x20);
	CHECK_EQ(*vm_entry(&vm, PML4) & 0x20, 0x20);
	CHECK_EQ(*vm_entry(&vm, PT + 32) & 0x60, 0);
	LOAD(&vm, store);
	vm_start(&vm);
	vm_expect_out(&vm, 0x10);
	CHECK_EQ(*vm_entry(&vm, PT + 24) & 0x60, 0x60);
	vm_destroy(&vm);
}

static void test_guest_flushes_are_obeyed(void)
{
	GUEST(vm, invlpg, 0, DATA + 0x1000);
	*vm_entry(&vm, DATA + 0x1000) = 0x11;
	*vm_entry(&vm, DATA + 0x2000) = 0x22;
	vm.regs.rdi = PT + 8;
	vm.regs.rsi = (DATA + 0x2000) | 3;
	vm_start(&vm);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x11);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x22);
	vm_destroy(&vm);

	GUEST(vm2, reload_cr3, 0, DATA + 0x1000);
	*vm_entry(&vm2, DATA + 0x1000) = 0x11;
	*vm_entry(&vm2, DATA + 0x2000) = 0x22;
	vm2.regs.rdi = PT + 8;
	vm2.regs.rsi = (DATA + 0x2000) | 3;
	vm_start(&vm2);
	CHECK_EQ(vm_expect_out(&vm2, 0x10), 0x11);
	CHECK_EQ(vm_expect_out(&vm2, 0x10), 0x22);
	vm_destroy(&vm2);
}

/* Neither a reload of CR3 nor another address space costs a shadow page, or an entry of one. */
static void test_the_cache_outlives_flushes(void)
{
	static const char *const unchanged[] = { "pages_made", "pages_zapped", "faults_fixed",
						 "entries_dropped", "exits_page_fault" };
	const uint64_t pml4 = 0x21000, pdpt = 0x22000, pd = 0x23000, pt = 0x24000;
	uint64_t before[5], flushes = 0;
	int turn, fd, i;

	GUEST(vm, switch, 0, DATA);
	fd = ioctl(vm.fd, KVM_GET_STATS_FD, 0);
	memcpy(vm.mem + pml4, vm.mem + PML4, 4 * 4096);
	*vm_entry(&vm, pml4) = pdpt | 7;
	*vm_entry(&vm, pdpt) = pd | 7;
	*vm_entry(&vm, pd + 8) = pt | 7;
	*vm_entry(&vm, pt) = (DATA + 4096) | 3;
	*vm_entry(&vm, DATA) = 1;
	*vm_entry(&vm, DATA + 4096) = 2;
	vm.regs.rsi = PML4;
	vm.regs.rdi = pml4;
	vm_start(&vm);
	for (turn = 0; turn < 4; turn++) {
		CHECK_EQ(vm_expect_out(&vm, 0x10), 1);
		CHECK_EQ(vm_expect_out(&vm, 0x10), 2);
		if (turn)
			CHECK_EQ(stat_of(fd, "guest_flushes") - flushes, 40);
		flushes = stat_of(fd, "guest_flushes");
		for (i = 0; i < 5; i++) {
			if (turn)
				CHECK_EQ(stat_of(fd, unchanged[i]), before[i]);
			before[i] = stat_of(fd, unchanged[i]);
		}
	}
	close(fd);
	vm_destroy(&vm);
}

static void test_unbacked_memory_exits_with_its_address(void)
{
	GUEST(vm, store, 0, 0x12345678);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO);
	CHECK_EQ(vm.run->mmio.phys_addr, 0x12345678);
	CHECK_EQ(vm.run->mmio.is_write, 1);
	CHECK_EQ(vm.run->mmio.len, 0);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO); /* not completed: it happens again */
	vm_destroy(&vm);
}

static void test_page_tables_outside_memory_exit(void)
{
	GUEST(vm, load, 0, DATA);
	*vm_entry(&vm, PD + 8) = 0x40000000 | 7;
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO);
	CHECK_EQ(vm.run->mmio.phys_addr, 0x40000000);
	vm_destroy(&vm);
}

static void test_memory_follows_the_host(void)
{
	GUEST(vm, reload, 0, DATA + 0x5000);
	*vm_entry(&vm, DATA + 0x5000) = 0x1234;
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x1234);
	vm_expect_out(&vm, 0x12);
	CHECK_EQ(madvise(vm.mem + DATA, 0x10000, MADV_DONTNEED), 0);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0);
	vm_destroy(&vm);
}

static void test_a_deleted_slot_is_gone(void)
{
	struct kvm_userspace_memory_region r = { .slot = 3,
						 .guest_phys_addr = MEM_SIZE,
						 .memory_size = 4096 };
	struct vm vm;

	vm_create(&vm);
	r.userspace_addr = (uintptr_t)vm.mem + DATA;
	*vm_entry(&vm, DATA) = 0x77;
	CHECK_EQ(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
	LOAD(&vm, reload);
	vm.regs.rbx = MEM_SIZE;
	vm_start(&vm);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x77);
	vm_expect_out(&vm, 0x12);
	r.memory_size = 0;
	CHECK_EQ(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO);
	CHECK_EQ(vm.run->mmio.phys_addr, MEM_SIZE);
	vm_destroy(&vm);
}

/* ---- the shadow MMU and the host's memory: the guest `memory` reads and writes for us ---- */

/* Answers an IN of 32 bits. */
static void give(struct vm *vm, uint32_t val)
{
	int reason = vm_run(vm);

	if (reason != KVM_EXIT_IO || vm->run->io.direction != KVM_EXIT_IO_IN)
		FAIL("exit %d, not IN", reason);
	memcpy((uint8_t *)vm->run + vm->run->io.data_offset, &val, sizeof(val));
}

/* The byte at @addr after the guest has done @op. */
static uint8_t guest_does(struct vm *vm, uint64_t addr, uint32_t op)
{
	give(vm, addr);
	give(vm, op);
	return vm_expect_out(vm, 0x10);
}

static uint8_t guest_reads(struct vm *vm, uint64_t addr)
{
	return guest_does(vm, addr, 0);
}

static uint8_t guest_adds(struct vm *vm, uint64_t addr)
{
	return guest_does(vm, addr, 1);
}

static uint8_t guest_flushes_and_reads(struct vm *vm, uint64_t addr)
{
	return guest_does(vm, addr, 2);
}

static void set_region(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
		       void *mem)
{
	struct kvm_userspace_memory_region r = { .slot = slot,
						 .flags = flags,
						 .guest_phys_addr = gpa,
						 .memory_size = size,
						 .userspace_addr = (uintptr_t)mem };

	CHECK_EQ(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
}

static unsigned long dirty[MEM_SIZE / 4096 / 64];

static void take_log(struct vm *vm)
{
	struct kvm_dirty_log log = { .dirty_bitmap = dirty };

	memset(dirty, 0xff, sizeof(dirty));
	CHECK_EQ(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), 0);
}

static bool is_dirty(uint64_t addr)
{
	return dirty[addr / 4096 / 64] >> (addr / 4096 % 64) & 1;
}

/* How many pages of DATA's 2 MiB are in the log. */
static int nr_dirty(void)
{
	int n = 0;
	uint64_t a;

	for (a = DATA; a < DATA + 0x200000; a += 4096)
		n += is_dirty(a);
	return n;
}

static void test_dirty_log_is_exact(void)
{
	struct kvm_dirty_log none = { .dirty_bitmap = dirty };
	uint64_t page;
	int round, n;

	GUEST(vm, memory, 0, 0);
	CHECK_ERRNO(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &none), ENOENT);
	none.slot = 8;
	CHECK_ERRNO(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &none), EINVAL);
	guest_adds(&vm, DATA + 0x3000);
	set_region(&vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, vm.mem);
	take_log(&vm);
	CHECK_EQ(nr_dirty(), 0);
	for (round = 0; round < 20; round++) {
		bool written[512] = { false };

		for (n = 0; n < 30; n++) {
			page = (round * 131 + n * n * 7) % 512;
			if (n % 3)
				guest_reads(&vm, DATA + page * 4096);
			else
				guest_adds(&vm, DATA + page * 4096);
			written[page] |= n % 3 == 0;
		}
		take_log(&vm);
		for (page = 0; page < 512; page++)
			if (is_dirty(DATA + page * 4096) != written[page])
				FAIL("round %d, page %d: %d", round, (int)page, !written[page]);
	}
	take_log(&vm);
	CHECK_EQ(nr_dirty(), 0);
	CHECK_EQ(is_dirty(PT), 0);
	*vm_entry(&vm, PT + 300 * 8) &= ~0x60ULL; /* A and D, which the walk sets */
	set_region(&vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, vm.mem);
	guest_reads(&vm, DATA + 300 * 4096);
	take_log(&vm);
	CHECK_EQ(is_dirty(PT), 1);
	CHECK_EQ(nr_dirty(), 0);

	set_region(&vm, 0, 0, 0, MEM_SIZE, vm.mem); /* off, and on again */
	guest_adds(&vm, DATA + 0x5000);
	set_region(&vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, vm.mem);
	guest_adds(&vm, DATA + 0x6000);
	take_log(&vm);
	CHECK_EQ(nr_dirty(), 1);
	CHECK_EQ(is_dirty(DATA + 0x6000), 1);
	vm_destroy(&vm);
}

static void test_read_only_memory(void)
{
	GUEST(vm, memory, 0, 0);
	vm.mem[DATA + 5] = 42;
	set_region(&vm, 1, KVM_MEM_READONLY, MEM_SIZE, 0x10000, vm.mem + DATA);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE + 5), 42);
	CHECK_EQ(guest_adds(&vm, DATA + 5), 43);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE + 5), 43);
	give(&vm, MEM_SIZE + 5);
	give(&vm, 1);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO);
	CHECK_EQ(vm.run->mmio.phys_addr, MEM_SIZE + 5);
	CHECK_EQ(vm.run->mmio.is_write, 1);
	CHECK_EQ(vm.mem[DATA + 5], 43);
	vm_destroy(&vm);
}

static void test_slots_move(void)
{
	GUEST(vm, memory, 0, 0);
	vm.mem[DATA] = 1;
	vm.mem[DATA + 0x10000] = 2;
	set_region(&vm, 1, 0, MEM_SIZE, 0x10000, vm.mem + DATA);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE), 1);
	set_region(&vm, 1, 0, MEM_SIZE, 0x10000, vm.mem + DATA + 0x10000);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE), 2);
	set_region(&vm, 1, 0, MEM_SIZE + 0x10000, 0x10000, vm.mem + DATA);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE + 0x10000), 1);
	set_region(&vm, 3, 0, 0x5000, 0, NULL); /* nothing to delete, wherever it is not */
	set_region(&vm, 1, 0, MEM_SIZE + 0x10000, 0, NULL);
	set_region(&vm, 2, 0, MEM_SIZE, 0x20000, vm.mem + DATA); /* where a deleted one was */
	CHECK_EQ(guest_reads(&vm, MEM_SIZE + 0x10000), 2);
	set_region(&vm, 2, 0, MEM_SIZE, 0, NULL);
	give(&vm, MEM_SIZE);
	give(&vm, 0);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_MMIO);
	vm_destroy(&vm);
}

/* Five levels of the host's page tables: 56 bits of addresses for who asks for them. */
static void test_memory_beyond_four_levels(void)
{
	struct kvm_userspace_memory_region r = { .slot = 1,
						 .guest_phys_addr = MEM_SIZE,
						 .memory_size = 0x10000 };
	uint8_t *high = mmap((void *)(1UL << 55), 0x10000, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	GUEST(vm, memory, 0, 0);
	CHECK(high != MAP_FAILED);
	if ((uintptr_t)high == 1UL << 55) {
		high[0] = 1;
		set_region(&vm, 1, 0, MEM_SIZE, 0x10000, high);
		CHECK_EQ(guest_adds(&vm, MEM_SIZE), 2);
		CHECK_EQ(high[0], 2);
		CHECK_EQ(munmap(high, 0x10000), 0);
		give(&vm, MEM_SIZE);
		give(&vm, 0);
		CHECK_EQ(vm_run(&vm), -EFAULT);
		r.slot = 2;
		r.guest_phys_addr += 0x10000;
		r.userspace_addr = (1UL << 56) - 0x1000;
	} else {
		r.userspace_addr = (1UL << 47) - 0x1000;
	}
	CHECK_ERRNO(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r), EINVAL);
	r.userspace_addr -= r.memory_size;
	CHECK_EQ(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
	vm_destroy(&vm);
}

static void test_fork_of_the_process(void)
{
	int go[2], status;
	pid_t child;

	GUEST(vm, memory, 0, 0);
	CHECK_EQ(pipe(go), 0);
	CHECK_EQ(guest_adds(&vm, DATA), 1);
	child = fork();
	if (!child) {
		char c;

		close(go[1]);
		CHECK_EQ(read(go[0], &c, 1), 0); /* until the guest has written */
		_exit(vm.mem[DATA] == 1 && vm.mem[DATA + 4096] == 0 ? 0 : 1);
	}
	close(go[0]);
	CHECK_EQ(guest_adds(&vm, DATA), 2);
	CHECK_EQ(guest_adds(&vm, DATA + 4096), 1);
	CHECK_EQ(vm.mem[DATA], 2);
	close(go[1]);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(guest_adds(&vm, DATA), 3);
	CHECK_EQ(vm.mem[DATA], 3);
	vm_destroy(&vm);
}

#define KSM "/sys/kernel/mm/ksm/"

static const char *const ksm_files[] = { KSM "sleep_millisecs", KSM "pages_to_scan", KSM "run" };
static long ksm_was[3];

static void restore_ksm(void)
{
	char text[32];
	int i;

	for (i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "%ld", ksm_was[i]);
		put_file(ksm_files[i], text);
	}
}

static void test_merged_pages(void)
{
	int i;

	if (access(KSM "run", W_OK))
		skip("needs root, and a kernel with KSM: " KSM "run: %m");
	if (get_file(KSM "run") == 1)
		skip("KSM is in use, and the test would separate what it has merged");
	for (i = 0; i < 3; i++)
		ksm_was[i] = get_file(ksm_files[i]);
	atexit(restore_ksm);
	GUEST(vm, memory, 0, 0);
	for (i = 0; i < 16; i++) {
		memset(vm.mem + DATA + i * 4096, 0x77, 4096);
		CHECK_EQ(guest_reads(&vm, DATA + i * 4096), 0x77);
	}
	CHECK_EQ(madvise(vm.mem + DATA, 16 * 4096, MADV_NOHUGEPAGE), 0);
	CHECK_EQ(madvise(vm.mem + DATA, 16 * 4096, MADV_MERGEABLE), 0);
	put_file(KSM "sleep_millisecs", "1");
	put_file(KSM "pages_to_scan", "2000");
	put_file(KSM "run", "1");
	for (i = 0; i < 3000 && get_file(KSM "pages_sharing") < 15; i++) {
		guest_reads(&vm, DATA + i % 16 * 4096);
		usleep(1000);
	}
	CHECK(get_file(KSM "pages_sharing") >= 15);
	for (i = 0; i < 16; i++)
		CHECK_EQ(guest_reads(&vm, DATA + i * 4096), 0x77);
	CHECK(get_file(KSM "pages_sharing") >= 15); /* reading splits nothing */
	CHECK_EQ(guest_adds(&vm, DATA + 3 * 4096), 0x78);
	for (i = 0; i < 16; i++)
		CHECK_EQ(vm.mem[DATA + i * 4096], i == 3 ? 0x78 : 0x77);
	put_file(KSM "run", "2");
	for (i = 0; i < 16; i++)
		CHECK_EQ(guest_reads(&vm, DATA + i * 4096), i == 3 ? 0x78 : 0x77);
	vm_destroy(&vm);
}

static bool is_swapped(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	CHECK_EQ(pread(fd, &entry, 8, (uintptr_t)addr / 4096 * 8), 8);
	close(fd);
	return entry >> 62 & 1;
}

/* Is @addr in a page of 2 MiB? Its flags are in /proc/kpageflags, and for root. */
static bool is_huge(const void *addr)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY),
	    kpageflags = open("/proc/kpageflags", O_RDONLY);
	uint64_t entry = 0, flags = 0;

	CHECK_EQ(pread(pagemap, &entry, 8, (uintptr_t)addr / 4096 * 8), 8);
	if (pread(kpageflags, &flags, 8, (entry & ((1UL << 55) - 1)) * 8) != 8)
		flags = 0;
	close(pagemap);
	close(kpageflags);
	return flags >> 22 & 1; /* KPF_THP */
}

static void test_swapped_pages(void)
{
	int i, n = 0;

	if (system("grep -q ^/ /proc/swaps"))
		skip("the host has no swap: turn some on");
	GUEST(vm, memory, 0, 0);
	CHECK_EQ(madvise(vm.mem + DATA, 64 * 4096, MADV_NOHUGEPAGE), 0);
	for (i = 0; i < 64; i++) {
		memset(vm.mem + DATA + i * 4096, i, 4096);
		CHECK_EQ(guest_adds(&vm, DATA + i * 4096), i + 1);
	}
	/* The first finds them young, by the guest's use of them, and clears that. */
	CHECK_EQ(madvise(vm.mem + DATA, 64 * 4096, MADV_PAGEOUT), 0);
	CHECK_EQ(madvise(vm.mem + DATA, 64 * 4096, MADV_PAGEOUT), 0);
	for (i = 0; i < 64; i++)
		n += is_swapped(vm.mem + DATA + i * 4096);
	CHECK(n > 32);
	for (i = 0; i < 64; i++)
		CHECK_EQ(guest_adds(&vm, DATA + i * 4096), i + 2);
	vm_destroy(&vm);
}

/* The guest's page tables are pages as others: they are swapped out, and come back. */
static void test_swapped_page_tables(void)
{
	int i, n = 0;

	if (system("grep -q ^/ /proc/swaps"))
		skip("the host has no swap: turn some on");
	GUEST(vm, memory, 0, 0);
	CHECK_EQ(madvise(vm.mem, 16 * 4096, MADV_NOHUGEPAGE), 0);
	CHECK_EQ(guest_adds(&vm, DATA), 1);
	for (i = 0; i < 20 && n < 4; i++) { /* until they are no longer young */
		CHECK_EQ(madvise(vm.mem + PML4, 4 * 4096, MADV_PAGEOUT), 0);
		n = is_swapped(vm.mem + PML4) + is_swapped(vm.mem + PDPT) +
		    is_swapped(vm.mem + PD) + is_swapped(vm.mem + PT);
	}
	CHECK_EQ(n, 4);
	CHECK_EQ(guest_adds(&vm, DATA), 2);
	CHECK_EQ(guest_flushes_and_reads(&vm, DATA + 4096), 0);
	CHECK_EQ(guest_adds(&vm, DATA), 3);
	vm_destroy(&vm);
}

/* Memory pressure takes the shadow pages of a VM that is not running; the guest goes on. */
static void test_memory_pressure_takes_shadow_pages(void)
{
	uint64_t before, recycled;
	int fd, i;

	if (access("/proc/sys/vm/drop_caches", W_OK))
		skip("needs root: /proc/sys/vm/drop_caches: %m");
	GUEST(vm, memory, 0, 0);
	fd = ioctl(vm.fd, KVM_GET_STATS_FD, 0);
	for (i = 0; i < 8; i++)
		guest_adds(&vm, DATA + i * 4096);
	before = stat_of(fd, "pages_live");
	recycled = stat_of(fd, "pages_recycled");
	CHECK(before >= 4);
	put_file("/proc/sys/vm/drop_caches", "2");
	CHECK(stat_of(fd, "pages_live") < before);
	CHECK(stat_of(fd, "pages_recycled") > recycled);
	for (i = 0; i < 8; i++)
		CHECK_EQ(guest_adds(&vm, DATA + i * 4096), 2);
	close(fd);
	vm_destroy(&vm);
}

/* 2 MiB of the host's for 2 MiB of the guest's; in parts while something needs 4 KiB. */
static void test_large_pages(void)
{
	const size_t size = 2UL << 20;
	uint8_t *area =
		mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *mem = area + (-(uintptr_t)area & (size - 1));
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = dirty };
	uint64_t large, faults, *pte = (uint64_t *)(mem + 0x7000);
	int fd, i;

	CHECK(area != MAP_FAILED);
	if (madvise(mem, size, MADV_HUGEPAGE))
		skip("the host has no transparent huge pages: %m");
	memset(mem, 1, size);
	GUEST(vm, memory, 0, 0);
	fd = ioctl(vm.fd, KVM_GET_STATS_FD, 0);
	set_region(&vm, 1, 0, MEM_SIZE, size, mem);
	large = stat_of(fd, "large_entries");
	CHECK_EQ(guest_adds(&vm, MEM_SIZE), 2);
	if (stat_of(fd, "large_entries") == large && !is_huge(mem))
		skip("the host has no 2 MiB of memory to give");
	CHECK(stat_of(fd, "large_entries") > large); /* twice where the CPU reads, then writes */
	large = stat_of(fd, "large_entries");
	faults = stat_of(fd, "faults_fixed");
	for (i = 1; i < 512; i++)
		CHECK_EQ(guest_adds(&vm, MEM_SIZE + i * 4096), 2);
	CHECK_EQ(stat_of(fd, "faults_fixed"), faults);

	set_region(&vm, 1, KVM_MEM_LOG_DIRTY_PAGES, MEM_SIZE, size, mem);
	CHECK_EQ(guest_reads(&vm, MEM_SIZE + 0x5000), 2);
	CHECK_EQ(guest_adds(&vm, MEM_SIZE + 0x6000), 3);
	CHECK_EQ(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), 0);
	CHECK_EQ(dirty[0], 1 << 6);
	for (i = 1; i < 8; i++)
		CHECK_EQ(dirty[i], 0);
	CHECK_EQ(stat_of(fd, "large_entries"), large);

	set_region(&vm, 1, 0, MEM_SIZE, size, mem);
	CHECK_EQ(guest_adds(&vm, MEM_SIZE), 3);
	CHECK(stat_of(fd, "large_entries") > large);

	/* A table in it: the guest writes to it through the 2 MiB page, and is obeyed. */
	for (i = 0; i < 512; i++)
		pte[i] = (DATA + i * 4096) | 0x63;
	vm.mem[DATA] = 0x10;
	vm.mem[DATA + 0x10000] = 0x20;
	*vm_entry(&vm, PD + 16) = (MEM_SIZE + 0x7000) | 0x67; /* 4 to 6 MiB */
	guest_flushes_and_reads(&vm, DATA);
	for (i = 0; i < 16; i++) /* so that it is no longer left writable */
		CHECK_EQ(guest_flushes_and_reads(&vm, 2 * DATA), 0x10);
	CHECK_EQ(guest_adds(&vm, MEM_SIZE + 0x7002), (DATA >> 16) + 1);
	CHECK_EQ(guest_flushes_and_reads(&vm, 2 * DATA), 0x20);
	CHECK_EQ(guest_adds(&vm, MEM_SIZE + 0x8000), 3);
	close(fd);
	vm_destroy(&vm);
	munmap(area, 2 * size);
}

/* Another thread takes pages away and gives memory back as fast as it can. */
static void *churn(void *arg)
{
	struct vm *vm = arg;
	int i;

	for (i = 0; i < 3000; i++) {
		madvise(vm->mem + DATA + 0x100000 + i % 16 * 4096, 4096, MADV_DONTNEED);
		if (i % 50 == 0)
			madvise(vm->mem, MEM_SIZE, i % 100 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	}
	return NULL;
}

static void test_memory_churns_under_the_guest(void)
{
	pthread_t thread;
	int i;

	GUEST(vm, memory, 0, 0);
	CHECK_EQ(pthread_create(&thread, NULL, churn, &vm), 0);
	for (i = 0; i < 3000; i++) {
		guest_adds(&vm, DATA + 0x100000 + i % 16 * 4096); /* whatever it was */
		CHECK_EQ(guest_adds(&vm, DATA + i % 7 * 4096), (uint8_t)(i / 7 + 1));
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
	vm_destroy(&vm);
}

/* Guest memory that is out of reach for a while: KVM_RUN says so, and then the guest goes on. */
static void test_run_goes_on_after_an_error(void)
{
	static const uint64_t where[] = { DATA, PT, CODE };
	struct vm vm;
	size_t i;

	vm_create(&vm);
	LOAD(&vm, memory);
	vm_start(&vm);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(guest_does(&vm, DATA, 1), i + 1);
		give(&vm, DATA);
		set_region(&vm, 0, 0, 0, MEM_SIZE, vm.mem); /* so that tables are walked again */
		CHECK_EQ(mprotect(vm.mem + where[i], 4096, PROT_NONE), 0);
		if (where[i] != CODE)
			give(&vm, 0);
		CHECK_EQ(vm_run(&vm), -EFAULT);
		CHECK_EQ(vm_run(&vm), -EFAULT);
		CHECK_EQ(mprotect(vm.mem + where[i], 4096, PROT_READ | PROT_WRITE), 0);
		if (where[i] == CODE)
			give(&vm, 0);
		CHECK_EQ(vm_expect_out(&vm, 0x10), i + 1);
	}
	vm_destroy(&vm);
}

static void test_statistics(void)
{
	uint64_t before;
	int fd;

	GUEST(vm, memory, 0, 0);
	CHECK_ERRNO(ioctl(vm.fd, KVM_GET_STATS_FD, 1), EINVAL);
	fd = ioctl(vm.fd, KVM_GET_STATS_FD, 0);
	CHECK(fd >= 0);
	CHECK_EQ(stat_of(fd, "exits_io"), 0);
	guest_adds(&vm, DATA);
	CHECK_EQ(stat_of(fd, "exits_io"), 3);
	before = stat_of(fd, "faults_fixed");
	guest_adds(&vm, DATA);
	CHECK_EQ(stat_of(fd, "faults_fixed"), before);
	guest_adds(&vm, DATA + 4096);
	/* one, or two where the CPU reads before it writes */
	CHECK(stat_of(fd, "faults_fixed") - before - 1 <= 1);
	before = stat_of(fd, "faults_fixed");
	CHECK(stat_of(fd, "pages_live") >= 4);
	vm_destroy(&vm); /* the descriptor keeps the VM alive, not its memory */
	CHECK_EQ(stat_of(fd, "faults_fixed"), before);
	close(fd);
}

static volatile sig_atomic_t alarmed;

static void on_alarm(int sig)
{
	alarmed = sig;
}

static void alarm_in(int ms)
{
	struct itimerval t = { .it_value.tv_usec = ms * 1000 };
	struct sigaction sa = { .sa_handler = on_alarm };

	alarmed = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

static int run_until_alarm(struct vm *vm)
{
	int r;

	do
		r = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : (int)vm->run->exit_reason;
	while (r == -EINTR && !alarmed);
	return r;
}

static void test_a_signal_ends_run(void)
{
	GUEST(vm, spin, 0, 0);
	alarm_in(100);
	CHECK_EQ(run_until_alarm(&vm), -EINTR);
	CHECK_EQ(vm.run->exit_reason, KVM_EXIT_INTR);
	vm.run->immediate_exit = 1;
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_RUN, 0), EINTR);
	vm_destroy(&vm);
}

static void test_interrupts(void)
{
	struct kvm_interrupt irq = { .irq = 0x31 };

	GUEST(vm, spin_sti, 0, 0);
	alarm_in(50);
	CHECK_EQ(run_until_alarm(&vm), -EINTR);
	CHECK_EQ(vm.run->if_flag, 1);
	CHECK_EQ(vm.run->ready_for_interrupt_injection, 1);
	CHECK_EQ(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), 0);
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), EEXIST);
	CHECK_EQ(vm_expect_out(&vm, 0x11), 0x31);
	vm_destroy(&vm);
}

static void test_interrupt_window(void)
{
	struct kvm_interrupt irq = { .irq = 0x32 };

	GUEST(vm, window, 0, 0);
	vm_expect_out(&vm, 0x12);
	CHECK_EQ(vm.run->ready_for_interrupt_injection, 0);
	vm.run->request_interrupt_window = 1;
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(vm.run->ready_for_interrupt_injection, 1);
	vm.run->request_interrupt_window = 0;
	CHECK_EQ(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), 0);
	CHECK_EQ(vm_expect_out(&vm, 0x11), 0x32);
	vm_destroy(&vm);

	GUEST(vm2, window, 0, 0); /* queued too early: it waits for STI */
	vm_expect_out(&vm2, 0x12);
	CHECK_EQ(ioctl(vm2.vcpu, KVM_INTERRUPT, &irq), 0);
	CHECK_EQ(vm_expect_out(&vm2, 0x11), 0x32);
	vm_destroy(&vm2);
}

/* Its gate is not present: the guest gets the page fault, and no second delivery after that. */
static void test_a_fault_takes_an_interrupts_place(void)
{
	const uint64_t idt = DATA + 0xe00; /* exceptions in one page, the others in the next */
	struct kvm_interrupt irq = { .irq = 0x32 };
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	GUEST(vm, window, 0, 0);
	memcpy(vm.mem + idt, vm.mem + IDT, 4096);
	*vm_entry(&vm, PT + 8) = 0;
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.idt.base = idt;
	CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs), 0);
	vm_expect_out(&vm, 0x12);
	CHECK_EQ(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), 0);
	vm_expect_fault(&vm, PF, 0, idt + irq.irq * 16);
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_REGS, &regs), 0);
	regs.rsp += 8; /* the error code */
	CHECK_EQ(ioctl(vm.vcpu, KVM_SET_REGS, &regs), 0);
	vm_expect_out(&vm, 0x11); /* DR6 */
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0x77);
	vm_destroy(&vm);
}

static void test_guest_state_survives_exits(void)
{
	GUEST(vm, patterns, 0, 0);
	vm_expect_out(&vm, 0x12);
	usleep(1000);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0);
	vm_destroy(&vm);
}

/* Fills xmm, runs the guest's own patterns, and looks at what came back. */
static void test_host_state_survives_runs(void)
{
	uint64_t in[2] = { 0x0123456789abcdef, 0xfedcba9876543210 }, out[2], fs, fs2;
	struct vm vm;
	long ret;

	vm_create(&vm);
	LOAD(&vm, patterns);
	vm_start(&vm);
	asm volatile("mov %%fs:0, %0" : "=r"(fs)); /* libc has the base itself there */
	do {
		asm volatile("movq %1, %%xmm0; movq %2, %%xmm15\n\t"
			     "syscall"
			     : "=a"(ret)
			     : "m"(in[0]), "m"(in[1]), "0"(16 /* ioctl */), "D"((long)vm.vcpu),
			       "S"((long)KVM_RUN), "d"(0L)
			     : "rcx", "r11", "memory", "xmm0", "xmm15");
		asm volatile("movq %%xmm0, %0; movq %%xmm15, %1; mov %%fs:0, %2"
			     : "=m"(out[0]), "=m"(out[1]), "=r"(fs2));
	} while (ret == -EINTR);
	CHECK_EQ(ret, 0);
	CHECK_EQ(out[0], in[0]);
	CHECK_EQ(out[1], in[1]);
	CHECK_EQ(fs2, fs);
	vm_destroy(&vm);
}

static void test_host_state_is_hidden(void)
{
	struct vm vm;

	vm_create(&vm);
	LOAD(&vm, look);
	vm_start(&vm);
	asm volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7" ::: "xmm0", "xmm7");
	CHECK_EQ(vm_expect_out(&vm, 0x10), 0);
	vm_destroy(&vm);
}

/* CPUID is emulated, and its single-step trap with it. */
static void test_single_step_over_an_emulated_instruction(void)
{
	GUEST(vm, step, 0, 0);
	CHECK_EQ(vm_expect_out(&vm, 0x11), DB);
	CHECK_EQ(vm_expect_out(&vm, 0x11), CODE + 0xd); /* RIP: after CPUID, not after NOP */
	vm_destroy(&vm);
}

/*
 * The trap comes while STI blocks interrupts: VT-x refuses both together at an entry. QEMU's CPU
 * blocks the trap too, until the NOP after STI is done.
 */
static void test_single_step_over_sti(void)
{
	unsigned long rip;

	GUEST(vm, step_sti, 0, 0);
	CHECK_EQ(vm_expect_out(&vm, 0x11), DB);
	rip = vm_expect_out(&vm, 0x11);
	CHECK(rip == CODE + 0xa || rip == CODE + 0xb);
	vm_destroy(&vm);
}

/* #DB, with @bit of B0 to B3 and BS in DR6. Whether older ones of B0 to B3 stay is the CPU's. */
static void expect_debug(struct vm *vm, unsigned long rip, uint32_t bit)
{
	uint32_t dr6;

	vm_expect_fault(vm, DB, rip, -1);
	dr6 = vm_expect_out(vm, 0x11);
	CHECK_EQ(dr6 & (bit | 0xe000), bit);
}

/* QEMU's CPU does not look at the breakpoints of a guest. */
static void test_breakpoints(void)
{
	uint8_t *code;

	GUEST(vm, breakpoints, 0, DATA);
	code = memmem(vm.mem + CODE, 64, "\x90\xfe\x43\x01\xfe\x03\x90", 7);
	CHECK(code);
	if (on_tcg()) {
		CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
		return;
	}
	expect_debug(&vm, code - vm.mem, 1 << 1);
	vm.regs.rip = code + 1 - vm.mem;
	vm_start(&vm);
	expect_debug(&vm, code + 6 - vm.mem, 1 << 3);
	CHECK_EQ(vm.mem[DATA], 1);
	CHECK_EQ(vm.mem[DATA + 1], 1);
	vm_destroy(&vm);
}

/* QEMU's CPU does not have the instruction. */
static void test_icebp(void)
{
	GUEST(vm, spin, 0, 0);
	vm.mem[CODE] = 0xf1;
	if (on_tcg())
		vm_expect_fault(&vm, UD, CODE, -1);
	else
		expect_debug(&vm, CODE + 1, 0);
	vm_destroy(&vm);
}

/* QEMU forgets the blocking at an entry that waits for the window. */
static void test_mov_ss_blocks_interrupts(void)
{
	struct kvm_interrupt irq = { .irq = 0x33 };
	unsigned long rip;
	uint8_t *code;

	GUEST(vm, mov_ss, 0, DATA);
	code = memmem(vm.mem + CODE, 64, "\x8b\x03\xeb\xfe", 4);
	CHECK(code);
	vm_expect_out(&vm, 0x12);
	CHECK_EQ(ioctl(vm.vcpu, KVM_INTERRUPT, &irq), 0);
	CHECK_EQ(vm_expect_out(&vm, 0x11), 0x33);
	rip = vm_expect_out(&vm, 0x11);
	if (!on_tcg())
		CHECK_EQ(rip, code + 2 - vm.mem);
	vm_destroy(&vm);
}

/*
 * The CPU has a breakpoint pending after MOV SS when the next instruction exits: VT-x looks at
 * it at the entry. It may be lost, as the guest then sees none; the VM must not.
 */
static void test_a_breakpoint_pending_after_mov_ss(void)
{
	GUEST(vm, mov_ss_cpuid, 0, DATA);
	*vm_entry(&vm, DATA) = 16;
	CHECK_EQ(vm_run(&vm), KVM_EXIT_IO);
	if (vm.run->io.port == 0x11) {
		CHECK_EQ(vm_expect_out(&vm, 0x11), CODE + 0x11); /* after CPUID */
		vm_expect_out(&vm, 0x11);
		CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
	} else {
		CHECK_EQ(vm.run->io.port, 0x10);
		CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
	}
	vm_destroy(&vm);
}

static uint64_t out64(struct vm *vm)
{
	uint64_t low = vm_expect_out(vm, 0x10);

	return low | (uint64_t)vm_expect_out(vm, 0x10) << 32;
}

/* From 0 at KVM_CREATE_VCPU, and from what the guest writes, at the host's rate. */
static void test_the_tsc_is_the_guests_own(void)
{
	const uint64_t set = 0x123456789abcdef0;
	uint64_t before = __rdtsc(), made, start, since, t[3];
	int i;

	GUEST(vm, tsc, 0, set);
	made = __rdtsc();
	start = __rdtsc();
	for (i = 0; i < 3; i++)
		t[i] = out64(&vm);
	CHECK(t[0] >= start - made && t[0] <= t[1] && t[1] <= t[2] && t[2] <= __rdtsc() - before);
	since = __rdtsc();
	for (i = 0; i < 3; i++)
		t[i] = out64(&vm);
	CHECK(t[0] >= set && t[0] <= t[1] && t[1] <= t[2] && t[2] <= set + __rdtsc() - since);
	vm_destroy(&vm);
}

static void test_cr8(void)
{
	struct kvm_sregs s;

	GUEST(vm, cr8, 0, 5);
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &s), 0);
	s.cr8 = 9;
	CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &s), 0);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 9);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 5);
	CHECK_EQ(vm.run->cr8, 5);
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &s), 0);
	CHECK_EQ(s.cr8, 5);
	s.cr8 = 16;
	CHECK_ERRNO(ioctl(vm.vcpu, KVM_SET_SREGS, &s), EINVAL);
	vm.regs.rbx = 16;
	vm_start(&vm);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 5);
	if (!on_tcg()) /* which takes the low bits */
		vm_expect_fault(&vm, GP, 0, -1);
	vm_destroy(&vm);
}

static void test_string_io_ends_the_vm(void)
{
	GUEST(vm, outsb, 0, 0);
	vm.regs.rsi = DATA;
	vm_start(&vm);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(vm_run(&vm), -EIO);
	vm_destroy(&vm);
}

/* REP before OUT does nothing. */
static void test_a_prefix_is_no_string_io(void)
{
	GUEST(vm, spin, 42, 0);
	memcpy(vm.mem + CODE, "\xf3\xe7\x10\xf4", 4);
	CHECK_EQ(vm_expect_out(&vm, 0x10), 42);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_HLT);
	vm_destroy(&vm);
}

static void test_triple_fault_ends_the_vm(void)
{
	GUEST(vm, triple, 0, 0);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_SHUTDOWN);
	CHECK_EQ(vm_run(&vm), -EIO);
	vm_destroy(&vm);
}

/* An IDT in unmapped memory: the delivery of #PF faults, and again, to a shutdown. */
static void test_faults_in_delivery_end_in_shutdown(void)
{
	struct kvm_sregs sregs;

	GUEST(vm, load, 0, DATA + 0x1000);
	*vm_entry(&vm, PT + 8) = 0;
	CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.idt.base = DATA + 0x1000;
	CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs), 0);
	CHECK_EQ(vm_run(&vm), KVM_EXIT_SHUTDOWN);
	vm_destroy(&vm);
}

/* What a VM entry refuses ends that VM. AMD-V looks at none of it: its guests run, or die. */
static void test_failed_entries_end_the_vm(void)
{
	uint32_t eax = 0, ebx, ecx, edx, n;
	struct kvm_sregs s;

	__cpuid(0, eax, ebx, ecx, edx);
	for (n = 0; n < 6; n++) {
		GUEST(vm, spin, 0, 0);
		CHECK_EQ(ioctl(vm.vcpu, KVM_GET_SREGS, &s), 0);
		s.tr.type = n == 0 ? 2 : 11;
		s.cs.db = n == 1 || n == 5;
		s.cs.l = n != 5; /* whose RIP has 32 bits */
		s.ss.dpl = n == 2 ? 3 : 0;
		s.ds.type = n == 3 ? 2 : 3;
		if (n == 4)
			s.ldt = (struct kvm_segment){ .present = 1, .type = 3 };
		CHECK_EQ(ioctl(vm.vcpu, KVM_SET_SREGS, &s), 0);
		vm.regs.rip = n == 5 ? 1ULL << 62 : CODE;
		vm_start(&vm);
		alarm_in(50);
		if (ebx == signature_INTEL_ebx) {
			CHECK_EQ(run_until_alarm(&vm), KVM_EXIT_FAIL_ENTRY);
			CHECK(vm.run->fail_entry.hardware_entry_failure_reason);
			CHECK_EQ(vm_run(&vm), -EIO);
		} else {
			run_until_alarm(&vm);
		}
		vm_destroy(&vm);
	}
	GUEST(vm, add, 40, 2); /* and others go on */
	CHECK_EQ(vm_expect_out(&vm, 0x10), 42);
	vm_destroy(&vm);
}

static void test_another_process_cannot_use_a_vm(void)
{
	struct kvm_regs regs;
	int status;

	GUEST(vm, spin, 0, 0);
	if (!fork()) {
		bool refused = ioctl(vm.vcpu, KVM_RUN, 0) == -1 && errno == EIO &&
			       ioctl(vm.vcpu, KVM_GET_REGS, &regs) == -1 && errno == EIO &&
			       ioctl(vm.fd, KVM_CREATE_VCPU, 0) == -1 && errno == EIO;
		_exit(!refused);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
	vm_destroy(&vm);
}

/* The VM's descriptors outlive the process that made it: nothing runs, nothing leaks. */
static void test_kill_during_run(void)
{
	int i, status;

	for (i = 0; i < 10; i++) {
		pid_t child = fork();

		if (!child) {
			GUEST(vm, spin, 0, 0);
			vm_run(&vm);
			_exit(1);
		}
		usleep(5000 + i * 3000);
		kill(child, SIGKILL);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSIGNALED(status));
	}
}

/* Does /proc/cpuinfo have the @word? */
static bool cpu_has(const char *word)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[8192];
	bool has = false;

	while (f && !has && fgets(line, sizeof(line), f))
		has = strstr(line, word);
	if (f)
		fclose(f);
	return has;
}

/*
 * Random code, random page tables, random state, in ring 0: the host survives
 * and each run ends in an exit of the documented kinds. Without unrestricted guests, VT-x
 * has states that a guest gets into and an entry refuses: in Bochs, an SS and a CS
 * whose RPL differ (Intel SDM vol 3 §27.3.1.2). That VM ends, alone.
 */
static void test_random_guests(void)
{
	const char *given = getenv("VMBOX_SEED");
	unsigned int seed = given ? (unsigned int)atoi(given) : (unsigned int)time(NULL);
	time_t end = time(NULL) + 8;
	bool may_refuse = cpu_has(" vmx") && !cpu_has("unrestricted_guest");
	unsigned long runs = 0;

	printf("seed %u\n", seed);
	srandom(seed);
	while (time(NULL) < end) {
		struct vm vm;
		int i, exits, r = 0;

		vm_create(&vm);
		for (i = 0; i < 4096; i++)
			vm.mem[CODE + i] = random();
		for (i = 0; i < 64; i++) {
			uint64_t entry = ((uint64_t)random() << 31 ^ random());

			if (random() & 1)
				entry &= 0x0000000000ffffff;
			*vm_entry(&vm, PT + (random() % 512) * 8) = entry;
			if (!(random() % 16))
				*vm_entry(&vm, PD + (random() % 64) * 8 + 16) = entry;
		}
		for (i = 0; i < 16; i++)
			((uint64_t *)&vm.regs)[i] = random() & 1 ? random() % MEM_SIZE
								 : (uint64_t)random() << 33;
		vm.regs.rsp = STACK;
		vm_start(&vm);
		for (exits = 0; exits < 20; exits++) {
			alarm_in(30);
			r = run_until_alarm(&vm);
			if (r == KVM_EXIT_SHUTDOWN || r == KVM_EXIT_INTERNAL_ERROR ||
			    r == KVM_EXIT_MMIO || r == -EINTR ||
			    (r == KVM_EXIT_FAIL_ENTRY && may_refuse))
				break;
			if (r != KVM_EXIT_IO && r != KVM_EXIT_HLT)
				FAIL("exit %d (seed %u, run %lu)", r, seed, runs);
		}
		vm_destroy(&vm);
		runs++;
	}
	printf("%lu guests\n", runs);
}

static const struct test tests[] = {
	TEST(unknown_ioctls_are_refused),
	TEST(bad_arguments_are_refused),
	TEST(registers_and_port_out),
	TEST(port_in),
	TEST(cpuid_is_an_allow_list),
	TEST(unlisted_msrs_fault),
	TEST(all_other_msrs_exit),
	TEST(ports_exit),
	TEST(listed_msrs_work),
	TEST(msrs_of_intel),
	TEST(control_registers_are_checked),
	TEST(pdptes_are_loaded_when_they_should),
	TEST(virtualization_is_not_nested),
	TEST(page_faults_reach_the_guest),
	TEST(injected_faults_have_rf),
	TEST(bit_8_of_level_3_is_ignored),
	TEST(accessed_and_dirty_bits),
	TEST(guest_flushes_are_obeyed),
	TEST(the_cache_outlives_flushes),
	TEST(unbacked_memory_exits_with_its_address),
	TEST(page_tables_outside_memory_exit),
	TEST(memory_follows_the_host),
	TEST(a_deleted_slot_is_gone),
	TEST(dirty_log_is_exact),
	TEST(read_only_memory),
	TEST(slots_move),
	TEST(memory_beyond_four_levels),
	TEST(fork_of_the_process),
	TEST(merged_pages),
	TEST(swapped_pages),
	TEST(swapped_page_tables),
	TEST(memory_pressure_takes_shadow_pages),
	TEST(large_pages),
	TEST(memory_churns_under_the_guest),
	TEST(run_goes_on_after_an_error),
	TEST(statistics),
	TEST(a_signal_ends_run),
	TEST(interrupts),
	TEST(interrupt_window),
	TEST(a_fault_takes_an_interrupts_place),
	TEST(guest_state_survives_exits),
	TEST(host_state_survives_runs),
	TEST(host_state_is_hidden),
	TEST(single_step_over_an_emulated_instruction),
	TEST(single_step_over_sti),
	TEST(breakpoints),
	TEST(icebp),
	TEST(mov_ss_blocks_interrupts),
	TEST(a_breakpoint_pending_after_mov_ss),
	TEST(the_tsc_is_the_guests_own),
	TEST(cr8),
	TEST(string_io_ends_the_vm),
	TEST(a_prefix_is_no_string_io),
	TEST(triple_fault_ends_the_vm),
	TEST(faults_in_delivery_end_in_shutdown),
	TEST(failed_entries_end_the_vm),
	TEST(another_process_cannot_use_a_vm),
	TEST(kill_during_run),
	TEST(random_guests),
};

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "--device")) {
		device = argv[2];
		argv += 2;
	}
	choose_test(tests, sizeof(tests) / sizeof(tests[0]), argv[1])->fn();
	return 0;
}
