#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A hostile program, against what the guest shows it.
load helpers

@test "isolation: a file of the host is not there" {
	echo secret >"$T/secret"
	vmbox /bin/sh -c "cat $T/secret"
	[ "$status" -ne 0 ]
	[[ $output != *secret* ]]
	vmbox /bin/sh -c 'cat /etc/shadow /etc/machine-id /root/.bashrc /etc/ssh/*'
	[ "$status" -ne 0 ]
	[ -z "$output" ]
}

@test "isolation: no way up from /usr" {
	vmbox /bin/sh -c "cat /usr/../$T/x /usr/bin/../../etc/shadow /proc/1/root/etc/shadow; ls -A /usr/../home /usr/../root"
	[[ $output != *root:[x*!]* ]] # no line of a shadow or passwd file
	[[ $output == *"/usr/../home:"* ]]
}

@test "isolation: /usr is read-only" {
	vmbox /bin/sh -c 'touch /usr/x'
	[ "$status" -ne 0 ]
	[[ $stderr == *"Read-only file system"* ]]
	vmbox /bin/sh -c 'rm -f /usr/bin/true; mount -o remount,rw /usr; echo x >>/usr/bin/env; chmod 777 /usr/bin/env; mkdir /usr/d'
	[ "$status" -ne 0 ]
	[ -x /usr/bin/true ]
	[ ! -e /usr/d ]
	[ "$(stat -c %a /usr/bin/env)" != 777 ]
}

@test "isolation: the program cannot reach the control and 9P channels" {
	vmbox /usr/bin/python3 -c '
import os, glob
for root, dirs, names in os.walk("/dev"):
    for n in names:
        if n in ("control", "9p"):
            try:
                os.open(os.path.join(root, n), os.O_RDWR)
                print("opened", root, n)
            except OSError as e:
                print(n, e.strerror)
# By number too: look up the char majors of the channel driver.
majors = [int(l.split()[0]) for l in open("/proc/devices") if "vmbox" in l or "pvio" in l]
misc = [int(l.split()[0]) for l in open("/proc/misc") if "control" in l or "9p" in l] if os.path.exists("/proc/misc") else []
import stat
for dev in [os.makedev(m, i) for m in majors for i in range(8)] + [os.makedev(10, i) for i in misc]:
    try:
        os.mknod("/tmp/n", 0o600 | stat.S_IFCHR, dev)
        st = None
        try:
            fd = os.open("/tmp/n", os.O_RDWR)
            print("opened by number", os.major(dev), os.minor(dev))
        except OSError as e:
            pass
        os.unlink("/tmp/n")
    except OSError:
        pass
'
	[ "$status" -eq 0 ]
	[[ $output != *"opened /dev"* ]]
	# Its own three streams may open again; control (0) and 9p (4) may not.
	[[ $output != *"opened by number "*" 0"* ]]
	[[ $output != *"opened by number "*" 4"* ]]
}

@test "isolation: no network" {
	vmbox /usr/bin/python3 -c '
import socket
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(3)
    s.connect(("1.1.1.1", 80))
    print("connected")
except OSError as e:
    print("refused:", e)'
	[ "$status" -eq 0 ]
	[[ $output == refused:* ]]
}

@test "isolation: what it writes stays in the guest" {
	vmbox /bin/sh -c "echo x >$T/new; echo x >/tmp/vmbox-made-this; echo x >/etc/vmbox; ls $T"
	[ ! -e "$T/new" ]
	[ ! -e /tmp/vmbox-made-this ]
	[ ! -e /etc/vmbox ]
}

@test "isolation: the program cannot switch the guest off" {
	vmbox /usr/bin/python3 -c '
import ctypes
libc = ctypes.CDLL(None)
raise SystemExit(42 if libc.reboot(0x4321fedc) == -1 else 0)'
	[ "$status" -eq 42 ]
}

@test "isolation: raw port I/O is not for the program, or harmless" {
	vmbox /usr/bin/python3 -c '
import ctypes
libc = ctypes.CDLL(None)
print(libc.iopl(3), libc.ioperm(0xd00, 4, 1))'
	[[ $status -eq 0 ]]
	[ "$output" = "-1 -1" ]
}

@test "isolation: the VMM and the file server are confined" {
	start /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready out
	n=0
	for exe in $(vmbox_processes); do
		p=$(echo "$exe" | cut -d/ -f3)
		[ "$p" != "$pid" ] || continue
		n=$((n + 1))
		grep -H -E 'Seccomp:|NoNewPrivs:|CapEff:' "/proc/$p/status"
		grep -q 'Seccomp:.*2' "/proc/$p/status"
		grep -q 'NoNewPrivs:.*1' "/proc/$p/status"
	done
	[ $n -ge 2 ]
	kill "$pid"
	finish
}
