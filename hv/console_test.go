package hv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

const scratch = 0x20_0000_0000 // memory for the arguments of calls

// newConsoleVM has a console and a buffer of 16 pages.
func newConsoleVM(t *testing.T, cfg Config) (*VM, *pvGuest) {
	t.Helper()
	vm := newTestVM(t, 400)
	vm.cfg.Stdin, vm.cfg.Stdout, vm.cfg.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	vm.openConsole()
	if s := vm.tables.doMap(scratch, 16*pageSize, hypercall.MapRead|hypercall.MapWrite); s != 0 {
		t.Fatal(s)
	}
	return vm, &pvGuest{vcpu: &vcpu{vm: vm}, info: &hypercall.VCPUInfo{}}
}

func (vm *VM) write(fd, n uint64) int64 {
	return vm.dispatch(hypercall.CallConsoleWrite, callArgs{fd, scratch, n})
}

func (vm *VM) read(n uint64) int64 {
	return vm.dispatch(hypercall.CallConsoleRead, callArgs{scratch, n})
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

const again = -int64(hypercall.EAGAIN)

func TestConsoleArguments(t *testing.T) {
	var out bytes.Buffer
	vm, _ := newConsoleVM(t, Config{Stdout: &out})
	tests := []struct {
		nr   hypercall.Call
		a    callArgs
		want int64
	}{
		{hypercall.CallConsoleWrite, callArgs{0, scratch, 1}, -int64(hypercall.EBADF)},
		{hypercall.CallConsoleWrite, callArgs{3, scratch, 1}, -int64(hypercall.EBADF)},
		{hypercall.CallConsoleWrite, callArgs{1 << 32, scratch, 1}, -int64(hypercall.EBADF)},
		{hypercall.CallConsoleWrite, callArgs{1, scratch, hypercall.MaxConsole + 1}, -int64(hypercall.EINVAL)},
		{hypercall.CallConsoleWrite, callArgs{1, scratch, 1<<64 - 1}, -int64(hypercall.EINVAL)},
		{hypercall.CallConsoleWrite, callArgs{1, scratch + 16*pageSize, 1}, -int64(hypercall.EFAULT)},
		{hypercall.CallConsoleWrite, callArgs{1, scratch + 16*pageSize - 1, 2}, -int64(hypercall.EFAULT)},
		{hypercall.CallConsoleWrite, callArgs{1, 0, 1}, -int64(hypercall.EFAULT)},
		{hypercall.CallConsoleWrite, callArgs{1, 0, 0}, 0},
		{hypercall.CallConsoleWrite, callArgs{2, scratch, 7}, 7}, // nobody listens
		{hypercall.CallConsoleRead, callArgs{scratch, hypercall.MaxConsole + 1}, -int64(hypercall.EINVAL)},
		{hypercall.CallConsoleRead, callArgs{testROM, 1}, -int64(hypercall.EFAULT)},
		{hypercall.CallConsoleRead, callArgs{testText, 1}, -int64(hypercall.EFAULT)},
		{hypercall.CallConsoleRead, callArgs{scratch, 0}, 0},
		{hypercall.CallConsoleRead, callArgs{scratch, 1}, 0},
	}
	for _, test := range tests {
		if got := vm.dispatch(test.nr, test.a); got != test.want {
			t.Errorf("%v%#x = %d, want %d", test.nr, test.a, got, test.want)
		}
	}
	if out.Len() != 0 {
		t.Errorf("a refused call wrote %q", out.Bytes())
	}
}

// blockingPipe is as a shell makes it: a write that does not fit waits.
func blockingPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestConsolePipe fills a pipe to the brim, empties it and goes on.
func TestConsolePipe(t *testing.T) {
	t.Run("not blocking", func(t *testing.T) { r, w := pipe(t); consolePipe(t, r, w) })
	t.Run("blocking", func(t *testing.T) { r, w := blockingPipe(t); consolePipe(t, r, w) })
}

func consolePipe(t *testing.T, r, w *os.File) {
	t.Helper()
	vm, c := newConsoleVM(t, Config{Stdout: w})
	vm.space.copyOut(scratch, bytes.Repeat([]byte("0123456789abcdef"), pageSize))
	sent := vm.write(1, 5000) // so that what comes never fits exactly
	for {
		n := vm.write(1, 16*pageSize)
		if n == again {
			break
		}
		if n <= 0 || sent > 1<<22 {
			t.Fatalf("write after %d bytes: %d", sent, n)
		}
		sent += n
	}
	c.happened(c.vm.con.poll())
	if c.info.Pending != 0 || !vm.con.interested() {
		t.Errorf("pending %#x while the pipe is full", c.info.Pending)
	}
	b := make([]byte, sent)
	if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b[:16], []byte("0123456789abcdef")) {
		t.Fatalf("read %q…: %v", b[:16], err)
	}
	c.happened(c.vm.con.poll())
	if c.info.Pending != 1<<hypercall.EventConsoleOut || vm.con.interested() {
		t.Errorf("pending %#x when the pipe is empty", c.info.Pending)
	}
	if n := vm.write(1, 5); n != 5 {
		t.Errorf("write after the event: %d", n)
	}
}

func TestConsoleBrokenPipe(t *testing.T) {
	r, w := pipe(t)
	vm, _ := newConsoleVM(t, Config{Stdout: w, Stderr: w})
	r.Close()
	for fd := uint64(1); fd <= 2; fd++ {
		if n := vm.write(fd, 100); n != -int64(hypercall.EPIPE) {
			t.Errorf("write to a pipe that nobody reads: %d", n)
		}
	}
}

func TestConsoleIn(t *testing.T) {
	r, w := pipe(t)
	vm, c := newConsoleVM(t, Config{Stdin: r})
	if n := vm.read(10); n != again {
		t.Fatalf("read of an empty pipe: %d", n)
	}
	if n := vm.read(10); n != again || vm.con.waiting != 1 {
		t.Fatalf("again: %d, %d are waited for", n, vm.con.waiting)
	}
	w.WriteString("hello")
	c.happened(vm.con.poll())
	if c.info.Pending != 1<<hypercall.EventConsoleIn {
		t.Errorf("pending %#x", c.info.Pending)
	}
	if n := vm.dispatch(hypercall.CallConsoleRead, callArgs{scratch + pageSize - 2, 10}); n != 5 {
		t.Fatalf("read: %d", n)
	}
	b := make([]byte, 5)
	if vm.space.copyIn(b, scratch+pageSize-2); string(b) != "hello" {
		t.Errorf("read %q", b)
	}
	w.Close()
	for range 3 {
		if n := vm.read(10); n != 0 {
			t.Errorf("read at the end: %d", n)
		}
	}
}

// odd is a Reader and Writer that does what it is told.
type odd struct {
	n   int
	err error
}

func (o odd) Read(b []byte) (int, error)  { return min(o.n, len(b)), o.err }
func (o odd) Write(b []byte) (int, error) { return min(o.n, len(b)), o.err }

func TestConsoleReadersAndWriters(t *testing.T) {
	tests := []struct {
		n           int
		err         error
		read, write int64
	}{
		{100, nil, 100, 100},
		{40, nil, 40, 40},
		{0, io.EOF, 0, -int64(hypercall.EIO)},
		{3, io.EOF, 3, 3},
		{0, errors.New("x"), -int64(hypercall.EIO), -int64(hypercall.EIO)},
		{7, errors.New("x"), 7, 7},
	}
	for _, test := range tests {
		vm, _ := newConsoleVM(t, Config{Stdin: odd{test.n, test.err}, Stdout: odd{test.n, test.err}})
		if n := vm.read(100); n != test.read {
			t.Errorf("%+v: read %d, want %d", test, n, test.read)
		}
		if n := vm.write(1, 100); n != test.write {
			t.Errorf("%+v: write %d, want %d", test, n, test.write)
		}
	}
	var none *os.File
	vm, _ := newConsoleVM(t, Config{Stdin: none, Stdout: none})
	if r, w := vm.read(9), vm.write(1, 9); r != 0 || w != 9 {
		t.Errorf("nil files: read %d, write %d", r, w)
	}
	vm, _ = newConsoleVM(t, Config{Stdin: strings.NewReader("abc")})
	if a, b := vm.read(9), vm.read(9); a != 3 || b != 0 {
		t.Errorf("a string: %d, then %d", a, b)
	}
}

func TestConsoleRegularFile(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vm, _ := newConsoleVM(t, Config{Stdin: f, Stdout: f})
	if n := vm.write(1, 16*pageSize); n != 16*pageSize {
		t.Errorf("write: %d", n)
	}
	f.Seek(0, 0)
	if n := vm.read(16 * pageSize); n != 16*pageSize {
		t.Errorf("read: %d", n)
	}
	ro, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	vm, _ = newConsoleVM(t, Config{Stdout: ro})
	if n := vm.write(1, 10); n != -int64(hypercall.EBADF) {
		t.Errorf("write to a file open for reading: %d", n)
	}
}
