// SPDX-License-Identifier: GPL-2.0-only
/* The paging tests' main: output, the command line ("tlb seed=1 cases=2000"), what runs. */
#include <stdarg.h>

#include "guest.h"

const char *const mode_names[] = { "off", "32", "pae", "long" };
u32 seed = 1;

static const char *command_line;
enum mode current_mode;
static bool failed;	  /* since the last done() */
static u32 nr_complaints; /* of it */
static u32 nr_failed;

static void putc(char c)
{
	asm volatile("outb %0, $0xe9" ::"a"(c));
}

static void put_hex(u64 v)
{
	int i;

	for (i = 60; i > 0 && !(v >> i); i -= 4)
		;
	for (; i >= 0; i -= 4)
		putc("0123456789abcdef"[(v >> i) & 15]);
}

static void put_decimal(u32 v)
{
	if (v >= 10)
		put_decimal(v / 10);
	putc('0' + v % 10);
}

void print(const char *fmt, ...)
{
	const char *s;
	va_list args;

	va_start(args, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			putc(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 's':
			for (s = va_arg(args, const char *); *s; s++)
				putc(*s);
			break;
		case 'x':
			put_hex(va_arg(args, u32));
			break;
		case 'X':
			put_hex(va_arg(args, u64));
			break;
		case 'u':
			put_decimal(va_arg(args, u32));
			break;
		}
	}
	va_end(args);
}

bool check(bool good, const char *name, const char *what, u64 expected, u64 got)
{
	if (good)
		return true;
	if (nr_complaints++ < 10)
		print("not ok %s %s: %s, expected %X, got %X\n", mode_names[current_mode], name,
		      what, expected, got);
	failed = true;
	return false;
}

void done(const char *name)
{
	if (failed)
		nr_failed++;
	else
		print("ok %s %s\n", mode_names[current_mode], name);
	if (nr_complaints > 10)
		print("# %s: %u more\n", name, nr_complaints - 10);
	failed = false;
	nr_complaints = 0;
}

/* Is @name a word of the command line, or followed by =NUMBER, which goes to @value? */
bool option(const char *name, u32 *value)
{
	const char *s = command_line, *n;

	while (*s) {
		for (n = name; *n && *s == *n; s++, n++)
			;
		if (!*n && (!*s || *s == ' '))
			return true;
		if (!*n && *s == '=' && value) {
			for (*value = 0, s++; *s >= '0' && *s <= '9'; s++)
				*value = *value * 10 + *s - '0';
			return true;
		}
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	return false;
}

u32 random32(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
	asm volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(0));
}

u32 max_phys_bits(void)
{
	u32 a, b, c, d;

	cpuid(0x80000008, &a, &b, &c, &d);
	return a & 0xff;
}

bool is_amd(void)
{
	u32 a, b, c, d;

	cpuid(0, &a, &b, &c, &d);
	return b == 0x68747541; /* "Auth" */
}

static u32 features7(void)
{
	u32 a, b, c, d;

	cpuid(7, &a, &b, &c, &d);
	return b;
}

bool has_smep(void)
{
	return features7() >> 7 & 1;
}

bool has_smap(void)
{
	return features7() >> 20 & 1;
}

void panic(void)
{
	print("not ok panic: vector %X, error %X, cr2 %X, eip %X\n", fault_vector, fault_error,
	      fault_cr2, fault_eip);
	leave(2);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "tlb", test_tlb },	   { "livelock", test_livelock }, { "selfmap", test_selfmap },
	{ "access", test_access }, { "modes", test_modes },	  { "dirty", test_dirty },
	{ "host", test_host },
};

/* @info: multiboot's; the command line is its word 4, if flag 2 is set. */
void main(const u32 *info)
{
	u32 i, ran = 0;

	command_line = info[0] & 4 ? (const char *)info[4] : "";
	option("seed", &seed);
	seed += !seed;
	load_idt(M_OFF, idt_of(M_OFF, &i));
	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!option(tests[i].name, 0))
			continue;
		alloc_reset();
		tests[i].run();
		ran++;
	}
	if (!ran)
		print("not ok: no test of that name\n");
	leave(nr_failed || !ran);
}
