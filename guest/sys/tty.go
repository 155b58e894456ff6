package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// termios is Linux's kernel struct termios (asm-generic/termbits.h).
type termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [19]uint8
}

// cooked is a terminal's usual state: what stty shows as sane. The host's
// terminal is the one that edits lines; a program that asks only wants to
// know whether this is a terminal, and one that sets raw mode is refused.
func cooked() termios {
	return termios{
		Iflag: 0x500, Oflag: 0x5, Cflag: 0xbf, Lflag: 0x8a3b,
		Cc: [19]uint8{3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22},
	}
}

// ttyControl does the requests that only a terminal answers.
func ttyControl(a *args) fs.Errno {
	switch a.u32(1) {
	case tcgets:
		return store(a, 2, cooked())
	case tcsets, tcsetsw, tcsetsf:
		return ttySet(a)
	case tiocgwinsz:
		info := guest.Info()
		return store(a, 2, [4]uint16{info.Rows, info.Cols})
	case tiocgpgrp:
		return store(a, 2, int32(pid))
	case tiocspgrp:
		return 0
	}
	return fs.ENOTTY
}

// ttySet accepts the state that the terminal has and no other: nobody shall
// believe that a password is not shown.
func ttySet(a *args) fs.Errno {
	t, e := load[termios](a, 2)
	switch {
	case e != 0:
		return e
	case t != cooked():
		return fs.EINVAL
	}
	return 0
}
