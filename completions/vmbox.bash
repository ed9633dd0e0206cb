# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# bash completion for vmbox. Verbs, options and what their values are come from `vmbox --help`.
# It is the vmbox on PATH that is asked, never one in the directory at hand, which may be
# what somebody wants to look at in a sandbox.

_vmbox_options() { # verb: "--NAME VALUE" or "--NAME" a line
	command vmbox help "$1" 2>/dev/null |
		sed -nE 's/^  (-(.), )?(--[a-z-]+)( ([^ ]+))?( .*)?$/\3 \5/p; s/^  -(.), --[a-z-]+( ([^ ]+))?( .*)?$/-\1 \3/p'
}

_vmbox_value() { # what it is called in the help: candidates, or nothing
	case $1 in
	POLICY)
		mapfile -t COMPREPLY < <(compgen -W "default strict ci build" -- "$current"; compgen -f -- "$current")
		compopt -o filenames
		;;
	DIR)
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		compopt -o filenames
		;;
	FILE | PATH*)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames
		;;
	NAME*)
		mapfile -t COMPREPLY < <(compgen -e -- "$current")
		;;
	[a-z]*) # the values themselves
		mapfile -t COMPREPLY < <(compgen -W "${1//|/ }" -- "$current")
		;;
	esac
}

_vmbox() {
	local current=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} word name value i
	local -A takes=()
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "--help --version $(command vmbox --help 2>/dev/null |
			sed -nE 's/^  ([a-z]+)  .*/\1/p')" -- "$current")
		return
	fi
	while read -r name value; do
		[ -z "$name" ] || takes[$name]=$value
	done < <(_vmbox_options "$verb")
	# Over the options before the cursor: is it at a value, at an option, or behind them?
	i=2
	[ "$verb ${COMP_WORDS[2]}" != "report verify" ] || i=3
	for (( ; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--)
			i=$((i + 1))
			break
			;;
		-*) ;;
		*) break ;;
		esac
		[ -n "${takes[$word]-}" ] || continue
		i=$((i + 1))
		[ "${COMP_WORDS[i]-}" != = ] || i=$((i + 1)) # bash splits --NAME=VALUE
		if [ "$i" -ge "$COMP_CWORD" ]; then
			[ "$current" != = ] || current=
			_vmbox_value "${takes[$word]}"
			return
		fi
	done
	if [ "$i" -ge "$COMP_CWORD" ] && [[ $current == -* && ${COMP_WORDS[i - 1]} != -- ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${!takes[*]}" -- "$current")
		return
	fi
	case $verb in
	help)
		mapfile -t COMPREPLY < <(compgen -W "$(command vmbox --help 2>/dev/null |
			sed -nE 's/^  ([a-z]+)  .*/\1/p')" -- "$current")
		;;
	report)
		if [ "${COMP_WORDS[2]}" = verify ] && [ "$COMP_CWORD" -gt 2 ]; then _vmbox_value FILE; else
			mapfile -t COMPREPLY < <(compgen -W verify -- "$current")
		fi
		;;
	check) _vmbox_value POLICY ;;
	explain) if [ "$i" -ge "$COMP_CWORD" ]; then _vmbox_value POLICY; else _vmbox_value PATH; fi ;;
	run | learn | shell)
		# The program, then what it takes itself, where bash-completion can tell.
		if [ "$i" -lt "$COMP_CWORD" ] && declare -F _command_offset >/dev/null; then
			_command_offset "$i"
		elif [ "$i" -lt "$COMP_CWORD" ] || [[ $current == */* ]]; then
			_vmbox_value FILE
		else
			mapfile -t COMPREPLY < <(compgen -c -- "$current"; compgen -f -- "$current")
		fi
		;;
	esac
}

complete -F _vmbox vmbox
