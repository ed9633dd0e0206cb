// SPDX-License-Identifier: GPL-2.0-only
/* The instruction decoder on arbitrary bytes: one instruction within them, or an error. */
#include <stdlib.h>

#include "../../kmod/decode.h"
#include "../../kmod/limits.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct insn insn, again;
	bool long_mode;
	u8 *bytes;

	if (!size)
		return 0;
	long_mode = *data++ & 1;
	if (--size > VMBOX_INSN_MAX)
		size = VMBOX_INSN_MAX;
	bytes = malloc(size ? size : 1); /* exactly as long: ASan sees a byte too many */
	memcpy(bytes, data, size);
	if (!vmbox_decode(bytes, size, long_mode, &insn)) {
		if (!insn.len || insn.len > size || insn.reg > 15 || insn.cr > 15 ||
		    insn.op > INSN_WBINVD)
			abort();
		/* What it says depends on nothing behind its length. */
		if (vmbox_decode(bytes, insn.len, long_mode, &again) ||
		    memcmp(&insn, &again, sizeof(insn)))
			abort();
	}
	free(bytes);
	return 0;
}
