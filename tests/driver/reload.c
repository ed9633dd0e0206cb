// SPDX-License-Identifier: GPL-2.0-only
/* reload VMBOX.KO N: unloads the driver and loads it again, N times, with a VM after each. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vm.h"

int main(int argc, char **argv)
{
	int i, n = argc == 3 ? atoi(argv[2]) : 0;
	int module = open(argv[1], O_RDONLY | O_CLOEXEC);
	struct vm vm;

	CHECK(module >= 0 && n > 0);
	for (i = 0; i < n; i++) {
		if (syscall(SYS_delete_module, "vmbox", O_NONBLOCK))
			FAIL("unloading, %d: %m", i);
		if (syscall(SYS_finit_module, module, "", 0))
			FAIL("loading, %d: %m", i);
		vm_create(&vm);
		LOAD(&vm, add);
		vm_expect_sum(&vm, i);
		vm_destroy(&vm);
	}
	return 0;
}
