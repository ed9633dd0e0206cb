#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# With a terminal, the guest has one of its own. tests/lib/terminal.py is the terminal, and the
# shell that has started us; it looks after each script if the modes are as before.
load helpers

on_terminal() { # the script is on stdin
	cat >script
	TERM=xterm run timeout -k 5 300 /usr/bin/python3 "$TREE/tests/lib/terminal.py" script "${COMMAND[@]:-${command[@]}}" 3>&-
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "terminal: the program has one, of the same kind and size" {
	on_terminal <<-'END'
		start("--env", "TERM=xterm-256color", "/bin/sh", "-c", '''
		    test -t 0 && test -t 1 && test -t 2 && tty && stty size
		    echo to-the-terminal >/dev/tty
		    stty -a | grep -o "erase = ^H"
		    echo "$TERM"; tput cols; stat -c "%a %G" $(tty)
		    exit 7''')
		modes = termios.tcgetattr(tty)
		eventually(is_raw)
		expect("/dev/pts/0\r\n33 111\r\nto-the-terminal\r\nxterm-256color\r\n111\r\n620 tty\r\n")
		expect_end("exited", 7)
		resize(24, 80)
		modes = termios.tcgetattr(tty)
		modes[6][termios.VERASE] = b"\x08"
		termios.tcsetattr(tty, termios.TCSANOW, modes)
		start("/bin/sh", "-c", "stty -a | grep -o 'erase = ^H'; stty size")
		expect("erase = \\^H\r\n24 80\r\n")
		expect_end("exited", 0)
		before = modes
	END
}

@test "terminal: streams that are no terminal stay what they are" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "test -t 0 && test -t 1 && ! test -t 2 && echo to-stderr >&2 && echo yes",
		      stderr="err")
		expect("yes\r\n")
		expect_end("exited", 0)
		check(open("err").read() == "to-stderr\n", open("err").read())
	END
	COMMAND=(/bin/sh -c '"$@" | od -c' sh "${command[@]}" /bin/sh -c 'test -t 0 || echo in; test -t 1 || echo out; test -t 2 || echo err')
	on_terminal <<-'END'
		start()
		expect(r"i   n  \\n   o   u   t  \\n   e   r   r  \\n\r\n")
		expect_end("exited", 0)
	END
}

@test "terminal: a line is edited, and its end is an end of file" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "echo ready; cat; echo over")
		expect("ready\r\n")
		type("abx\x7fc\r")
		expect("abc\r\n")
		type("\x04")
		expect("over\r\n")
		expect_end("exited", 0)
	END
}

@test "terminal: the size of the window follows" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done")
		expect("ready\r\n")
		resize(50, 132)
		expect("50 132\r\n")
		type("\x03")
		expect_end("exited", 130)
	END
}

@test "terminal: Ctrl-C and Ctrl-\\ are the program's" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", """trap 'echo caught' INT
		    sh -c 'echo ready; exec sleep 1000'; exec sleep 1000""")
		expect("ready\r\n")
		type("\x03")
		expect("caught\r\n")
		type("\x1c")
		expect_end("exited", 131)
		start("/bin/sleep", "1000") # before there is a program, too; or before vmbox looks after signals
		time.sleep(0.1)
		type("\x03")
		check(wait() in (("exited", 130), ("killed", signal.SIGINT)), "it has ended")
	END
}

@test "terminal: Ctrl-Z stops it, guest and all, and it goes on" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "echo ready; read a; echo got $a; stty size; read b; echo got $b")
		expect("ready\r\n")
		type("\x1a")
		expect_end("stopped", signal.SIGTSTP)
		check(termios.tcgetattr(tty) == before, "modes while it is stopped")
		children = open(f"/proc/{job}/task/{job}/children").read().split()
		check(len(children) == 2, children)
		for child in children:
		    state = open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[0]
		    check(state == "T", f"{child} is {state}")
		resize(10, 20)
		carry_on()
		eventually(is_raw)
		type("one\r")
		expect("got one\r\n10 20\r\n")
		type("\x1a")
		expect_end("stopped", signal.SIGTSTP)
		carry_on(foreground=False)
		time.sleep(0.5)
		check(termios.tcgetattr(tty) == before, "modes while it is in the background")
		carry_on()
		eventually(is_raw)
		type("two\r")
		expect("got two\r\n")
		expect_end("exited", 0)
	END
}

@test "terminal: full-screen programs" {
	on_terminal <<-'END'
		start("--env", "TERM=xterm", "/bin/sh", "-c", "vim.tiny -u NONE /tmp/file && cat /tmp/file")
		expect("/tmp/file")
		type("ihello\x1b:wq\r")
		expect("hello\r\n")
		expect_end("exited", 0)
		start("--env", "TERM=xterm", "/bin/sh", "-c", "seq 1000 | less -X")
		expect("32\r\n:")
		type("G")
		expect("1000\r\n")
		type("q")
		expect_end("exited", 0)
		start("--env", "TERM=xterm", "/usr/bin/htop")
		expect("htop")
		type("q")
		expect_end("exited", 0)
	END
}

@test "terminal: it is restored, whatever ends the run" {
	on_terminal <<-'END'
		def children():
		    return [int(c) for c in open(f"/proc/{job}/task/{job}/children").read().split()]
		# What full-screen programs set; it is back before vmbox says anything.
		full = "printf '\\033[?1049h\\033[?25l\\033[?1000h'; "
		back = r"\x1b\[\?1047l\x1b\[\?25h\x1b\[\?1000l[^v]*vmbox: "
		for which in 0, 1:
		    start("/bin/sh", "-c", full + "echo ready; exec sleep 1000")
		    expect("ready\r\n")
		    check(is_raw(), "it is raw")
		    os.kill(children()[which], signal.SIGKILL)
		    expect(back + "the (VMM|file server) process was lost")
		    expect_end("exited", 125)
		    check(termios.tcgetattr(tty) == before, "modes")
		start("--wall", "5s", "/bin/sleep", "1000")
		eventually(is_raw)
		expect(back + "the time limit is over")
		expect_end("exited", 124)
		check(termios.tcgetattr(tty) == before, "modes")
		start("/bin/sh", "-c", "exit 3")
		expect_end("exited", 3)
		check(b"1047l" not in seen, "what ends by itself is left alone")
		start("/bin/sh", "-c", "stty raw -echo; trap '' INT TERM; echo ready; while :; do :; done")
		expect("ready")
		os.kill(job, signal.SIGINT)
		time.sleep(0.5)
		os.kill(job, signal.SIGINT)
		expect_end("exited", 130)
		check(termios.tcgetattr(tty) == before, "modes")
	END
}

@test "terminal: Ctrl-] three times ends what nothing else does" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "stty raw -echo; echo ready; od -An -tx1 -N3 -w1; echo on; while :; do :; done")
		expect("ready")
		type("\x1dx\x1d")
		expect("1d.*78.*1d.*on")
		time.sleep(1.1)
		type("\x1d\x1d\x1d")
		expect("vmbox: ")
		expect_end("exited", 130)
	END
}

@test "terminal: in the background it runs, until it wants to read" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "test -t 1 || echo no terminal", foreground=False)
		expect("no terminal\r\n")
		expect_end("exited", 0)
		start("/bin/sh", "-c", "echo ready; read a; echo got $a", foreground=False)
		expect("ready\r\n")
		expect_end("stopped", signal.SIGTTIN)
		carry_on()
		type("line\r")
		expect("got line\r\n")
		expect_end("exited", 0)
	END
}

@test "terminal: a program cannot stop us unasked" {
	on_terminal <<-'END'
		start("/bin/sh", "-c", "echo ready; (sleep 1; kill -CONT $$) & kill -STOP $$; echo on")
		expect("ready\r\non\r\n")
		expect_end("exited", 0)
	END
}

@test "terminal: vmbox shell" {
	COMMAND=("$VMBOX" shell --guest-dir "$GUEST" "${device[@]}")
	on_terminal <<-'END'
		start()
		expect(r"vmbox:\S*\$ ")
		type("sh -c 'echo in; exec cat'\r")
		expect(r"[\r\n]in\r\n")
		type("\x1a")
		expect("Stopped .* cat")
		type("fg\r")
		expect("exec cat'\r\n")
		type("in cat\r")
		expect("in cat\r\nin cat\r\n")
		type("\x04")
		expect(r"\$ ")
		type("exit 9\r")
		expect_end("exited", 9)
	END
}
