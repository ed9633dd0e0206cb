# SPDX-License-Identifier: GPL-2.0-only
#
# fish completion for vmbox. Verbs, options and what their values are come from `vmbox --help`.
# It is the vmbox on PATH that is asked, never one in the directory at hand.

function __vmbox_verbs
    command vmbox --help 2>/dev/null | string replace -rf '^  ([a-z]+)  +(.*)' '$1\t$2'
end

# verb: "--NAME<tab>VALUE<tab>TEXT" a line; VALUE may be empty
function __vmbox_options
    command vmbox help $argv[1] 2>/dev/null | string replace -rf '^  (?:-., )?(--[a-z-]+)(?: ([^ ]+))?(?:  +(.*))?$' '$1\t$2\t$3'
    command vmbox help $argv[1] 2>/dev/null | string replace -rf '^  (-.), --[a-z-]+(?: ([^ ]+))?(?:  +(.*))?$' '$1\t$2\t$3'
end

# what a value is called in the help, what is there of it, what is before it (--NAME=)
function __vmbox_value
    switch $argv[1]
        case POLICY
            printf "$argv[3]%s\n" default strict ci build
            __fish_complete_path "$argv[2]" | string replace -r '^' "$argv[3]"
        case DIR
            __fish_complete_directories "$argv[2]" | string replace -r '^' "$argv[3]"
        case FILE 'PATH*'
            __fish_complete_path "$argv[2]" | string replace -r '^' "$argv[3]"
        case 'NAME*'
            printf "$argv[3]%s\n" (set -xn)
        case '[a-z]*' '*|*'
            printf "$argv[3]%s\n" (string split '|' $argv[1])
        case none real
            printf "$argv[3]%s\n" $argv[1]
    end
end

function __vmbox_complete
    set -l words (commandline -opc)[2..-1]
    set -l current (commandline -ct)
    if not set -q words[1]
        __vmbox_verbs
        return
    end
    set -l verb $words[1]
    set -l options (__vmbox_options $verb)
    set -l i 2
    test "$verb $words[2]" = 'report verify'; and set i 3
    # Over the options before the cursor: is it at a value, at an option, or behind them?
    while set -q words[$i]
        set -l word $words[$i]
        if test "$word" = --
            set i (math $i + 1)
            break
        end
        string match -q -- '-*' $word; or break
        for option in $options
            set -l part (string split \t -- $option)
            test "$part[1]" = "$word"; and test -n "$part[2]"; or continue
            set i (math $i + 1)
            if not set -q words[$i]
                __vmbox_value $part[2] "$current" ''
                return
            end
            break
        end
        set i (math $i + 1)
    end
    if not set -q words[$i]; and test "$words[-1]" != --; and string match -q -- '-*' $current
        for option in $options
            set -l part (string split \t -- $option)
            if string match -q -- "$part[1]=*" $current; and test -n "$part[2]"
                __vmbox_value $part[2] (string replace -r '^[^=]*=' '' -- $current) "$part[1]="
                return
            end
            printf '%s\t%s\n' $part[1] $part[3]
        end
        return
    end
    switch $verb
        case help
            __vmbox_verbs
        case report
            if test $i -gt 2
                __vmbox_value FILE "$current" ''
            else
                echo verify
            end
        case check
            __vmbox_value POLICY "$current" ''
        case explain
            if set -q words[$i]
                __vmbox_value PATH "$current" ''
            else
                __vmbox_value POLICY "$current" ''
            end
        case run learn shell
            # The program, and what it takes itself.
            complete -C (string join ' ' -- (string escape -- $words[$i..-1]) "$current")
    end
end

complete -c vmbox -f -a '(__vmbox_complete)'
