// SPDX-License-Identifier: GPL-2.0-only
/* A static program, built with musl. Prints its arguments. */
#include <stdio.h>

int main(int argc, char **argv)
{
	printf("hello from musl");
	for (int i = 1; i < argc; i++)
		printf(" [%s]", argv[i]);
	printf("\n");
	return argc;
}
