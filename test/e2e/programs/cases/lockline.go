package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var _ = add("lockline", func(args []string) { lockLine(args[0]) })

// lockLine does with locks on a file what its lines say, and answers each:
//
//	N flock sh|ex|un       of descriptor N of the file, without waiting
//	N wait sh|ex           the same with waiting
//	N range|posix|get r|w|u START LEN
//	N close
//
// range is an open file description's lock, posix the process's, get asks for
// those in the way.
func lockLine(name string) {
	files := []*os.File{must(os.OpenFile(name, os.O_RDWR, 0)), must(os.OpenFile(name, os.O_RDWR, 0)), must(os.Open(name))}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n int
		var do, how string
		fl := unix.Flock_t{Whence: 0}
		fmt.Sscan(in.Text(), &n, &do, &how, &fl.Start, &fl.Len)
		fmt.Println(lockDo(files[n], do, how, &fl))
	}
}

func lockDo(f *os.File, do, how string, fl *unix.Flock_t) string {
	fl.Type = int16(strings.Index("rwu", (how + "-")[:1]))
	whole := map[string]int{"sh": unix.LOCK_SH, "ex": unix.LOCK_EX, "un": unix.LOCK_UN}[how]
	var err error
	switch do {
	case "flock":
		err = unix.Flock(int(f.Fd()), whole|unix.LOCK_NB)
	case "wait":
		err = unix.Flock(int(f.Fd()), whole)
	case "range":
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, fl)
	case "posix":
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, fl)
	case "get":
		if err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, fl); err == nil {
			return fmt.Sprint(fl.Type != unix.F_UNLCK)
		}
	case "close":
		err = f.Close()
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}
