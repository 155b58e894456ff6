// Command exchange answers messages by /dev/function itself, each in another way.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	device     = "/dev/function"
	headerSize = 24

	requestFail       = 0x4670
	requestGeneration = 0x80084672
	requestInstance   = 0x80104673
)

// ways are in the order in which the test sends its messages.
var ways = []struct {
	name   string
	answer func(name string) error
}{
	{"file", func(name string) error { return asFile(name, 0) }},
	{"nonblock", func(name string) error { return asFile(name, syscall.O_NONBLOCK) }},
	{"poll", polled},
	{"pieces", func(name string) error { return byReads(name, make([]byte, 5)) }},
	{"vector", vector},
	{"stack", stack},
	{"large", stack},
	{"dup", dup},
	{"unread", unread},
	{"deadline", deadline},
	{"identity", identity},
	{"fail", fail},
	{"limit", limit},
	{"file", func(name string) error { return asFile(name, 0) }},
}

func main() {
	if len(os.Args) > 1 {
		alone(os.Args[1])
		return
	}
	for _, w := range ways {
		if err := w.answer(w.name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", w.name, err)
			os.Exit(1)
		}
	}
}

// alone is for what ends the program.
func alone(how string) {
	switch how {
	case "exit":
		must(syscall.Read(open(), make([]byte, 100)))
		os.Exit(3)
	case "panic":
		must(syscall.Read(open(), make([]byte, 100)))
		panic("at once")
	case "inquire":
		_, err1 := syscall.Open(device, syscall.O_RDWR, 0)
		fd := must(syscall.Open(device, syscall.O_RDONLY, 0))
		_, err2 := syscall.Read(fd, make([]byte, 100))
		_, err3 := syscall.Write(fd, make([]byte, 100))
		var generation uint64
		err4 := control(fd, requestGeneration, unsafe.Pointer(&generation))
		fmt.Println(number(err1), number(err2), number(err3), number(err4), generation)
	}
}

func number(err error) int { return int(err.(syscall.Errno)) }

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

func open() int { return must(syscall.Open(device, syscall.O_RDWR, 0)) }

func control(fd int, request uintptr, at unsafe.Pointer) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(at))
	return errno
}

// text is a message without its header, which it looks at.
func text(b []byte) (string, error) {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b) != 1 || binary.LittleEndian.Uint32(b[4:]) != headerSize ||
		binary.LittleEndian.Uint64(b[8:]) != uint64(len(b)-headerSize) {
		return "", fmt.Errorf("bad header: %x", b[:min(len(b), headerSize)])
	}
	return string(b[headerSize:]), nil
}

func asFile(name string, flags int) error {
	f, err := os.OpenFile(device, os.O_RDWR|flags, 0)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	s, err := text(b)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%s: %s", name, s); err != nil {
		return err
	}
	return f.Close()
}

// polled waits by poll(2).
func polled(name string) error {
	fds := []struct {
		fd              int32
		events, revents int16
	}{{int32(open()), 1, 0}}
	n, _, errno := syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(&fds[0])), 1, ^uintptr(0))
	if n != 1 || errno != 0 || fds[0].revents != 1 {
		return fmt.Errorf("poll: %d, %v, %v", n, errno, fds)
	}
	return reply(int(fds[0].fd), name, make([]byte, 1000))
}

func byReads(name string, b []byte) error { return reply(open(), name, b) }

// reply reads by what b has room for, and answers.
func reply(fd int, name string, b []byte) error {
	all, err := gather(fd, b)
	if err != nil {
		return err
	}
	return finish(fd, name, all)
}

func gather(fd int, b []byte) (all []byte, err error) {
	for {
		n, err := syscall.Read(fd, b)
		if n <= 0 || err != nil {
			return all, err
		}
		all = append(all, b[:n]...)
	}
}

func finish(fd int, name string, all []byte) error {
	s, err := text(all)
	if err != nil {
		return err
	}
	if _, err := syscall.Write(fd, []byte(name+": "+s)); err != nil {
		return err
	}
	return syscall.Close(fd)
}

// vector reads and writes by vectors.
func vector(name string) error {
	fd := open()
	b := [3][]byte{make([]byte, 10), make([]byte, 20), make([]byte, 1000)}
	var v [3]syscall.Iovec
	for i := range v {
		v[i] = syscall.Iovec{Base: &b[i][0], Len: uint64(len(b[i]))}
	}
	n, _, errno := syscall.Syscall(syscall.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), 3)
	if errno != 0 {
		return errno
	}
	s, err := text(append(append(b[0], b[1]...), b[2]...)[:n])
	if err != nil {
		return err
	}
	for i, part := range []string{name, ": ", s} {
		v[i] = syscall.Iovec{Base: unsafe.StringData(part), Len: uint64(len(part))}
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), 3); errno != 0 {
		return errno
	}
	return syscall.Close(fd)
}

// stack reads to and writes from the goroutine's stack.
func stack(name string) error {
	var b [8 << 10]byte
	fd := open()
	all, err := gather(fd, b[:])
	if err != nil {
		return err
	}
	s, err := text(all)
	if err != nil {
		return err
	}
	for s = name + ": " + s; len(s) > 0; {
		n, err := syscall.Write(fd, b[:copy(b[:], s)])
		if err != nil {
			return err
		}
		s = s[n:]
	}
	return syscall.Close(fd)
}

// dup answers by another descriptor.
func dup(name string) error {
	fd := open()
	all, err := gather(fd, make([]byte, 1000))
	if err != nil {
		return err
	}
	other := must(syscall.Dup(fd))
	if err := syscall.Close(fd); err != nil {
		return err
	}
	return finish(other, name, all)
}

// unread closes an exchange that took no message first.
func unread(name string) error {
	if err := syscall.Close(open()); err != nil {
		return err
	}
	return byReads(name, make([]byte, 1000))
}

// deadline wants one within the next minutes.
func deadline(name string) error {
	fd := open()
	all, err := gather(fd, make([]byte, 1000))
	if err != nil {
		return err
	}
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	left := time.Duration(int64(binary.LittleEndian.Uint64(all[16:])) - now.Nano())
	if left <= 0 || left > 10*time.Minute {
		return fmt.Errorf("%v are left", left)
	}
	return finish(fd, name, all)
}

// identity asks who the machine is.
func identity(name string) error {
	fd := open()
	var generation uint64
	var id [16]byte
	if errno := control(fd, requestGeneration, unsafe.Pointer(&generation)); errno != syscall.Errno(0) || generation != 0 {
		return fmt.Errorf("generation %d, %v", generation, errno)
	}
	if errno := control(fd, requestInstance, unsafe.Pointer(&id)); errno != syscall.Errno(0) || id == [16]byte{} {
		return fmt.Errorf("instance %x, %v", id, errno)
	}
	return reply(fd, name, make([]byte, 1000))
}

func fail(name string) error {
	fd := open()
	if errno := control(fd, requestFail, nil); errno != syscall.EINVAL {
		return fmt.Errorf("before the message: %v", errno)
	}
	all, err := gather(fd, make([]byte, 1000))
	if err != nil {
		return err
	}
	if errno := control(fd, requestFail, nil); errno != syscall.Errno(0) {
		return errno
	}
	return finish(fd, name, all)
}

// limit writes more than there may be.
func limit(name string) error {
	fd := open()
	if _, err := syscall.Write(fd, []byte("early")); !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("before the message: %v", err)
	}
	all, err := gather(fd, make([]byte, 1000))
	if err != nil {
		return err
	}
	if _, err := syscall.Write(fd, make([]byte, 6<<20+1)); !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("too much: %v", err)
	}
	return finish(fd, name, all)
}
