# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# What gitlab-executor and vmbox-step share.

# A path as vmbox's options read it.
escape() {
	local path=${1//\\/\\\\}
	echo "${path//:/\\:}"
}

# vmbox run with these arguments; it is ended when this shell is asked to end, or killed. Its status.
guest() {
	local status=0 pid
	setpriv --pdeathsig KILL vmbox run "$@" </dev/null &
	pid=$!
	# shellcheck disable=SC2064 # that pid
	trap "kill $pid 2>/dev/null || true" TERM INT HUP
	# A signal ends the first wait, with 128 and more.
	wait $pid || status=$?
	while kill -0 $pid 2>/dev/null; do
		status=0
		wait $pid || status=$?
	done
	return $status
}
