package guests

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestUnknownCalls makes calls whose numbers mean nothing.
func TestUnknownCalls(t *testing.T) {
	s := newSteps()
	for _, nr := range []uint64{0, 16, 17, 18, 19, 20, 255, 256, 1 << 31, 1<<32 | callMap, 1 << 63, ^uint64(0)} {
		s.call(fmt.Sprintf("call %#x", nr), enosys, nr, asm.Data, page, rw)
	}
	s.run(t, hv.Config{})
}

// TestBadArguments makes every call with pointers and lengths that are wrong.
func TestBadArguments(t *testing.T) {
	const max = ^uint64(0)
	end := uint64(asm.Data + asm.DataSize)
	pointers := []uint64{0, 1, page, asm.Text, hyperPage, startPage, end, end - 7, reserved, 1<<47 - 1, 1 << 47, 1 << 63, max, max - 7, 0xffff_8000_0000_0000}
	s := newSteps()
	for _, p := range pointers {
		name := fmt.Sprintf(" %#x", p)
		readable := p == asm.Text || p == hyperPage || p == startPage
		if !readable {
			s.call("console_write"+name, efault, uint64(hypercall.CallConsoleWrite), 1, p, 16)
		}
		s.call("console_read"+name, efault, uint64(hypercall.CallConsoleRead), p, 16)
		s.call("entropy"+name, efault, callEntropy, p, 16)
		s.call("multicall"+name, efault, callMulti, p, 1)
		if !readable {
			s.call("set_upcall"+name, efault, uint64(hypercall.CallSetUpcall), p)
			s.call("host_file"+name, efault, uint64(hypercall.CallHostFile), p)
		}
	}
	for _, n := range []uint64{hypercall.MaxConsole + 1, 1 << 31, 1 << 32, 1 << 63, max} {
		name := fmt.Sprintf(" of %#x bytes", n)
		s.call("console_write"+name, einval, uint64(hypercall.CallConsoleWrite), 1, asm.Data, n)
		s.call("console_read"+name, einval, uint64(hypercall.CallConsoleRead), asm.Data, n)
		s.call("entropy"+name, einval, callEntropy, asm.Data, n)
		s.call("multicall"+name, einval, callMulti, asm.Data, n)
	}
	for _, n := range []uint64{0, 1, page - 1, page + 1, max, 1 << 63, ^page + 1} {
		for _, nr := range []uint64{callMap, callUnmap, callProtect, callDiscard, callAlias} {
			s.call(fmt.Sprintf("%v of %#x bytes", hyper(nr), n), einval, nr, free, n, rw, asm.Data)
		}
	}
	for _, nr := range []uint64{callMap, callUnmap, callProtect, callDiscard, callAlias} {
		s.call(fmt.Sprint(hyper(nr), " misaligned"), einval, nr, free+1, page, rw, asm.Data)
		s.call(fmt.Sprint(hyper(nr), " of more than a call may"), enomem, nr, free, 1<<36+page, rw, asm.Data)
	}
	s.call("no such stream", -int64(hypercall.EBADF), uint64(hypercall.CallConsoleWrite), 0, asm.Data, 1)
	s.call("no such stream", -int64(hypercall.EBADF), uint64(hypercall.CallConsoleWrite), 3, asm.Data, 1)
	s.call("protect a hole", einval, callProtect, free, page, rw)
	s.call("alias a hole", einval, callAlias, free, page, rw, free+page)
	s.call("alias onto itself", einval, callAlias, asm.Data, 2*page, rw, asm.Data+page)
	s.call("64 GiB of lazy memory", enomem, callMap, free, 1<<36, rw|lazy)
	s.call("more memory than there is", enomem, callMap, free, 1<<30, rw)
	s.call("nothing is left behind", 0, callMap, free, 40<<20, rw)
	s.run(t, hv.Config{})
}

// TestNestedMulticall: what must not be in an array is refused there.
func TestNestedMulticall(t *testing.T) {
	s := newSteps()
	bad := []hypercall.Call{hypercall.CallMulticall, hypercall.CallBlock, hypercall.CallExit, hypercall.CallCrash, hypercall.CallSetUpcall, hypercall.CallSuspend}
	at := uint64(asm.Data + 0x8000)
	for i, nr := range bad {
		s.code.Store(at+64*uint64(i), uint64(nr)).Store(at+64*uint64(i)+8, at).Store(at+64*uint64(i)+16, 1)
	}
	s.call("all of them", int64(len(bad)), callMulti, at, uint64(len(bad)))
	for i, nr := range bad {
		minus := int64(einval)
		s.load(fmt.Sprint(nr), uint64(minus), at+64*uint64(i)+56)
	}
	s.run(t, hv.Config{})
}

// TestSlowMulticall: an array of the heaviest calls does not outlive a stop.
func TestSlowMulticall(t *testing.T) {
	c := new(asm.Code).Begin().Hypercall(hypercall.CallMap, free, 16<<30, rw|lazy)
	c.Hypercall(hypercall.CallMap, 0x20_0000_0000, 512*64, rw)
	for i := range uint64(512) {
		at := 0x20_0000_0000 + 64*i
		c.Store(at, callProtect).Store(at+8, free).Store(at+16, 16<<30).Store(at+24, rd+i%2*2)
		if len(c.B) > asm.Upcall-asm.Text-400 {
			break
		}
	}
	loop := len(c.B)
	c.Hypercall(hypercall.CallMulticall, 0x20_0000_0000, 512)
	c.Raw(0xe9, 0, 0, 0, 0)
	back := loop - len(c.B)
	copy(c.B[len(c.B)-4:], []byte{byte(back), byte(back >> 8), byte(back >> 16), byte(back >> 24)})
	run(t, hv.Config{Image: asm.Image{Code: c}.Write(t), Memory: 256 << 20}, 300*time.Millisecond).wantStopped(t)
}

// loopBack closes a loop that began at an offset.
func loopBack(c *asm.Code, loop int) *asm.Code {
	c.Raw(0xe9, 0, 0, 0, 0)
	back := loop - len(c.B)
	copy(c.B[len(c.B)-4:], []byte{byte(back), byte(back >> 8), byte(back >> 16), byte(back >> 24)})
	return c
}

// TestConsoleFlood writes as fast as it can; the host's memory stays bounded.
func TestConsoleFlood(t *testing.T) {
	c := new(asm.Code).Hypercall(hypercall.CallMap, free, 1<<20, rw)
	loop := len(c.B)
	loopBack(c.Hypercall(hypercall.CallConsoleWrite, 1, free, 1<<20), loop)
	img := asm.Image{Code: c}.Write(t)
	run(t, hv.Config{Image: img}, 300*time.Millisecond).wantStopped(t)
	// Into a pipe that nobody empties: it waits in vain.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	run(t, hv.Config{Image: img, Stdout: w}, 300*time.Millisecond).wantStopped(t)
	c = new(asm.Code).Begin()
	loop = len(c.B)
	c.Hypercall(hypercall.CallConsoleWrite, 1, asm.Data, 4096).Hypercall(hypercall.CallBlock, hypercall.Forever)
	run(t, hv.Config{Image: asm.Image{Code: loopBack(c, loop)}.Write(t), Stdout: w}, 300*time.Millisecond).wantStopped(t)
	// And one that is closed.
	r.Close()
	c = new(asm.Code).Hypercall(hypercall.CallConsoleWrite, 1, asm.Data, 10).Raw(0x48, 0xf7, 0xd8).MovReg(asm.RDI, asm.RAX) // neg rax
	c.Mov(asm.RAX, 1).CallPage()
	run(t, hv.Config{Image: asm.Image{Code: c}.Write(t), Stdout: w}, limit).wantExit(t, int(hypercall.EPIPE))
}

// TestOutOfMemory takes memory until there is none, by calls and by touch.
func TestOutOfMemory(t *testing.T) {
	c := new(asm.Code).Begin().Mov(asm.R12, free)
	loop := len(c.B)
	c.MovReg(asm.RDI, asm.R12).Mov(asm.RSI, 1<<20).Mov(asm.RDX, rw).Mov(asm.RAX, callMap).CallPage()
	c.Raw(0x49, 0x81, 0xc4, 0, 0, 0x10, 0)  // add r12, 1 MiB
	c.Raw(0x48, 0x85, 0xc0, 0x75, 5)        // test rax, rax; jne over the jump
	loopBack(c, loop).Raw(0x48, 0xf7, 0xd8) // neg rax
	c.MovReg(asm.RDI, asm.RAX).Mov(asm.RAX, 1).CallPage()
	run(t, hv.Config{Image: asm.Image{Code: c}.Write(t)}, limit).wantExit(t, int(hypercall.ENOMEM))

	c = new(asm.Code).Begin().Hypercall(hypercall.CallMap, free, 1<<30, rw|lazy).Mov(asm.R12, free)
	loop = len(c.B)
	c.Raw(0x41, 0xc6, 0x04, 0x24, 1)       // mov byte [r12], 1
	c.Raw(0x49, 0x81, 0xc4, 0, 0x10, 0, 0) // add r12, 4096
	o := run(t, hv.Config{Image: asm.Image{Code: loopBack(c, loop)}.Write(t)}, limit)
	o.wantFault(t, "out of memory: the machine's 64 MiB are in use")
}

// TestManyMappings makes a hundred thousand mappings that do not join, changes
// them and takes them away.
func TestManyMappings(t *testing.T) {
	array := uint64(0x20_0000_0000)
	c := new(asm.Code).Begin().Hypercall(hypercall.CallMap, array, 512*64, rw).Mov(asm.R12, free).Mov(asm.R13, 200)
	loop := len(c.B)
	fill := func(nr, flags uint64, step byte) {
		c.Mov(asm.RDI, array).MovReg(asm.RSI, asm.R12).Mov(asm.RCX, 512)
		inner := len(c.B)
		c.Raw(0x48, 0xc7, 0x07, byte(nr), 0, 0, 0)          // mov qword [rdi], nr
		c.Raw(0x48, 0x89, 0x77, 0x08)                       // mov [rdi+8], rsi
		c.Raw(0x48, 0xc7, 0x47, 0x10, 0, 0x10, 0, 0)        // mov qword [rdi+16], 4096
		c.Raw(0x48, 0xc7, 0x47, 0x18, byte(flags), 0, 0, 0) // mov qword [rdi+24], flags
		c.Raw(0x48, 0x83, 0xc7, 0x40)                       // add rdi, 64
		c.Raw(0x48, 0x81, 0xc6, 0, 0x10*step, 0, 0)         // add rsi, step pages
		c.Raw(0xff, 0xc9, 0x75, byte(inner-len(c.B)-4))     // dec ecx; jnz
		c.Hypercall(hypercall.CallMulticall, array, 512)
	}
	fill(callMap, rw, 2)
	fill(callProtect, rd, 4)
	c.Raw(0x49, 0x81, 0xc4, 0, 0, 0x40, 0) // add r12, 4 MiB
	c.Raw(0x41, 0xff, 0xcd, 0x74, 5)       // dec r13d; jz
	loopBack(c, loop)
	c.Hypercall(hypercall.CallUnmap, free, 1<<30).Raw(0x48, 0xf7, 0xd8).MovReg(asm.RDI, asm.RAX).Mov(asm.RAX, 1).CallPage()
	o := run(t, hv.Config{Image: asm.Image{Code: c}.Write(t), Memory: 600 << 20}, 60*time.Second)
	o.wantExit(t, 0)
	t.Logf("took %v", o.took)
}

// TestCrashText: the guest's own last words are made fit to print.
func TestCrashText(t *testing.T) {
	text := "a\x1b[2Jb\nc\x00\xff" + strings.Repeat("x", 2000)
	c := new(asm.Code).Hypercall(hypercall.CallCrash, asm.Data, uint64(len(text)))
	o := run(t, hv.Config{Image: asm.Image{Code: c, Data: []byte(text)}.Write(t)}, limit)
	o.wantFault(t, `the guest gave up: a\x1b[2Jb\nc\x00\xffxxx`)
	if len(o.err.Error()) > 1200 {
		t.Errorf("%d bytes of text", len(o.err.Error()))
	}
	for _, a := range [][2]uint64{{0, 10}, {asm.Data + asm.DataSize - 1, 2}, {^uint64(0), ^uint64(0)}} {
		c := new(asm.Code).Hypercall(hypercall.CallCrash, a[0], a[1])
		run(t, hv.Config{Image: asm.Image{Code: c}.Write(t)}, limit).wantFault(t, "its reason cannot be read")
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		arg uint64
		hv.Exit
	}{
		{0, hv.Exit{}}, {255, hv.Exit{Code: 255}}, {256, hv.Exit{Signal: 1}}, {9 << 8, hv.Exit{Signal: 9}},
		{^uint64(0), hv.Exit{Code: 255, Signal: 127}}, {1 << 63, hv.Exit{}}, {1<<16 | 3, hv.Exit{Code: 3}},
	} {
		o := run(t, hv.Config{Image: asm.Image{Code: new(asm.Code).Exit(test.arg)}.Write(t)}, limit)
		if o.err != nil || o.exit != test.Exit {
			t.Errorf("exit(%#x): %v, want %+v", test.arg, o, test.Exit)
		}
	}
}

// TestScribble writes garbage all over the shared pages from a loop, while the
// host ticks, signals and stops.
func TestScribble(t *testing.T) {
	c := new(asm.Code).Begin()
	loop := len(c.B)
	for _, at := range []uint64{uint64(hypercall.VCPUInfoGVA), uint64(hypercall.SharedInfoGVA)} {
		// rdtsc; then 512 words of it, a little different each.
		c.Raw(0x0f, 0x31).Mov(asm.RDI, at).Mov(asm.RCX, 512)
		inner := len(c.B)
		c.Raw(0x48, 0x69, 0xc0, 0x95, 0xe9, 0xd1, 0x5b) // imul rax, rax, 0x5bd1e995
		c.Raw(0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 0x08) // mov [rdi], rax; add rdi, 8
		c.Raw(0xff, 0xc9, 0x75, byte(inner-len(c.B)-4)) // dec ecx; jnz
	}
	c.Mov(asm.RAX, 99).CallPage()
	loopBack(c, loop)
	// An event may come at any time: begin anew.
	img := asm.Image{Code: c, Handler: new(asm.Code).JmpTo(asm.Text + uint64(loop))}.Write(t)
	for range 3 {
		vm, err := newVM(t, hv.Config{Image: img})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := contextFor(200 * time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				vm.Signal(syscall.SIGUSR1)
				vm.SignalTaken()
				time.Sleep(100 * time.Microsecond)
			}
		}()
		_, err = vm.Run(ctx)
		cancel()
		<-done
		if err != errTime {
			t.Errorf("%v, want to be stopped", err)
		}
		vm.Stats()
		vm.Close()
	}
	run(t, hv.Config{Image: img}, 100*time.Millisecond).wantStopped(t)
}

// TestOldABI refuses images of other versions and files that are none.
func TestOldABI(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/text", []byte("#!/bin/sh\n"), 0o755)
	syscall.Mkfifo(dir+"/fifo", 0o644)
	for name, want := range map[string]string{
		asm.Image{Code: new(asm.Code).Exit(0), Version: hypercall.Version + 1}.Write(t): fmt.Sprintf("built for ABI version %d", hypercall.Version+1),
		dir + "/text":  "not an ELF file",
		dir + "/fifo":  "not a regular file",
		dir:            "not a regular file",
		dir + "/other": "no such file",
	} {
		vm, err := newVM(t, hv.Config{Image: name})
		if err == nil {
			vm.Close()
		}
		if _, ok := err.(*hv.ImageError); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%v), want …%s…", name, err, ok, want)
		}
	}
}

// TestStdinGarbage: what is read lands where it was asked to, and nowhere else.
func TestStdinGarbage(t *testing.T) {
	s := newSteps()
	at := uint64(asm.Data + 0x8000)
	s.code.Store(at, 0x1111).Store(at+8, 0x2222)
	s.call("read", 8, uint64(hypercall.CallConsoleRead), at, 8)
	s.load("the bytes", 0x6867666564636261, at)
	s.load("the next word", 0x2222, at+8)
	s.call("read at the end", 0, uint64(hypercall.CallConsoleRead), at, 8)
	s.run(t, hv.Config{Stdin: bytes.NewReader([]byte("abcdefgh"))})
}
