// SPDX-License-Identifier: GPL-2.0-only
/* Dies by SIGSEGV, from a real fault. */
int main(void)
{
	*(volatile int *)16 = 1;
	return 0;
}
