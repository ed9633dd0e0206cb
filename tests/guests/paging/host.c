// SPDX-License-Identifier: GPL-2.0-only
#include "guest.h"

void test_host(void)
{
}
