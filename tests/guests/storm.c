// SPDX-License-Identifier: GPL-2.0-only
/* An instruction that always leaves guest mode, and that the driver handles alone, without end. */
#include <cpuid.h>
#include <unistd.h>

int main(void)
{
	unsigned int a, b, c, d;

	if (write(1, "begun\n", 6) != 6)
		return 1;
	for (;;)
		__cpuid(0, a, b, c, d);
}
