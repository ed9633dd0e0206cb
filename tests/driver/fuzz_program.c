// SPDX-License-Identifier: GPL-2.0-only
/* The ioctl fuzzer's programs: as text, made up, and changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "vm.h"

static uint64_t *seed; /* of who has a program made */

static uint64_t below(uint64_t n)
{
	return fuzz_random(seed) % n;
}

static int print_call(char *to, size_t size, const struct call *c)
{
	const struct op *op = fuzz_ops + c->op;
	int i, n = snprintf(to, size, "%d %s", c->thread, op->name);

	for (i = 0; i < NR_ARGS && op->kinds[i]; i++)
		n += snprintf(to + n, size - n, " %lx", c->arg[i]);
	return n + snprintf(to + n, size - n, "\n");
}

/* To the console, past all that buffers. A line is a record: longer ones are refused. */
void fuzz_print(int fd, const char *prefix, const struct program *p)
{
	char line[200];
	int i, n = snprintf(line, sizeof(line), "%s#\n", prefix);

	for (i = 0; i <= p->n; i++) {
		if (write(fd, line, n) != n)
			break;
		if (i == p->n)
			break;
		n = snprintf(line, sizeof(line), "%s", prefix);
		n += print_call(line + n, sizeof(line) - n, p->calls + i);
	}
}

void fuzz_parse(struct call *c, char *line, const char *path)
{
	char *word = strtok(line, " \n");
	int i;

	*c = (struct call){ .thread = atoi(word ? word : "") % NR_THREADS };
	word = strtok(NULL, " \n");
	for (c->op = 0; c->op < fuzz_nr_ops; c->op++)
		if (word && !strcmp(word, fuzz_ops[c->op].name))
			break;
	if (c->op == fuzz_nr_ops)
		FAIL("%s: '%s' is not a call", path, word ? word : "");
	for (i = 0; i < NR_ARGS; i++) {
		word = strtok(NULL, " \n");
		c->arg[i] = word ? strtoull(word, NULL, 16) : 0;
	}
}

static const unsigned int cmds[] = {
	KVM_GET_API_VERSION,
	KVM_CREATE_VM,
	KVM_CHECK_EXTENSION,
	KVM_GET_VCPU_MMAP_SIZE,
	KVM_GET_SUPPORTED_CPUID,
	KVM_GET_EMULATED_CPUID,
	KVM_GET_MSR_INDEX_LIST,
	KVM_CREATE_VCPU,
	KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,
	KVM_GET_STATS_FD,
	KVM_SET_TSS_ADDR,
	KVM_SET_IDENTITY_MAP_ADDR,
	KVM_CREATE_IRQCHIP,
	KVM_IRQ_LINE,
	KVM_CREATE_PIT2,
	KVM_IOEVENTFD,
	KVM_IRQFD,
	KVM_ENABLE_CAP,
	KVM_CREATE_DEVICE,
	KVM_CLEAR_DIRTY_LOG,
	KVM_RESET_DIRTY_RINGS,
	KVM_RUN,
	KVM_GET_REGS,
	KVM_SET_REGS,
	KVM_GET_SREGS,
	KVM_SET_SREGS,
	KVM_SET_CPUID2,
	KVM_GET_CPUID2,
	KVM_INTERRUPT,
	KVM_GET_TSC_KHZ,
	KVM_SET_TSC_KHZ,
	KVM_GET_MSRS,
	KVM_SET_MSRS,
	KVM_GET_FPU,
	KVM_SET_FPU,
	KVM_GET_XSAVE,
	KVM_GET_VCPU_EVENTS,
	KVM_SET_GUEST_DEBUG,
	KVM_TRANSLATE,
	KVM_NMI,
	KVM_SMI,
	KVM_SET_SIGNAL_MASK,
	KVM_GET_MP_STATE,
	KVM_SET_SREGS2,
};

static uint64_t any_value(void)
{
	switch (below(4)) {
	case 0:
		return below(16);
	case 1:
		return fuzz_random(seed) >> below(64);
	default:
		return fuzz_interesting(fuzz_random(seed));
	}
}

static uint64_t any_offset(void)
{
	static const uint32_t tables[] = { PML4, PDPT,	PD,	PT,	GDT,
					   IDT,	 STUBS, 0x7000, 0xa000, 0xc000 };

	switch (below(4)) {
	case 0:
		return tables[below(10)] + below(512) * 8;
	case 1:
		return tables[below(10)] + below(8) * 8;
	case 2:
		return (below(2) ? DATA : CODE) + below(64) * 4096;
	default:
		return below(ARENA_SIZE >> 12) << 12;
	}
}

static uint64_t any_size(void)
{
	switch (below(16)) {
	case 0:
		return below(4096);
	case 1:
		return 0;
	case 2 ... 3:
		return below(8) << 21;
	case 4:
		return below(100) ? GUEST_SIZE : 1UL << (24 + below(40));
	default:
		return (1 + below(32)) << 12;
	}
}

static uint64_t any_hva(void)
{
	switch (below(12)) {
	case 0:
		return RUNS + below(4) * 4096;
	case 1:
		return fuzz_interesting(fuzz_random(seed));
	case 2:
		return 0x7ffffffff000 - below(3) * 4096;
	case 3:
		return ARENA + any_offset() + below(4096);
	case 4 ... 6:
		return ARENA;
	default:
		return ARENA + any_offset();
	}
}

static uint64_t any_entry(void)
{
	uint64_t flags = below(8) ? 7 | below(0x1000) : below(0x1000);

	if (!below(8))
		flags |= below(0x1000) << 52;
	if (!below(16))
		flags |= 1UL << below(52);
	return (any_offset() & ~0xfffUL) | (flags & (below(2) ? ~0UL : ~0x80UL));
}

/* A slot that mostly is the first that fits. */
static uint64_t any_slot(enum slot usual)
{
	switch (below(16)) {
	case 0:
		return below(NR_SLOTS);
	case 1 ... 3:
		return usual + 1;
	default:
		return usual;
	}
}

static uint64_t any(enum kind kind)
{
	switch (kind) {
	case DEV_SLOT:
		return any_slot(DEV);
	case VM_SLOT:
		return any_slot(VM);
	case VCPU_SLOT:
		return any_slot(VCPU);
	case STATS_SLOT:
		return any_slot(STATS);
	case ANY_SLOT:
		return below(NR_SLOTS);
	case ZERO:
		return below(8) ? 0 : any_value();
	case SMALL:
		return below(4) ? below(8) : below(8) ? below(300) : any_value();
	case HVA:
		return any_hva();
	case OFFSET:
		return any_offset();
	case SIZE:
		return any_size();
	case GPA:
		return below(2) ? any_offset() : below(4) ? 0 : any_value() & ~0xfffUL;
	case ENTRY:
		return any_entry();
	case INSN:
		return (fuzz_random(seed) & ~0xffUL) | below(66);
	case CMD:
		return cmds[below(sizeof(cmds) / sizeof(cmds[0]))] ^
		       (below(8) ? 0 : 1U << below(32));
	case CPU_MODE:
		return below(NR_CPU_MODES);
	case FIELD:
		return below(3) ? ~0UL : below(40) * 8;
	default:
		return any_value();
	}
}

/* Which call comes how often. */
static uint8_t any_op(void)
{
	int i, sum = 0, at;

	for (i = 0; i < fuzz_nr_ops; i++)
		sum += fuzz_ops[i].weight;
	at = below(sum);
	for (i = 0; at >= fuzz_ops[i].weight; i++)
		at -= fuzz_ops[i].weight;
	return i;
}

static struct call any_call(void)
{
	struct call c = { .thread = below(NR_THREADS), .op = any_op() };
	int i;

	for (i = 0; i < NR_ARGS && fuzz_ops[c.op].kinds[i]; i++)
		c.arg[i] = any(fuzz_ops[c.op].kinds[i]);
	return c;
}

static void insert(struct program *p, int at, struct call c)
{
	if (p->n == MAX_CALLS)
		return;
	memmove(p->calls + at + 1, p->calls + at, (p->n - at) * sizeof(c));
	p->calls[at] = c;
	p->n++;
}

static void append(struct program *p, const char *text)
{
	char line[200];

	snprintf(line, sizeof(line), "%s", text);
	fuzz_parse(p->calls + p->n++, line, "base");
}

/* A VM that could run, in one of the modes, and calls of all kinds on it. */
void fuzz_generate(struct program *p, uint64_t *random)
{
	static const char *const base[] = { "0 open 0",
					    "0 create_vm 0 2",
					    "0 create_vcpu 2 4",
					    "0 mmap 4",
					    "0 region 2 0 0 0 1000000 40000000",
					    "0 tables",
					    "0 cpuid 0 4 40 ffffffff",
					    "0 set_sregs 4 0 ffffffff 0 ffffffff",
					    "0 set_regs 4 ffffffff 0 ffffffff" };
	uint64_t mode;
	int i, n;

	seed = random;
	p->n = 0;
	for (i = 0; i < (int)(sizeof(base) / sizeof(base[0])); i++)
		append(p, base[i]);
	mode = below(2) ? LONG : below(NR_CPU_MODES);
	p->calls[5].arg[0] = mode;
	p->calls[7].arg[1] = mode;
	for (i = 0, n = 6 + below(18); i < n; i++)
		insert(p, p->n, any_call());
}

static void mutate_arg(struct call *c)
{
	int i, n = 0;

	while (n < NR_ARGS && fuzz_ops[c->op].kinds[n])
		n++;
	if (!n)
		return;
	i = below(n);
	switch (below(6)) {
	case 0:
		c->arg[i] ^= 1UL << below(64);
		break;
	case 1:
		c->arg[i] += below(2) ? 1 : -1;
		break;
	case 2:
		c->arg[i] += below(2) ? 4096 : -4096;
		break;
	default:
		c->arg[i] = any(fuzz_ops[c->op].kinds[i]);
	}
}

void fuzz_mutate(struct program *p, const struct program *other, uint64_t *random)
{
	int steps, at, from;

	seed = random;
	steps = 1 + below(5);
	while (steps-- && p->n) {
		at = below(p->n);
		switch (below(10)) {
		case 0 ... 3:
			insert(p, below(p->n + 1), any_call());
			break;
		case 4:
			p->n--;
			memmove(p->calls + at, p->calls + at + 1,
				(p->n - at) * sizeof(p->calls[0]));
			break;
		case 5:
			p->calls[at].thread = below(NR_THREADS);
			break;
		case 6: /* the other's end from somewhere on */
			for (from = below(other->n); from < other->n; from++)
				insert(p, p->n, other->calls[from]);
			break;
		default:
			mutate_arg(p->calls + at);
		}
	}
}
