// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: a policy file. What is accepted must print as a policy that
 * gives the same text and the same decisions; what is refused must say where.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

static struct policy *parse(const char *text, size_t size)
{
	static struct policy_error error;
	struct policy *p = policy_new();
	unsigned int line, column;

	if (!policy_parse(p, text, size, "p", "/b", &error) && !policy_validate(p, &error))
		return p;
	require(sscanf(error.text, "p:%u:%u: ", &line, &column) == 2 && line && column);
	policy_free(p);
	return NULL;
}

static char *print(const struct policy *p, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);

	require(!policy_print(p, out));
	fclose(out);
	return text;
}

/* The same guest paths, with the same access to the same of the host. */
static void compare(const struct policy *p, const struct policy *q)
{
	size_t i;

	require(p->nr_places == q->nr_places);
	for (i = 0; i < p->nr_places; i++) {
		const struct policy_place *a = &p->places[i], *b = policy_decide(q, a->at);

		require(b && !strcmp(a->at, b->at));
		require(a->rule->access == b->rule->access);
		require(!strcmp(a->rule->path, b->rule->path));
		require(policy_decide(p, a->at) == a);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy *p = parse((const char *)data, size), *q;
	char *first, *second;
	size_t n, m;

	if (!p)
		return 0;
	first = print(p, &n);
	q = parse(first, n);
	require(q != NULL);
	second = print(q, &m);
	require(!strcmp(first, second));
	compare(p, q);
	policy_free(p);
	policy_free(q);
	free(first);
	free(second);
	return 0;
}
