// SPDX-License-Identifier: GPL-2.0-only
/* A policy as a policy file. Strings that are more than plain words are quoted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "units.h"

/* Plain where nothing in it could mean something to YAML, else in double quotes, ASCII. */
void policy_print_text(const char *text, FILE *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/_"
				    "0123456789.-";
	uint32_t c;

	if (*text && !strchr(".-0123456789", *text) && !text[strspn(text, plain)]) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text += utf8_decode(text, &c)) {
		utf8_decode(text, &c);
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (int)c);
		else if (c >= ' ' && c <= '~')
			fputc((int)c, out);
		else
			fprintf(out, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
	}
	fputc('"', out);
}

void policy_print_rule(const struct policy_rule *rule, FILE *out)
{
	char size[UNITS_TEXT_MAX];

	fputs("{path: ", out);
	policy_print_text(rule->named ? rule->named : rule->path, out);
	if (rule->at) {
		fputs(", at: ", out);
		policy_print_text(rule->at, out);
	}
	fprintf(out, ", access: %s", access_names[rule->access]);
	if (rule->access == POLICY_OVERLAY)
		fprintf(out, ", on_exit: %s", on_exit_names[rule->on_exit]);
	if (rule->quota != POLICY_UNSET) {
		format_size(rule->quota, size);
		fprintf(out, ", quota: %s", size);
	}
	fputc('}', out);
}

static void print_env(const struct policy *p, FILE *out)
{
	const char *separator = "";
	size_t i;

	fputs("env:\n  pass: [", out);
	for (i = 0; i < p->nr_env; i++) {
		if (p->env[i].value)
			continue;
		fputs(separator, out);
		policy_print_text(p->env[i].name, out);
		separator = ", ";
	}
	fputs("]\n  set: {", out);
	separator = "";
	for (i = 0; i < p->nr_env; i++) {
		if (!p->env[i].value)
			continue;
		fputs(separator, out);
		policy_print_text(p->env[i].name, out);
		fputs(": ", out);
		policy_print_text(p->env[i].value, out);
		separator = ", ";
	}
	fputs("}\n", out);
}

static void print(const struct policy *p, FILE *out)
{
	const char *separator = "";
	char value[UNITS_TEXT_MAX];
	size_t i;

	fprintf(out, "version: %d\nfs:%s\n", POLICY_VERSION, p->nr_rules ? "" : " []");
	for (i = 0; i < p->nr_rules; i++) {
		fputs("  - ", out);
		policy_print_rule(&p->rules[i], out);
		fputc('\n', out);
	}
	print_env(p, out);
	fprintf(out, "net: %s\nlimits: {", net_names[p->net]);
	for (i = 0; i < POLICY_NR_LIMITS; i++) {
		if (p->limit[i] == POLICY_UNSET)
			continue;
		policy_limits[i].format(p->limit[i], value);
		fprintf(out, "%s%s: %s", separator, policy_limits[i].name, value);
		separator = ", ";
	}
	fprintf(out, "}\ntime: {clock: %s}\n", clock_names[p->clock]);
}

int policy_print(const struct policy *p, FILE *out)
{
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);
	int err;

	if (!memory)
		return -1;
	print(p, memory);
	err = fclose(memory);
	if (!err && n > POLICY_FILE_MAX) {
		errno = EFBIG;
		err = -1;
	}
	if (!err)
		err = fwrite(text, 1, n, out) != n || fflush(out) ? -1 : 0;
	free(text);
	return err;
}
