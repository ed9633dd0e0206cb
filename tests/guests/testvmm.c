// SPDX-License-Identifier: GPL-2.0-only
/*
 * testvmm [--device PATH] [--superset] IMAGE [WORD...]: runs a multiboot (v1) image, an ELF, with
 * the given command line, over the part of the KVM API that vmbox has. The guest's ports are in
 * paging/guest.h.
 * --superset: the dirty log may have more pages than were written (KVM: pages that were read).
 * Exit status: the guest's, or 125 when the VMM or the driver is at fault.
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM_SIZE  0x1800000UL
#define LOG_SLOT  0x2000000UL
#define LOG_PAGES 512UL
#define LOG_SIZE  (LOG_PAGES * 4096)
#define RO_SLOT	  0x3000000UL
#define RO_SIZE	  0x10000UL
#define INFO	  0x8000UL /* multiboot's information, and the command line after it */
#define EVENTS	  0x7000UL /* where the guest sees how many events there were */
#define SETTLED	  256UL	   /* pages of the log slot from which events may take nothing */

static int dev, vm, vcpu;
static uint8_t *ram, *logged, *fixed; /* the slots 0, 1, 2 */
static struct kvm_run *run;
static uint32_t expected_mmio;
static bool mmio_seen;
static uint32_t failures;
static bool superset;

static pthread_t thread;
static volatile bool thread_stops;

static void *map_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(125, "mmap");
	return p;
}

static void set_slot(uint32_t slot, uint64_t gpa, void *mem, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = { .slot = slot,
						      .flags = flags,
						      .guest_phys_addr = gpa,
						      .memory_size = size,
						      .userspace_addr = (uintptr_t)mem };

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		err(125, "KVM_SET_USER_MEMORY_REGION");
}

static void set_log(bool on)
{
	set_slot(1, LOG_SLOT, logged, LOG_SIZE, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

/* ---- the guest's start ---- */

static uint32_t load_image(const char *path)
{
	static uint8_t file[4 << 20];
	const Elf32_Ehdr *eh = (const void *)file;
	const uint32_t *word = (const void *)file;
	int fd = open(path, O_RDONLY | O_CLOEXEC), i;
	ssize_t size;

	if (fd < 0)
		err(125, "%s", path);
	size = read(fd, file, sizeof(file));
	close(fd);
	for (i = 0;
	     i < 2048 && !(word[i] == 0x1badb002 && word[i] + word[i + 1] + word[i + 2] == 0);)
		i++;
	if (size < (ssize_t)sizeof(*eh) || i == 2048 || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS32)
		errx(125, "%s: not a multiboot image", path);
	for (i = 0; i < eh->e_phnum; i++) {
		const Elf32_Phdr *ph = (const void *)(file + eh->e_phoff + i * eh->e_phentsize);

		if (ph->p_type == PT_LOAD) /* the image is ours: its bounds are right */
			memcpy(ram + ph->p_paddr, file + ph->p_offset, ph->p_filesz);
	}
	return eh->e_entry;
}

static void make_info(char **words)
{
	uint32_t *info = (uint32_t *)(ram + INFO);
	char *line = (char *)(ram + INFO + 256);

	info[0] = 4;
	info[4] = INFO + 256;
	for (; *words; words++) {
		strcat(line, *words);
		strcat(line, " ");
	}
}

static void set_registers(uint32_t entry)
{
	struct kvm_segment code = {
		.limit = ~0U, .selector = 8, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_regs regs = { .rip = entry, .rax = 0x2badb002, .rbx = INFO, .rflags = 2 };
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		err(125, "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.cr0 = 0x31; /* NE ET PE */
	s.cr3 = s.cr4 = s.efer = s.apic_base = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &s))
		err(125, "KVM_SET_SREGS");
	if (ioctl(vcpu, KVM_SET_REGS, &regs))
		err(125, "KVM_SET_REGS");
}

static void create(const char *device)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 128 * sizeof(cpuid->entries[0]));
	int size;
	uint32_t i;

	dev = open(device, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		err(125, "%s", device);
	if (ioctl(dev, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		errx(125, "%s: not KVM's API", device);
	vm = ioctl(dev, KVM_CREATE_VM, 0);
	size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm < 0 || size < 0)
		err(125, "KVM_CREATE_VM");
	ram = map_memory(RAM_SIZE);
	logged = map_memory(LOG_SIZE);
	fixed = map_memory(RO_SIZE);
	for (i = 0; i < RO_SIZE / 4; i++)
		((uint32_t *)fixed)[i] = i;
	set_slot(0, 0, ram, RAM_SIZE, 0);
	set_log(false);
	set_slot(2, RO_SLOT, fixed, RO_SIZE, KVM_MEM_READONLY);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		err(125, "KVM_CREATE_VCPU");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(125, "mmap of the vCPU");
	cpuid->nent = 128;
	if (ioctl(dev, KVM_GET_SUPPORTED_CPUID, cpuid) || ioctl(vcpu, KVM_SET_CPUID2, cpuid))
		err(125, "CPUID");
	free(cpuid);
}

static void __attribute__((format(printf, 1, 2))) complain(const char *fmt, ...)
{
	va_list args;

	printf("not ok vmm: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	failures++;
}

/* ---- the dirty log ---- */

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* The guest has ended @round, in which it wrote 64 pages, drawn from the round's number. */
static void check_round(uint32_t round)
{
	uint64_t want[LOG_PAGES / 64] = { 0 }, got[LOG_PAGES / 64] = { 0 };
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = got };
	uint32_t x = round * 2654435761U | 1, i;

	for (i = 0; i < 64; i++) {
		uint32_t page = next_random(&x) % LOG_PAGES;

		want[page / 64] |= 1ULL << (page % 64);
	}
	if (ioctl(vm, KVM_GET_DIRTY_LOG, &log))
		err(125, "KVM_GET_DIRTY_LOG");
	for (i = 0; i < LOG_PAGES; i++)
		if (((want[i / 64] ^ got[i / 64]) & ~(superset ? got[i / 64] : 0)) >> (i % 64) & 1)
			complain("round %u: page %u, expected %s, got the opposite", round, i,
				 want[i / 64] >> (i % 64) & 1 ? "dirty" : "clean");
}

static void *toggle_log(void *unused)
{
	bool on = false;

	while (!thread_stops) {
		uint64_t bitmap[LOG_PAGES / 64];
		struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };

		set_log(on = !on);
		if (on && ioctl(vm, KVM_GET_DIRTY_LOG, &log))
			err(125, "KVM_GET_DIRTY_LOG");
		usleep(500);
	}
	return unused;
}

static void start_thread(void *(*function)(void *))
{
	thread_stops = false;
	if (pthread_create(&thread, NULL, function, NULL))
		errx(125, "pthread_create");
}

static void stop_thread(void)
{
	thread_stops = true;
	pthread_join(thread, NULL);
}

static void log_request(uint32_t what)
{
	switch (what) {
	case 0:
	case 1:
		set_log(what);
		break;
	case 2:
		start_thread(toggle_log);
		break;
	case 3:
		stop_thread();
		set_log(false);
		set_log(true); /* the log is empty */
		break;
	}
}

/* ---- what the host does to memory ---- */

/* Memory as the fork saw it must stay so in the child, while the guest writes on. */
static void fork_once(void)
{
	uint32_t *words = (uint32_t *)logged;
	uint64_t sums[2] = { 0 };
	size_t i, n;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(125, "fork");
	if (!pid) {
		for (n = 0; n < 2; n++) {
			for (i = 0; i < SETTLED * 1024; i += 16)
				sums[n] = sums[n] * 31 + words[i];
			usleep(5000);
		}
		_exit(sums[0] != sums[1]);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		complain("the child's memory changed after fork (%#x)", status);
}

static uint32_t nr_events[4];

/* The first SETTLED pages keep their contents; the others may turn to zeros. */
static void *events(void *unused)
{
	uint32_t x = 1, n = 0;

	madvise(logged, LOG_SIZE, MADV_MERGEABLE);
	while (!thread_stops) {
		uint32_t what = n++ % 4;
		size_t page = next_random(&x) % SETTLED, pages = 1 + next_random(&x) % 16;

		nr_events[what]++;
		switch (what) {
		case 0:
			pages = pages < SETTLED - page ? pages : SETTLED - page;
			madvise(logged + (SETTLED + page) * 4096, pages * 4096, MADV_DONTNEED);
			break;
		case 1:
			madvise(logged + page * 4096, pages * 4096, MADV_PAGEOUT);
			break;
		case 2:
			fork_once();
			break;
		case 3:
			madvise(logged + page * 4096, pages * 4096,
				n & 4 ? MADV_UNMERGEABLE : MADV_MERGEABLE);
			break;
		}
		__atomic_store_n((uint32_t *)(ram + EVENTS), n, __ATOMIC_RELEASE);
		usleep(300);
	}
	return unused;
}

static void events_request(uint32_t on)
{
	if (on) {
		memset(nr_events, 0, sizeof(nr_events));
		memset(ram + EVENTS, 0, 4);
		start_thread(events);
		return;
	}
	stop_thread();
	printf("# events: %u dontneed, %u pageout, %u fork, %u merge\n", nr_events[0], nr_events[1],
	       nr_events[2], nr_events[3]);
}

/* ---- exits ---- */

/* The guest's instruction has two bytes. KVM decodes it and skips it; vmbox does neither. */
static void handle_mmio(void)
{
	struct kvm_regs regs;

	if (run->mmio.phys_addr != (expected_mmio & ~1U) ||
	    run->mmio.is_write != (expected_mmio & 1))
		complain("MMIO %s %#llx, expected %#x", run->mmio.is_write ? "write" : "read",
			 run->mmio.phys_addr, expected_mmio);
	mmio_seen = true;
	memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
	if (run->mmio.len)
		return;
	if (ioctl(vcpu, KVM_GET_REGS, &regs))
		err(125, "KVM_GET_REGS");
	regs.rip += 2;
	if (!run->mmio.is_write)
		regs.rax = 0x5a5a5a5a;
	if (ioctl(vcpu, KVM_SET_REGS, &regs))
		err(125, "KVM_SET_REGS");
}

/* An OUT. False: it was the last. */
static bool handle_out(uint32_t *status)
{
	uint32_t value = 0;

	memcpy(&value, (uint8_t *)run + run->io.data_offset, run->io.size);
	switch (run->io.port) {
	case 0xe9:
		putchar(value);
		return true;
	case 0xe4:
		if (!value && !mmio_seen)
			complain("no MMIO exit, expected %#x", expected_mmio);
		mmio_seen = false;
		expected_mmio = value;
		return true;
	case 0xe5:
		check_round(value);
		return true;
	case 0xe6:
		log_request(value);
		return true;
	case 0xe7:
		events_request(value);
		return true;
	case 0xf4:
		*status = value;
		return false;
	}
	errx(125, "OUT to port %#x", run->io.port);
}

static uint32_t run_guest(void)
{
	uint32_t status = 0;
	struct kvm_regs regs = { 0 };

	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0)) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			err(125, "KVM_RUN");
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT) {
			if (!handle_out(&status))
				return status;
		} else if (run->exit_reason == KVM_EXIT_MMIO && expected_mmio) {
			handle_mmio();
		} else {
			break;
		}
	}
	fflush(stdout);
	ioctl(vcpu, KVM_GET_REGS, &regs);
	errx(125, "exit %u (%#llx, %#llx) at rip %#llx", run->exit_reason,
	     run->internal.suberror + 0ULL, run->mmio.phys_addr, regs.rip);
}

int main(int argc, char **argv)
{
	const char *device = "/dev/vmbox";
	uint32_t status;

	setlinebuf(stdout);
	if (argc > 2 && !strcmp(argv[1], "--device")) {
		device = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc > 1 && !strcmp(argv[1], "--superset")) {
		superset = true;
		argv++;
		argc--;
	}
	if (argc < 2)
		errx(125, "usage: testvmm [--device PATH] [--superset] IMAGE [WORD...]");
	create(device);
	set_registers(load_image(argv[1]));
	make_info(argv + 2);
	status = run_guest();
	return status ? (int)status : !!failures;
}
