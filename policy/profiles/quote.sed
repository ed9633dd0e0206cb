# SPDX-License-Identifier: GPL-2.0-only
# Lines of text to lines of a C string.
s/["\\]/\\&/g
s/.*/"&\\n"/
