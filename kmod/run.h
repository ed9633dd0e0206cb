/* SPDX-License-Identifier: GPL-2.0-only */
/* Between run.c (the loop) and exit.c (what an exit means). */
#ifndef VMBOX_RUN_H
#define VMBOX_RUN_H

#include "vcpu.h"

enum vmbox_next {
	NEXT_ENTER,  /* back into the guest */
	NEXT_USER,   /* kvm_run says why */
	NEXT_SIGNAL, /* -EINTR */
	NEXT_ERROR,  /* the vCPU's error; nothing has happened to the guest, it can go on */
};

long vmbox_vcpu_run(struct vmbox_vcpu *vcpu);

__must_check enum vmbox_next vmbox_exit_handle(struct vmbox_vcpu *vcpu,
					       const struct vmbox_exit *exit);
void vmbox_inject_exception(struct vmbox_vcpu *vcpu, u8 vector, bool has_error, u32 error);
__must_check enum vmbox_next vmbox_internal_error(struct vmbox_vcpu *vcpu, u32 suberror,
						  const char *what, u64 detail);

#endif
