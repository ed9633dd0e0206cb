/* SPDX-License-Identifier: GPL-2.0-only */
/* The language of the driver's portable core, in a test program. */
#ifndef VMBOX_TYPES_H
#define VMBOX_TYPES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef int8_t s8;

#define __must_check __attribute__((warn_unused_result))
#define __acquires(lock)
#define __releases(lock)
#define WRITE_ONCE(x, val) (*(volatile __typeof__(x) *)&(x) = (val))

#define BITS_PER_LONG	 64
#define BITS_TO_LONGS(n) (((n) + 63) / 64)
#define xchg(p, val)	 __atomic_exchange_n(p, val, __ATOMIC_SEQ_CST)

static inline void set_bit(u64 bit, unsigned long *map)
{
	map[bit / 64] |= 1UL << (bit % 64);
}

static inline bool test_bit(u64 bit, const unsigned long *map)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

/* Doubly linked circular lists, with the kernel's names. */
struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name)			struct list_head name = { &(name), &(name) }
#define list_entry(p, type, m)		((type *)((char *)(p)-offsetof(type, m)))
#define list_first_entry(head, type, m) list_entry((head)->next, type, m)
#define list_for_each_entry(pos, head, m)                                            \
	for (pos = list_entry((head)->next, __typeof__(*pos), m); &pos->m != (head); \
	     pos = list_entry(pos->m.next, __typeof__(*pos), m))
#define list_for_each_entry_safe(pos, n, head, m)                 \
	for (pos = list_entry((head)->next, __typeof__(*pos), m), \
	    n = list_entry(pos->m.next, __typeof__(*pos), m);     \
	     &pos->m != (head); pos = n, n = list_entry(n->m.next, __typeof__(*n), m))
#define list_for_each_entry_safe_reverse(pos, n, head, m)         \
	for (pos = list_entry((head)->prev, __typeof__(*pos), m), \
	    n = list_entry(pos->m.prev, __typeof__(*pos), m);     \
	     &pos->m != (head); pos = n, n = list_entry(n->m.prev, __typeof__(*n), m))

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list_head *list)
{
	return list->next == list;
}

static inline void list_add(struct list_head *entry, struct list_head *head)
{
	entry->next = head->next;
	entry->prev = head;
	head->next->prev = entry;
	head->next = entry;
}

static inline void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = entry->prev = NULL; /* as poison */
}

static inline void list_move(struct list_head *entry, struct list_head *head)
{
	list_del(entry);
	list_add(entry, head);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	if (list_empty(list))
		return;
	list->next->prev = head;
	list->prev->next = head->next;
	head->next->prev = list->prev;
	head->next = list->next;
	INIT_LIST_HEAD(list);
}

#endif
