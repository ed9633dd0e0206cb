# SPDX-License-Identifier: GPL-2.0-only
# `include vmbox.mk` in a Makefile: each line of a recipe, and $(shell ...), runs in a virtual machine
# that may change the directory of the Makefile. With .ONESHELL: one for each recipe.
# The Makefile itself is read on this machine; docs/ci.md says what to do if that is not yours.
VMBOX_OPTIONS ?= --rw .
SHELL := vmbox
.SHELLFLAGS = run $(VMBOX_OPTIONS) -- /bin/sh -ec
