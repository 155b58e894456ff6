package hv

import (
	"errors"
	"io"
	"os"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// console is the program's stdin, stdout and stderr.
type console struct {
	streams [3]stream
	wants   [3]bool // the guest was told EAGAIN and waits
	waiting int     // how many wants are set
}

// stream is one of them: a host file, or a Reader or Writer of the caller's.
type stream struct {
	fd     int // -1 for none
	atomic int // bytes that one write may pass once poll says yes; 0 for any
	r      io.Reader
	w      io.Writer
}

// pipeBuf is PIPE_BUF (Linux, include/uapi/linux/limits.h): what a pipe that
// polls writable takes without blocking.
const pipeBuf = 4096

func (vm *VM) openConsole() {
	for i, s := range []any{vm.cfg.Stdin, vm.cfg.Stdout, vm.cfg.Stderr} {
		vm.con.streams[i] = newStream(s)
	}
}

func newStream(s any) stream {
	st := stream{fd: -1}
	switch s := s.(type) {
	case *os.File:
		if s == nil {
			return st
		}
		withFD(s, func(fd int) { st.fd = fd })
		if info, err := s.Stat(); err == nil && !info.Mode().IsRegular() {
			st.atomic = pipeBuf
		}
	case io.Reader:
		st.r = s
		st.w, _ = s.(io.Writer)
	case io.Writer:
		st.w = s
	}
	return st
}

// withFD runs f with the descriptor of a file, leaving its mode alone.
func withFD(file *os.File, f func(fd int)) {
	if c, err := file.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { f(int(fd)) })
	}
}

func (vm *VM) consoleWrite(a callArgs) int64 {
	if a[0] != 1 && a[0] != 2 {
		return failed(hypercall.EBADF)
	}
	if a[2] > hypercall.MaxConsole {
		return failed(hypercall.EINVAL)
	}
	pieces, s := vm.space.slices(a[1], a[2], false)
	if s != 0 {
		return failed(s)
	}
	return vm.con.write(int(a[0]), pieces)
}

// write passes pieces to a stream: the bytes that it has taken, or minus a
// status.
func (con *console) write(i int, pieces [][]byte) (n int64) {
	switch st := &con.streams[i]; {
	case st.fd >= 0:
		return con.writeFile(i, pieces)
	case st.w != nil:
		return writeTo(st.w, pieces)
	}
	for _, p := range pieces {
		n += int64(len(p))
	}
	return n
}

func writeTo(w io.Writer, pieces [][]byte) (n int64) {
	for _, p := range pieces {
		m, err := w.Write(p)
		n += int64(m)
		if err != nil && n == 0 {
			return failed(hypercall.EIO)
		}
		if err != nil {
			break
		}
	}
	return n
}

// writeFile writes as much as the file takes at once.
func (con *console) writeFile(i int, pieces [][]byte) (n int64) {
	st := &con.streams[i]
	for _, p := range pieces {
		for len(p) > 0 {
			if st.atomic != 0 && !pollNow(st.fd, unix.POLLOUT) {
				return n + con.wait(i, n)
			}
			part := p
			if st.atomic != 0 {
				part = p[:min(len(p), st.atomic)]
			}
			m, err := unix.Write(st.fd, part)
			if m < len(part) || err != nil {
				return n + int64(max(m, 0)) + con.stopped(i, n+int64(max(m, 0)), err)
			}
			n += int64(m)
			p = p[m:]
		}
	}
	return n
}

// wait is the answer when nothing was done yet: try again after an event.
func (con *console) wait(i int, done int64) int64 {
	if done > 0 {
		return 0
	}
	if !con.wants[i] {
		con.wants[i] = true
		con.waiting++
	}
	return failed(hypercall.EAGAIN)
}

// stopped is the answer to an error when nothing was done yet.
func (con *console) stopped(i int, done int64, err error) int64 {
	var errno unix.Errno
	switch {
	case done > 0 || err == nil:
		return 0
	case err == unix.EAGAIN || err == unix.EINTR:
		return con.wait(i, done)
	case errors.As(err, &errno):
		return -int64(errno)
	}
	return failed(hypercall.EIO)
}

func (vm *VM) consoleRead(a callArgs) int64 {
	if a[1] > hypercall.MaxConsole {
		return failed(hypercall.EINVAL)
	}
	pieces, s := vm.space.slices(a[0], a[1], true)
	if s != 0 {
		return failed(s)
	}
	if len(pieces) > 0 && vm.space.ofFile(pieces[0]) && vm.con.streams[0].r != nil {
		return vm.consoleReadCopy(a[0], len(pieces[0]))
	}
	return vm.con.read(pieces)
}

// consoleReadCopy reads to where only system calls may write, from a Reader.
func (vm *VM) consoleReadCopy(to uint64, most int) int64 {
	b := make([]byte, most)
	n := vm.con.read([][]byte{b})
	if n > 0 {
		if s := vm.space.copyOut(to, b[:n]); s != 0 {
			return failed(s)
		}
	}
	return n
}

// read fills pieces from the program's input: bytes, 0 at its end, or minus a
// status.
func (con *console) read(pieces [][]byte) int64 {
	switch st := &con.streams[0]; {
	case len(pieces) == 0:
		return 0
	case st.fd >= 0:
		return con.readFile(pieces)
	case st.r != nil:
		return readFrom(st.r, pieces[0])
	}
	return 0
}

func readFrom(r io.Reader, b []byte) int64 {
	for range 100 { // as bufio: a Reader may return nothing now and then
		n, err := r.Read(b)
		switch {
		case n > 0 || err == io.EOF:
			return int64(n)
		case err != nil:
			return failed(hypercall.EIO)
		}
	}
	return failed(hypercall.EIO)
}

func (con *console) readFile(pieces [][]byte) int64 {
	st := &con.streams[0]
	if st.atomic != 0 && !pollNow(st.fd, unix.POLLIN) {
		return con.wait(0, 0)
	}
	n, err := unix.Readv(st.fd, pieces)
	if err != nil {
		return con.stopped(0, 0, err)
	}
	return int64(n)
}

// pollNow says whether a descriptor is ready, or in a state that the next call
// on it will tell of.
func pollNow(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(p, 0)
	return n > 0 && err == nil
}

// interested says whether the guest waits for a host file.
func (con *console) interested() bool { return con.waiting > 0 }

// pollFDs appends what the guest waits for.
func (con *console) pollFDs(fds []unix.PollFd) []unix.PollFd {
	for i, want := range con.wants {
		if !want {
			continue
		}
		events := int16(unix.POLLOUT)
		if i == 0 {
			events = unix.POLLIN
		}
		fds = append(fds, unix.PollFd{Fd: int32(con.streams[i].fd), Events: events})
	}
	return fds
}

// ready is the events of files that have become ready. fds is what pollFDs
// appended.
func (con *console) ready(fds []unix.PollFd) (events uint32) {
	at := 0
	for i := range con.wants {
		if !con.wants[i] {
			continue
		}
		if fds[at].Revents != 0 {
			con.wants[i] = false
			con.waiting--
			if i == 0 {
				events |= 1 << hypercall.EventConsoleIn
			} else {
				events |= 1 << hypercall.EventConsoleOut
			}
		}
		at++
	}
	return events
}

// poll looks at the files that the guest waits for while it runs on.
func (con *console) poll() (events uint32) {
	if !con.interested() {
		return 0
	}
	fds := con.pollFDs(nil)
	if n, err := unix.Poll(fds, 0); n <= 0 || err != nil {
		return 0
	}
	return con.ready(fds)
}
