// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test guests for paging: what the architecture prescribes, and what a shadow
 * MMU finds hard. Built as a 32-bit image (paging off, 32-bit, PAE) and as a
 * 64-bit one. Prints "ok NAME" or "not ok NAME: …" to port 0xE9; the exit port
 * 0xF4 gets the number of failures.
 *
 * Physical memory: the image at 1 MiB; what tests map from 2 MiB; page tables
 * from 4 MiB. All of 16 MiB is mapped one to one for the supervisor, but for one
 * page of the image that is user's. Tests use addresses from TEST on.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long word;

#define P    1ULL
#define W    2ULL
#define U    4ULL
#define A    0x20ULL
#define D    0x40ULL
#define PS   0x80ULL
#define G    0x100ULL
#define NX   (1ULL << 63)
#define RSVD (1ULL << 51) /* over MAXPHYADDR */
#define ALL  (P | W | U | A | D)

#define CR0_WP	 (1UL << 16)
#define CR0_PG	 (1UL << 31)
#define CR4_PSE	 (1UL << 4)
#define CR4_PAE	 (1UL << 5)
#define CR4_PGE	 (1UL << 7)
#define CR4_SMEP (1UL << 20)
#define CR4_SMAP (1UL << 21)
#define EFER	 0xc0000080
#define NXE	 (1UL << 11)

#define DATA   0x203000UL /* the page that all sizes of pages map at TEST */
#define DATA2  0x204000UL
#define POOL   0x400000UL
#define MEMORY 0x1000000UL
#ifdef __x86_64__
#define TEST 0x8040203000UL
#else
#define TEST 0x40203000UL
#endif

enum mode {
	OFF,
	M32,
	MPAE,
	M64
};
static enum mode mode;
static u32 pool_next;
static u64 root; /* the tables in force */
static int failures;
static const char *test_name;
static u64 random_state = 88172645463325252ULL;

extern word fault_vector, fault_error, fault_cr2;
extern word vectors[];
extern u8 gdt_tss[], tss[], user_page[], user_read[], user_write[], user_call[];
int try_read(word addr);
int try_write(word addr);
int try_call(word addr);
int try_user(const u8 *stub, word addr);
int try_insn(void (*fn)(word), word arg);
int main(void);

/* ---- the machine ---- */

static void outb(unsigned short port, u8 val)
{
	asm volatile("outb %0, %1" ::"a"(val), "Nd"(port));
}

static void print(const char *s)
{
	while (*s)
		outb(0xe9, *s++);
}

static void print_hex(u64 v)
{
	char s[19], *p = s + sizeof(s) - 1;

	*p = 0;
	do
		*--p = "0123456789abcdef"[v & 15];
	while (v >>= 4);
	*--p = 'x';
	*--p = '0';
	print(p);
}

static word read_cr0(void)
{
	word v;

	asm volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}

static word read_cr4(void)
{
	word v;

	asm volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}

static void write_cr0(word v)
{
	asm volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}

static void write_cr3(word v)
{
	asm volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}

static void write_cr4(word v)
{
	asm volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}

static void invlpg(word addr)
{
	asm volatile("invlpg (%0)" ::"r"(addr) : "memory");
}

static void set_nxe(int on)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(EFER));
	lo = on ? lo | NXE : lo & ~NXE;
	asm volatile("wrmsr" ::"a"(lo), "d"(hi), "c"(EFER));
}

static void set_ac(int on)
{
	word f;

	asm volatile("pushf; pop %0" : "=r"(f));
	f = on ? f | 1 << 18 : f & ~(1UL << 18);
	asm volatile("push %0; popf" ::"r"(f) : "cc", "memory");
}

static volatile u8 *at(word addr)
{
	return (volatile u8 *)addr;
}

static volatile word *words(word addr)
{
	return (volatile word *)addr;
}

static void clear_page(word page)
{
	word i;

	for (i = 0; i < 4096 / sizeof(word); i++)
		words(page)[i] = 0;
}

static u64 rnd(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 11;
}

/* ---- verdicts ---- */

static int bad; /* of the test under way */

static void expect(const char *what, u64 got, u64 want)
{
	if (got == want || bad++ > 3)
		return;
	print("not ok ");
	print(test_name);
	print(": ");
	print(what);
	print(": expected ");
	print_hex(want);
	print(", got ");
	print_hex(got);
	print("\n");
}

static void begin(const char *name)
{
	test_name = name;
	bad = 0;
}

static void end(void)
{
	static const char *const names[] = { "off", "32-bit", "PAE", "64-bit" };

	if (bad)
		failures++;
	print(bad ? "failed " : "ok ");
	print(test_name);
	print(" (");
	print(names[mode]);
	print(")\n");
}

/* ---- page tables, in the format of the mode ---- */

static int levels(void)
{
	return mode == M64 ? 4 : mode == MPAE ? 3 : 2;
}

static int shift_of(int level)
{
	return mode == M32 ? (level == 2 ? 22 : 12) : 12 + 9 * (level - 1);
}

static u32 index_of(word addr, int level)
{
	return addr >> shift_of(level) & (mode == M32		       ? 1023
					  : mode == MPAE && level == 3 ? 3
								       : 511);
}

static u64 get(u64 table, u32 index)
{
	return mode == M32 ? *(volatile u32 *)(word)(table + index * 4)
			   : *(volatile u64 *)(word)(table + index * 8);
}

static void put(u64 table, u32 index, u64 e)
{
	if (mode == M32)
		*(volatile u32 *)(word)(table + index * 4) = e;
	else
		*(volatile u64 *)(word)(table + index * 8) = e;
}

static u64 new_page(void)
{
	u64 page = POOL + 4096 * pool_next++;

	clear_page(page);
	return page;
}

/* An entry for a table; PAE's level 3 has no rights. */
static u64 table_entry(int level, u64 table)
{
	return table | (mode == MPAE && level == 3 ? P : ALL);
}

/* The table of @level for @addr under @r, made where it is missing. */
static u64 table_of(u64 r, word addr, int level)
{
	int l;

	for (l = levels(); l > level; l--) {
		u32 i = index_of(addr, l);

		if (!(get(r, i) & P))
			put(r, i, table_entry(l, new_page()));
		r = get(r, i) & 0xfffffff000;
	}
	return r;
}

static void map(u64 r, word addr, u64 e)
{
	put(table_of(r, addr, 1), index_of(addr, 1), e);
}

/* Tables with all of memory mapped one to one. */
static u64 new_root(void)
{
	u64 r = new_page();
	word a;

	for (a = 0; a < MEMORY; a += 4096)
		map(r, a, a | P | W | A | D | (a == (word)user_page ? U : 0));
	return r;
}

/* The tables on the way to TEST, by level. */
static u64 path[5];

static void make_path(void)
{
	int l;

	map(root, TEST, DATA | ALL);
	for (l = 1; l <= levels(); l++)
		path[l] = table_of(root, TEST, l);
}

static void set_path(int level, u64 e)
{
	put(path[level], index_of(TEST, level), e);
}

static void reset_path(void)
{
	int l;

	for (l = levels(); l > 1; l--)
		set_path(l, table_entry(l, path[l - 1]));
	set_path(1, DATA | ALL);
}

static void flush(void)
{
	write_cr3(root);
}

/* ---- the reference: AMD APM vol 2 §5.2 to §5.6, §8.4.2 ---- */

enum kind {
	READ,
	WRITE,
	FETCH
};

struct outcome {
	int faults;
	u32 code;
	int leaf; /* level */
};

static int nxe_now, ac_now;

static struct outcome reference(const u64 *e, enum kind kind, int user)
{
	word cr0 = read_cr0(), cr4 = read_cr4();
	int smep = !!(cr4 & CR4_SMEP), smap = !!(cr4 & CR4_SMAP), wp = !!(cr0 & CR0_WP);
	int w = 1, u = 1, x = 1, l;
	struct outcome o = { 0, (kind == WRITE ? 2 : 0) | (user ? 4 : 0), 0 };

	if (kind == FETCH && ((nxe_now && mode != M32) || smep))
		o.code |= 16;
	for (l = levels(); l >= 1; l--) {
		int large = (e[l] & PS) && (l == 2 || (l == 3 && mode == M64)) &&
			    (mode != M32 || (cr4 & CR4_PSE));
		int reserved = 0;

		if (!(e[l] & P)) {
			o.faults = 1;
			return o;
		}
		if (mode == M32) {
			reserved = large && (e[l] & 1 << 21);
		} else if (!(mode == MPAE && l == 3)) {
			reserved = !!(e[l] & RSVD) || ((e[l] & NX) && !nxe_now) ||
				   (l == 4 && (e[l] & PS)) || (large && (e[l] & 0x2000));
			x &= !(e[l] & NX);
		}
		if (reserved) {
			o.faults = 1;
			o.code |= 9;
			return o;
		}
		if (!(mode == MPAE && l == 3)) {
			w &= !!(e[l] & W);
			u &= !!(e[l] & U);
		}
		o.leaf = l;
		if (large)
			break;
	}
	if (user)
		o.faults = !u || (kind == WRITE && !w) || (kind == FETCH && !x);
	else if (kind == FETCH)
		o.faults = !x || (u && smep);
	else
		o.faults = (u && smap && !ac_now) || (kind == WRITE && !w && wp);
	if (o.faults)
		o.code |= 1;
	return o;
}

static int do_access(enum kind kind, int user, word addr)
{
	int r;

	if (user) {
		r = try_user(kind == READ    ? user_read
			     : kind == WRITE ? user_write
					     : user_call,
			     kind == FETCH ? addr + 0x20 : addr);
	} else {
		set_ac(ac_now);
		r = kind == READ    ? try_read(addr)
		    : kind == WRITE ? try_write(addr)
				    : try_call(addr + 0x10);
		set_ac(0);
	}
	return r;
}

/* One access to TEST through the entries as they are set, against the reference. */
static void check(enum kind kind, int user)
{
	struct outcome o;
	u64 e[5] = { 0 }, now;
	int l, faulted;

	for (l = levels(); l >= 1; l--)
		e[l] = get(path[l], index_of(TEST, l));
	o = reference(e, kind, user);
	faulted = do_access(kind, user, TEST);
	expect("faults", faulted, o.faults);
	if (faulted && o.faults) {
		expect("vector", fault_vector, 14);
		expect("error code", fault_error, o.code);
		expect("CR2", fault_cr2, TEST + (kind != FETCH ? 0 : user ? 0x20 : 0x10));
		return;
	}
	if (faulted != o.faults) {
		expect("entry of level 1", e[1], 0x1dea);
		expect("entry of level 2", e[2], 0x1dea);
		expect("kind and user", kind | user << 4, 0x1dea);
		return;
	}
	for (l = levels(); l >= 1; l--) { /* A of all that were used, D of the last */
		if (mode == MPAE && l == 3)
			continue;
		now = get(path[l], index_of(TEST, l));
		expect("entry after", now,
		       l < o.leaf ? e[l] : e[l] | A | (l == o.leaf && kind == WRITE ? D : 0));
		if (l == o.leaf)
			break;
	}
}

static void set_config(u32 c)
{
	word cr0 = read_cr0() & ~CR0_WP, cr4 = read_cr4() & ~(CR4_SMEP | CR4_SMAP | CR4_PSE);

	write_cr0(cr0 | (c & 1 ? CR0_WP : 0));
	write_cr4(cr4 | (c & 2 ? CR4_SMEP : 0) | (c & 4 ? CR4_SMAP : 0) |
		  (c & 32 || mode != M32 ? CR4_PSE : 0));
	ac_now = !!(c & 8);
	nxe_now = c & 16 && mode != M32;
	set_nxe(nxe_now);
}

/* Entry bits of a level, numbered, so that all combinations can be counted through. */
static u64 entry_bits(int level, u32 c)
{
	u64 next = level == 1 ? DATA : path[level - 1];
	u64 e = (c & 1 ? P : 0) | (c & 2 ? W : 0) | (c & 4 ? U : 0) | (c & 8 ? A : 0) |
		(c & 16 ? D : 0);

	if ((c & 32) && level > 1) {
		e |= PS;
		if (mode == M32)
			next = read_cr4() & CR4_PSE ? 0 : next;
		else if (level == 2)
			next = 0x200000;
		else if (level == 3)
			next = 0;
	}
	if ((c & 64) && mode != M32)
		e |= NX;
	return next | e;
}

static void flush_test(u32 n)
{
	if (n & 1)
		invlpg(TEST);
	else
		flush();
}

/* Every combination of bits at each level in turn, the others allowing all. */
static void test_rights(void)
{
	u32 config, c, n = 0;
	int level, kind, user;

	begin("rights, each level");
	make_path();
	for (config = 0; config < (mode == M32 ? 64 : 32); config++) {
		if (mode == M32 && (config & 16))
			continue;
		set_config(config);
		for (level = levels(); level >= 1; level--) {
			if (mode == MPAE && level == 3)
				continue;
			for (c = 0; c < 128; c++) {
				if (mode == M32 && (c & 64))
					continue;
				if (level == 1 && (c & 32)) /* PAT, not PS */
					continue;
				kind = n++ % 3;
				for (user = 0; user < 2; user++) {
					reset_path();
					set_path(level, entry_bits(level, c));
					flush_test(n);
					check(kind, user);
				}
			}
		}
	}
	set_config(32);
	reset_path();
	end();
}

/* All levels at once, at random; now and then a reserved bit. */
static void test_rights_mixed(void)
{
	u32 config, i;
	int level;

	begin("rights, all levels");
	for (config = 0; config < 64; config++) {
		set_config(config);
		for (i = 0; i < 120; i++) {
			for (level = levels(); level >= 1; level--) {
				u64 e = entry_bits(level, rnd() % 128 | (rnd() % 4 ? 7 : 0));

				if (mode == MPAE && level == 3)
					e = table_entry(3, path[2]);
				else if (!(rnd() % 16))
					e |= mode == M32 ? 1 << 21 : rnd() % 2 ? RSVD : 0x2000;
				if (level == 1 || !(e & PS)) /* 0x2000 would be another table */
					e = (e & ~0x2000ULL) |
					    (level == 1 ? DATA : path[level - 1]);
				if (mode == M32 && level == 1)
					e &= ~(1ULL << 21), e |= DATA;
				if (mode == M32 && level == 2 &&
				    !((e & PS) && (read_cr4() & CR4_PSE)))
					e = (e & 0xfff) | path[1];
				if (level == 1)
					e &= ~PS;
				set_path(level, e);
			}
			flush_test(i);
			check(rnd() % 3, rnd() % 2);
		}
	}
	set_config(32);
	reset_path();
	end();
}

/* ---- what a TLB may and may not do ---- */

#define TEST2 (TEST + 0x1000)

static void expect_byte(const char *what, word addr, u8 want)
{
	if (try_read(addr))
		expect(what, 0x1000 + fault_vector, want);
	else
		expect(what, *at(addr), want);
}

static void test_tlb(void)
{
	u64 t1 = path[1], other = new_page();
	u32 i = index_of(TEST, 1), k;

	begin("TLB");
	flush();
	*at(DATA) = 1;
	*at(DATA2) = 2;
	put(t1, i, 0);
	flush();
	expect("not present", try_read(TEST), 1);
	put(t1, i, DATA | ALL);
	expect_byte("present needs no flush", TEST, 1);
	put(t1, i, DATA2 | ALL);
	invlpg(TEST);
	expect_byte("INVLPG", TEST, 2);
	put(t1, i, DATA | ALL);
	flush();
	expect_byte("MOV CR3", TEST, 1);
	put(t1, i, (DATA | ALL) & ~W);
	write_cr0(read_cr0() | CR0_WP);
	invlpg(TEST);
	expect("read-only after INVLPG", try_write(TEST), 1);
	put(t1, i, DATA | ALL);
	expect("wider rights need no flush", try_write(TEST), 0);

	/* A and D that are cleared are set again */
	put(t1, i, DATA | P | W | U);
	invlpg(TEST);
	try_read(TEST);
	expect("A", get(t1, i), DATA | P | W | U | A);
	try_write(TEST);
	expect("D", get(t1, i), DATA | ALL);
	put(t1, i, DATA | P | W | U | A);
	invlpg(TEST);
	try_write(TEST);
	expect("D again", get(t1, i), DATA | ALL);
	*at(DATA) = 1;

	/* another table at the next level up; INVLPG of another address flushes it too */
	put(other, i, DATA2 | ALL);
	put(other, i + 1, DATA2 | ALL);
	put(path[2], index_of(TEST, 2), other | ALL);
	invlpg(TEST);
	expect_byte("another table", TEST, 2);
	put(path[2], index_of(TEST, 2), t1 | ALL);
	invlpg(TEST);
	expect_byte("the first again", TEST, 1);
	put(t1, i + 1, 0);
	put(path[2], index_of(TEST, 2), other | ALL);
	invlpg(TEST);
	expect_byte("its neighbour, not used before", TEST2, 2);
	put(path[2], index_of(TEST, 2), t1 | ALL);
	flush();

	/* global pages survive MOV CR3, or not; with PGE off and on they go */
	write_cr4(read_cr4() | CR4_PGE);
	put(t1, i, DATA | ALL | G);
	invlpg(TEST);
	expect_byte("global", TEST, 1);
	put(t1, i, DATA2 | ALL | G);
	write_cr4(read_cr4() & ~CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	expect_byte("after PGE", TEST, 2);
	write_cr4(read_cr4() & ~CR4_PGE);

	/* a table is used as data, then as a table again */
	for (k = 0; k < 8; k++) {
		put(t1, i, (k & 1 ? DATA2 : DATA) | ALL);
		put(path[2], index_of(TEST, 2), t1 | ALL);
		flush();
		expect_byte("as a table", TEST, k & 1 ? 2 : 1);
		put(path[2], index_of(TEST, 2), 0);
		flush();
		clear_page(t1);
		expect("as data", try_read(TEST), 1);
	}
	reset_path();
	flush();
	end();
}

static void test_large(void)
{
	word base = TEST & ~(mode == M32 ? 0x3fffffUL : 0x1fffffUL), a;
	u64 low = mode == M32 ? 0 : 0x200000;

	begin("large pages");
	write_cr4(read_cr4() | CR4_PSE);
	*at(DATA) = 1;
	put(path[2], index_of(TEST, 2), low | ALL | PS);
	flush();
	expect_byte("mapped", TEST, 1);
	for (a = 0x200000; a < 0x210000; a += 4096) { /* several splinters of it */
		*at(a) = a >> 12;
		expect_byte("each page", base + a - low, a >> 12 & 0xff);
	}
	put(path[2], index_of(TEST, 2), path[1] | ALL);
	map(root, base + 0x205000 - low, DATA2 | ALL);
	*at(DATA2) = 77;
	invlpg(base + 0x208000 - low);
	expect_byte("INVLPG anywhere in it flushes it", base + 0x205000 - low, 77);
	put(path[2], index_of(TEST, 2), low | P | W | U | A | PS);
	flush();
	try_read(TEST);
	expect("D of a large page is not set by a read", get(path[2], index_of(TEST, 2)) & D, 0);
	try_write(TEST);
	expect("D of a large page", get(path[2], index_of(TEST, 2)) & D, D);
	put(path[2], index_of(TEST, 2), low | P | W | U | A | PS);
	flush();
	try_write(TEST);
	expect("D of a large page again", get(path[2], index_of(TEST, 2)) & D, D);
	reset_path();
	flush();
	end();
}

/* Two address spaces that share a table, and one that they do not. */
static void test_switch(void)
{
	u64 other = new_root(), own = root;
	int i;

	begin("address spaces");
	for (i = 0; i < 200; i++) {
		u64 d1 = i & 2 ? DATA : DATA2, d2 = i & 2 ? DATA2 : DATA;

		*at(DATA) = 1;
		*at(DATA2) = 2;
		map(own, TEST, d1 | ALL);
		map(other, TEST, d2 | ALL);
		write_cr3(other);
		expect_byte("the other", TEST, *at(d2));
		if (i % 3 == 0)
			map(other, TEST2, (i & 4 ? DATA : DATA2) | ALL);
		if (i % 3 == 1)
			expect_byte("its second page", TEST2, (i - 1) & 4 ? 1 : 2);
		map(own, TEST, d2 | ALL);
		write_cr3(own);
		expect_byte("its own, edited from there", TEST, *at(d2));
	}
	reset_path();
	flush();
	end();
}

/* ---- tables that map themselves ---- */

#define SELF64(self, addr) \
	((word)(0xffffULL << 48 | (u64)(self) << 39 | ((addr) >> 9 & 0x7ffffffff8ULL)))

/* The root's entry that points to the root. Not for PAE's registers: there the page directory. */
static void test_recursive(void)
{
	u64 dir = mode == MPAE ? path[2] : root;
	u32 self = mode == M32 ? 1000 : 500, k;
	word window, entry, size = mode == M32 ? 4 : 8;

	begin("recursive tables");
	put(dir, self, dir | P | W | A | D);
	flush();
	/* Where the entry of TEST at level 1 is seen: one round through the self entry. */
	if (mode == M64)
		window = SELF64(self, TEST);
	else if (mode == MPAE)
		window = (TEST & 0xc0000000) | self << 21 | (TEST >> 9 & 0x1ff000) |
			 index_of(TEST, 1) * size;
	else
		window = self << 22 | (TEST >> 10 & 0x3ff000) | index_of(TEST, 1) * size;
	*at(DATA) = 1;
	*at(DATA2) = 2;
	for (k = 0; k < 20; k++) {
		u64 d = k & 1 ? DATA2 : DATA;

		if (mode == M32)
			*(volatile u32 *)window = d | ALL;
		else
			*(volatile u64 *)window = d | ALL;
		invlpg(TEST);
		expect("the entry, by its other address", get(path[1], index_of(TEST, 1)), d | ALL);
		expect_byte("an edit through the window", TEST, k & 1 ? 2 : 1);
	}
	if (mode != M64) { /* the directory through itself: its own self entry */
		entry = mode == MPAE ? (TEST & 0xc0000000) | self << 21 | self << 12 | self * 8
				     : self << 22 | self << 12 | self * 4;
		expect("the self entry", *(volatile u32 *)entry, dir | P | W | A | D);
		*(volatile u32 *)entry = dir | P | W | A | D | G;
		invlpg(entry);
		expect("the self entry, rewritten through itself", get(dir, self) & 0xfff,
		       P | W | A | D | G);
	}
	invlpg(window);
	*(volatile u32 *)window = DATA | ALL;
	invlpg(TEST);
	expect_byte("after INVLPG of the window", TEST, 1);
	put(dir, self, 0);
	reset_path();
	flush();
	end();
}

/* ---- what could make a shadow MMU go round in circles ---- */

static void push_here(word sp)
{
#ifdef __x86_64__
	asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %1; mov %%rbx, %%rsp" ::"r"(sp),
		     "r"(DATA2 | ALL)
		     : "rbx", "memory");
#else
	asm volatile("mov %%esp, %%esi; mov %0, %%esp; push %1; mov %%esi, %%esp" ::"r"(sp),
		     "r"((u32)(DATA2 | ALL))
		     : "esi", "memory");
#endif
}

/* TEST2 maps the table that maps TEST and TEST2. */
static void test_livelock(void)
{
	u64 t1 = path[1];
	u32 i = index_of(TEST, 1), size = mode == M32 ? 4 : 8, k;
	volatile word *pte; /* of TEST, through TEST2 */
	volatile u8 *code;
	word old;

	begin("tables that are something else too");
	*at(DATA) = 1;
	*at(DATA2) = 2;
	for (k = 0; k < 12; k++) {
		u64 want = k & 1 ? DATA2 : DATA, before = k & 1 ? DATA : DATA2;

		put(t1, i, before | ALL);
		put(t1, i + 1, t1 | P | W | A | D);
		flush();
		if (k > 5) /* let it become protected */
			for (old = 0; old < 12; old++)
				flush();
		expect_byte("before", TEST, k & 1 ? 1 : 2);
		pte = words(TEST2 + i * size);
		switch (k / 2 % 6) {
		case 0:
			asm volatile("xchg %0, %1"
				     : "=r"(old), "+m"(*pte)
				     : "0"((word)(want | ALL)));
			expect("XCHG's old value", old, before | ALL);
			break;
		case 1:
			old = before | ALL;
			asm volatile("lock cmpxchg %2, %1"
				     : "+a"(old), "+m"(*pte)
				     : "r"((word)(want | ALL)));
			expect("CMPXCHG's old value", old, before | ALL);
			break;
		case 2:
			asm volatile("lock xorl $0x7000, %0" : "+m"(*(volatile u32 *)pte));
			break;
		case 3:
			push_here(TEST2 + i * size + sizeof(word));
			if (!(k & 1))
				put(t1, i, DATA | ALL);
			break;
		case 4: /* unaligned: two bytes of this entry's address */
			*(volatile u32 *)((u8 *)pte + 1) = (want | ALL) >> 8;
			break;
		default: /* from table to table */
			put(t1, i + 7, want | ALL);
			asm volatile("cld; rep movsb" ::"S"(TEST2 + (i + 7) * size), "D"(pte),
				     "c"((word)size)
				     : "memory");
			put(t1, i + 7, 0);
		}
		invlpg(TEST);
		expect_byte("after", TEST, k & 1 ? 2 : 1);
	}

	/* A write that crosses from a page of data into the table. */
	put(t1, i, DATA | ALL);
	put(t1, i + 1, t1 | P | W | A | D);
	flush();
	*(volatile u32 *)(TEST2 - 2) = get(t1, 0) << 16;
	expect("a write into the table's first bytes", get(t1, 0) & 0xffff, get(t1, 0) & 0xffff);

	/* Code in the table: it edits the entry that maps it, which is unused bytes away. */
	code = at(t1 + 4000 - 4000 % 16);
	*(volatile word *)code = 0; /* not a present entry */
	code[0] = 0xc6;		    /* movb $2, (AX) */
	code[1] = 0x00;
	code[2] = 0x02;
	code[3] = 0xc3;
	code[8] = 0x0f; /* invlpg (AX); ret */
	code[9] = 0x01;
	code[10] = 0x38;
	code[11] = 0xc3;
	for (k = 0; k < 4; k++) {
		word fn = TEST2 + ((word)code & 4095), where = k < 2 ? TEST : TEST2 + 4088;

		flush();
		asm volatile("call *%1" ::"a"(where), "r"(fn) : "memory");
		expect("code in a table writes", *at(where), 2);
		asm volatile("call *%1" ::"a"(fn), "r"(fn + 8) : "memory");
	}
	reset_path();
	clear_page(t1);
	reset_path();
	flush();
	end();
}

/* INVLPG of the page that it is in, and of the stack's and the table's. */
static void test_invlpg_used(void)
{
	int i;

	begin("INVLPG of what is in use");
	for (i = 0; i < 100; i++) {
		invlpg((word) && here);
here:
		invlpg((word)&i);
		invlpg(path[1]);
		invlpg((word)vectors);
		put(path[1], index_of(TEST, 1), (i & 1 ? DATA : DATA2) | ALL);
		invlpg(TEST);
		*at(TEST) = i;
		expect("the page", *at(i & 1 ? DATA : DATA2), i);
	}
	reset_path();
	flush();
	end();
}

/* ---- control registers ---- */

static void load_cr3(word v)
{
	write_cr3(v);
}

static void load_cr4(word v)
{
	write_cr4(v);
}

static void test_pdptes(void)
{
	static u64 pdpt[4] __attribute__((aligned(32)));
	u64 dir = new_page(), old = get(root, 1);
	int i, bit;

	begin("PDPTEs");
	for (i = 0; i < 4; i++)
		pdpt[i] = get(root, i);
	put(dir, index_of(TEST, 2), path[1] | ALL);
	set_path(1, DATA | ALL);
	*at(DATA) = 9;
	write_cr3((word)pdpt);
	expect_byte("loaded", TEST, 9);
	pdpt[1] = 0;
	invlpg(TEST);
	expect_byte("memory does not count until the next load", TEST, 9);
	write_cr3((word)pdpt);
	expect("not present after MOV CR3", try_read(TEST), 1);
	expect("its error code", fault_error, 0);
	pdpt[1] = dir | P;
	expect("still not", try_read(TEST), 1);
	write_cr4(read_cr4() ^ CR4_PGE);
	expect_byte("loaded by a change of PGE", TEST, 9);
	for (bit = 1; bit < 63; bit++) {
		int reserved = bit < 3 || (bit > 4 && bit < 9) || bit >= 40;

		if (!reserved && bit != 3 && bit != 4)
			continue;
		pdpt[1] = old | 1ULL << bit;
		expect("#GP by a reserved bit", try_insn(load_cr3, (word)pdpt), reserved);
		if (reserved)
			expect("vector", fault_vector, 13);
	}
	pdpt[1] = old | 1ULL << 50;
	expect("#GP at MOV CR4", try_insn(load_cr4, read_cr4() ^ CR4_PGE), 1);
	pdpt[1] = 1ULL << 50;
	expect("not when it is not present", try_insn(load_cr3, (word)pdpt), 0);
	write_cr3(root);
	expect_byte("the first again", TEST, 9);
	end();
}

static void test_refusals(void)
{
	begin("control registers");
	if (mode == M64) {
		expect("CR3 over MAXPHYADDR", try_insn(load_cr3, root | 1ULL << 20 << 20), 1);
		expect("CR4.PAE off", try_insn(load_cr4, read_cr4() & ~CR4_PAE), 1);
	}
	expect("CR4.LA57 is not there", try_insn(load_cr4, read_cr4() | 1 << 12), 1);
	expect("vector", fault_vector, 13);
	expect("CR4.PCIDE is not there", try_insn(load_cr4, read_cr4() | 1 << 17), 1);
	end();
}

/* ---- the whole ---- */

static void make_idt(void)
{
	static u64 idt[512] __attribute__((aligned(16)));
	static struct {
		unsigned short limit;
		word base;
	} __attribute__((packed)) pointer;
	word i, *v, handler = 0;

	for (v = vectors; *v != (word)-1; v += 2)
		;
	for (i = 0; i < 256; i++) {
		word *p;

		handler = v[1];
		for (p = vectors; p != v; p += 2)
			if (p[0] == i)
				handler = p[1];
		idt[i * sizeof(word) / 4] = (handler & 0xffff) | 8ULL << 16 |
					    (i == 128 ? 0xeeULL : 0x8eULL) << 40 |
					    (u64)(handler & 0xffff0000) << 32;
	}
	pointer.limit = sizeof(idt) - 1;
	pointer.base = (word)idt;
	asm volatile("lidt %0" ::"m"(pointer));
}

static void make_tss(void)
{
	word base = (word)tss;
	u64 d = 103 | (u64)(base & 0xffffff) << 16 | 0x89ULL << 40 | (u64)(base >> 24 & 0xff) << 56;

	*(volatile u64 *)gdt_tss = d;
	asm volatile("ltr %w0" ::"r"(0x28));
}

static void prepare_data(void)
{
	clear_page(DATA);
	at(DATA)[0x10] = 0xc3; /* ret */
	at(DATA)[0x20] = 0xcd; /* int $0x80 */
	at(DATA)[0x21] = 0x80;
}

static void run(enum mode m)
{
	mode = m;
	pool_next = 0;
	root = new_root();
	prepare_data();
#ifndef __x86_64__
	write_cr4(m == MPAE ? CR4_PAE : 0);
#endif
	write_cr3(root);
	write_cr0(read_cr0() | CR0_PG);
	test_rights();
	prepare_data();
	test_rights_mixed();
	test_tlb();
	test_large();
	test_switch();
	test_recursive();
	test_livelock();
	test_invlpg_used();
	if (mode == MPAE)
		test_pdptes();
	test_refusals();
#ifndef __x86_64__
	write_cr0(read_cr0() & ~CR0_PG);
#endif
}

#ifndef __x86_64__
/* Paging off and on again, in both modes, on tables that are read by both. */
static void test_modes(void)
{
	u64 roots[4];
	int i;

	mode = OFF;
	pool_next = 0;
	begin("mode switches");
	for (mode = M32; mode <= MPAE; mode++) {
		roots[mode] = root = new_root();
		map(root, TEST, (mode == M32 ? DATA : DATA2) | ALL);
	}
	*at(DATA) = 32;
	*at(DATA2) = 36;
	for (i = 0; i < 60; i++) {
		mode = i % 3 == 0 ? MPAE : M32;
		write_cr4(mode == MPAE ? CR4_PAE : i & 4 ? CR4_PSE : 0);
		set_nxe(i & 8);
		write_cr3(roots[mode]);
		write_cr0((read_cr0() & ~CR0_WP) | CR0_PG | (i & 16 ? CR0_WP : 0));
		expect_byte("paging on", TEST, mode == M32 ? 32 : 36);
		if (i % 5 == 0) { /* from one to the other without going off */
			mode = mode == M32 ? MPAE : M32;
			*at(DATA + 4096 * (mode == MPAE)) = 40 + mode;
			if (mode == MPAE) {
				write_cr0(read_cr0() & ~CR0_PG);
				write_cr4(CR4_PAE);
				write_cr3(roots[MPAE]);
				write_cr0(read_cr0() | CR0_PG);
				expect_byte("switched", TEST, 40 + MPAE);
				*at(DATA2) = 36;
			} else {
				*at(DATA) = 32;
			}
		}
		write_cr0(read_cr0() & ~CR0_PG);
		*at(DATA) = 32;
		*at(DATA2) = 36;
		expect("paging off", *at(DATA), 32);
	}
	mode = OFF;
	end();
}
#endif

int main(void)
{
	make_idt();
	make_tss();
#ifdef __x86_64__
	run(M64);
#else
	mode = OFF;
	begin("paging off");
	*at(0xfff000) = 5;
	expect("memory", *at(0xfff000), 5);
	end();
	test_refusals();
	run(M32);
	run(MPAE);
	test_modes();
#endif
	print(failures ? "FAILED\n" : "PASSED\n");
	return failures;
}
