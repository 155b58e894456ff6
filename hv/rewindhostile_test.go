package hv

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// hostile is a snapshot of a hand-made guest that has called suspend and gets messages.
// What comes behind the call is life; events stay masked, and the first message has ID 1.
func hostile(t *testing.T, memory int64, before, life func(c *asm.Code)) *Snapshot {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	c := new(asm.Code)
	if before != nil {
		before(c)
	}
	c.Hypercall(hypercall.CallSuspend)
	life(c)
	vm, err := New(Config{Image: asm.Image{Code: c}.Write(t), Memory: memory, Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	vm.resting = true
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := vm.enter(ctx); err != errAtRest {
		t.Fatal(err)
	}
	s, err := vm.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// respond answers the message with 8 bytes of the guest's data.
func respond(c *asm.Code, id uint64) *asm.Code {
	return c.Hypercall(hypercall.CallRespond, id, 0, asm.Data, 8)
}

// calls does paging calls at random, as a guest could, and writes what it has.
func calls(r *rand.Rand, vm *VM, n int) {
	places := []uint64{0x10_0000_0000, 0x10_0020_0000, 0x20_0000_0000, asm.Data}
	at := func() uint64 { return places[r.IntN(len(places))] + uint64(r.IntN(24))*pageSize }
	for range n {
		a := callArgs{at(), uint64(1+r.IntN(16)) * pageSize, uint64([]hypercall.MapFlag{
			0, hypercall.MapRead, hypercall.MapRead | hypercall.MapWrite,
			hypercall.MapRead | hypercall.MapWrite | hypercall.MapLazy, hypercall.MapLazy,
		}[r.IntN(5)]), at()}
		switch r.IntN(8) {
		case 0:
			vm.dispatch(hypercall.CallMap, a)
		case 1:
			vm.dispatch(hypercall.CallUnmap, a)
		case 2:
			vm.dispatch(hypercall.CallProtect, a)
		case 3:
			vm.dispatch(hypercall.CallDiscard, a)
		case 4:
			vm.dispatch(hypercall.CallAlias, a)
		case 5:
			vm.tables.faultIn(at(), uint64(r.IntN(2))<<1, new(readAhead))
		default:
			vm.space.copyOut(at(), []byte{0xaa, 0xbb})
		}
	}
}

// TestRewindAnyCalls: whatever calls have done to a machine, it is again what it was.
func TestRewindAnyCalls(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		need.KVM(t)
		need.Count(1)
		first, err := New(Config{Image: asm.Image{Code: new(asm.Code).Hypercall(hypercall.CallSuspend)}.Write(t), Memory: 4 << 20, Messages: true})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		first.resting = true
		if _, err := first.enter(t.Context()); err != errAtRest {
			t.Fatal(err)
		}
		calls(r, first, 60)
		s, err := first.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for f := range frame(s.base.total) {
			if s.seen.kind[f] == 0 && !isZero(s.base.page(f)) {
				t.Fatalf("frame %#x is free and not zero", f)
			}
		}
		vm := clone(t, s)
		for i := range 60 {
			calls(r, vm, 1+r.IntN(100))
			if i%7 == 3 {
				vm.messages.put(make([]byte, r.IntN(3<<20)), 0)
			}
			if i%20 == 19 {
				vm.dirtied.rewinds = forgetEvery - 1
			}
			if err := vm.Rewind(); err != nil {
				t.Fatal(err)
			}
			if same(t, vm); t.Failed() {
				t.Fatalf("seed %d, life %d", seed, i)
			}
		}
	}
}

// A guest that single-steps its respond leaves no exception to the next life.
func TestRewindSingleStep(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) {
		const (
			stack = asm.Data + 0x8000
			trap  = 1 << 8
		)
		c.Mov(asm.RSP, stack)
		c.Raw(0x48, 0x8d, 0x05, 0, 0, 0, 0) // lea rax, [rip+…]
		from := len(c.B)
		c.Raw(0x50) // push rax: where the page returns to
		c.MovReg(asm.RBX, asm.RSP)
		c.Raw(0x8c, 0xd0, 0x50) // mov eax, ss; push rax
		c.Raw(0x53)             // push rbx
		c.Mov(asm.RAX, trap|2).Raw(0x50)
		c.Raw(0x8c, 0xc8, 0x50) // mov eax, cs; push rax
		c.Mov(asm.RAX, uint64(hypercall.HypercallGVA)).Raw(0x50)
		for i, v := range []uint64{1, 0, asm.Data, 8} {
			c.Mov([]asm.Reg{asm.RDI, asm.RSI, asm.RDX, asm.R10}[i], v)
		}
		c.Mov(asm.RAX, uint64(hypercall.CallRespond)).Raw(0x48, 0xcf) // iretq
		c.B[from-4] = byte(len(c.B) - from)
		c.Spin()
	})
	vm := clone(t, s)
	for range 3 {
		ask(t, vm, "x")
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, vm, "x")
	var fault *GuestFault
	if _, err := vm.Invoke(t.Context(), nil); !errors.As(err, &fault) || !strings.Contains(err.Error(), "#DB") {
		t.Errorf("without a rewind it goes on with %v, want its debug exception", err)
	}
}

// TestRewindLeavesMemory: what stays of a life, page tables and pages that it has touched
// first, does not take the next one's memory, however often that happens.
func TestRewindLeavesMemory(t *testing.T) {
	const lazy, lazyPages = 0x10_0000_0000, 4000
	const flags = hypercall.MapRead | hypercall.MapWrite | hypercall.MapLazy
	s := hostile(t, 8<<20, func(c *asm.Code) {
		c.Hypercall(hypercall.CallMap, lazy, lazyPages*pageSize, uint64(flags))
	}, func(c *asm.Code) { respond(c, 1) })
	for name, life := range map[string]func(vm *VM, i int){
		"tables": func(vm *VM, i int) {
			for j := range uint64(4000) {
				at := 0x100_0000_0000 + (uint64(i)*4000+j)<<21
				if vm.dispatch(hypercall.CallMap, callArgs{at, pageSize, uint64(flags)}) != 0 {
					break
				}
			}
		},
		"few tables at a time": func(vm *VM, i int) {
			at := 0x200_0000_0000 + uint64(i)<<30
			for j := range uint64(20) {
				vm.dispatch(hypercall.CallMap, callArgs{at + j<<21, pageSize, uint64(flags)})
			}
		},
		"pages": func(vm *VM, i int) {
			for a := uint64(lazy); a < lazy+lazyPages*pageSize; a += pageSize {
				vm.tables.pageAt(a, true)
			}
		},
		"few pages at a time": func(vm *VM, i int) {
			for j := range uint64(50) {
				vm.tables.pageAt(lazy+(uint64(i)*50+j)%lazyPages*pageSize, true)
			}
		},
	} {
		vm := clone(t, s)
		lives, least := 0, vm.mem.left
		for i := range 100 {
			life(vm, i)
			if err := vm.Rewind(); err != nil {
				if _, err := vm.Invoke(t.Context(), nil); err == nil {
					t.Errorf("%s: a machine that could not be rewound goes on", name)
				}
				vm = clone(t, s)
				continue
			}
			same(t, vm)
			lives, least = lives+1, min(least, vm.mem.left)
		}
		t.Logf("%s: %d rewinds, %d free frames of %d", name, lives, least, s.seen.left)
		if least < s.seen.left*3/4 {
			t.Errorf("%s: %d free frames are left of %d", name, least, s.seen.left)
		}
		if name[0] == 'f' && lives < 90 {
			t.Errorf("%s: only %d rewinds", name, lives)
		}
	}
}

// poke changes what a frame of a snapshot's begins with.
func poke(s *Snapshot, f frame, b ...byte) {
	at := int64(0)
	for _, x := range s.state.Extents {
		if x.First <= f && f < x.end() {
			s.file.WriteAt(b, at+int64(f-x.First)<<pageShift)
		}
		at += int64(x.Pages) << pageShift
	}
}

// What is not in guest memory is another life's too.
func TestRewindHostState(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	// As a file may have it: the host makes this page itself, and says who has terminals.
	poke(s, s.pages.hypercall, 0x90, 0x90)
	info := *s.base.startInfo(s.pages.start)
	info.Console = 7
	poke(s, s.pages.start, bytesOf(&info)...)
	vm := clone(t, s)
	want := make([]byte, pageSize)
	kvm.HypercallPage(want)
	for range 2 {
		vm.cpu.again = stuck{1, 2, 1000}
		vm.con.wants, vm.con.waiting = [3]bool{true, true, true}, 3
		vm.Signal(15)
		vm.raise(hypercall.EventMessage)
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		if vm.cpu.again != (stuck{}) || vm.con.waiting != 0 || vm.signals.Load() != 0 || vm.kick.raised.Load() != 0 {
			t.Errorf("%+v, %+v, %#x, %#x", vm.cpu.again, vm.con, vm.signals.Load(), vm.kick.raised.Load())
		}
		if !bytes.Equal(vm.mem.page(s.pages.hypercall), want) {
			t.Error("the hypercall page is the file's")
		}
		if c := vm.mem.startInfo(vm.start.frame).Console; c != 0 {
			t.Errorf("terminals %#x", c)
		}
	}
	ask(t, vm, "x")
}

// A machine that is closed, or could not be rewound, is asked in vain and without harm.
func TestInvokeClosed(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, s)
	ask(t, vm, "x")
	for range 2 {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := vm.Invoke(t.Context(), []byte("x")); err != errNotAgain {
		t.Errorf("Invoke: %v", err)
	}
	if _, err := vm.Run(t.Context()); err != errNotAgain {
		t.Errorf("Run: %v", err)
	}
	if err := vm.Rewind(); err == nil {
		t.Error("it was rewound")
	}
	vm.Stats()
	vm.Signal(15)

	vm = clone(t, s)
	vm.cfg.Hostname = strings.Repeat("a", maxHostname+1) // resume refuses it
	if err := vm.Rewind(); err == nil {
		t.Error("it was rewound")
	}
	if _, err := vm.Invoke(t.Context(), nil); err != errNotAgain {
		t.Errorf("Invoke: %v", err)
	}
}

// TestRewindZeroPage: where a page was written, and the host's kernel has put its page of
// zeros since, the contents are the snapshot's again.
func TestRewindZeroPage(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, s)
	f := vm.tables.slot(asm.Text, false).load().frame()
	if isZero(s.base.page(f)) {
		t.Fatal("nothing is in the page")
	}
	if err := zeroPage(vm.mem.page(f)); err != nil {
		t.Skip("the kernel puts no page of zeros there: ", err)
	}
	if !isZero(vm.mem.page(f)) {
		t.Fatal("the page is not zero")
	}
	if err := vm.Rewind(); err != nil {
		t.Fatal(err)
	}
	same(t, vm)
	if list, err := vm.mem.written(); err != nil || len(list) > 30 {
		t.Errorf("%d runs of pages are written, %v", len(list), err)
	}
}

// TestCloneNastyArguments makes every call with nasty values in a machine without disks,
// NICs and shares, and looks whether that can be undone.
func TestCloneNastyArguments(t *testing.T) {
	s := hostile(t, 8<<20, nil, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, s)
	n := 0
	for nr := range hypercall.CallEnd + 2 {
		for i, a0 := range nasty {
			for j, a1 := range nasty {
				a := callArgs{a0, a1, nasty[(i+j)%len(nasty)], nasty[(i*7+j)%len(nasty)], nasty[j], nasty[i]}
				if nr == hypercall.CallMap && a1 >= 1<<31 && a1 <= 1<<36 {
					a[2] &^= uint64(hypercall.MapLazy)
				}
				if nr == hypercall.CallRespond {
					vm.messages.respond(a)
				} else {
					vm.call(t, nr, a)
				}
			}
			if n++; n%10 != 0 {
				continue
			}
			switch err := vm.Rewind(); {
			case err == nil:
			case errors.Is(err, errTables):
				vm.Close()
				vm = clone(t, s)
			default:
				t.Fatal(err)
			}
			if n%200 == 0 {
				same(t, vm)
			}
			if t.Failed() {
				t.Fatalf("after %v(%#x, …)", nr, a0)
			}
		}
	}
	if err := vm.Rewind(); err != nil {
		t.Fatal(err)
	}
	ask(t, vm, "x")
}

// TestRewindCancelled: a context that ends when a message is being answered, or just
// after, ends that Invoke or nothing.
func TestRewindCancelled(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, s)
	answered, cancelled := 0, 0
	for range 500 {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		go func() {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
			cancel(why)
		}()
		go vm.Signal(1)
		_, err := vm.Invoke(ctx, []byte("x"))
		switch err {
		case nil:
			answered++
			if err := vm.Rewind(); err != nil {
				t.Fatal(err)
			}
		case why:
			cancelled++
			if err := vm.Rewind(); err == nil {
				t.Fatal("it was rewound")
			}
			vm.Close()
			vm = clone(t, s)
		default:
			t.Fatal(err)
		}
		ask(t, vm, "x")
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d answered, %d cancelled", answered, cancelled)
}

// A deadline far away is none that has passed.
func TestInvokeDeadline(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, s)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(1<<63-1))
	defer cancel()
	if d := vm.deadline(ctx); d < 1<<62 {
		t.Errorf("deadline %d", d)
	}
}

// TestClonesApart has guests write what the snapshot has, suspend when nobody asked, set
// another upcall and answer what is no message. Each life sees the snapshot's memory.
func TestClonesApart(t *testing.T) {
	const counter = asm.Data + 0x100
	s := hostile(t, 0, nil, func(c *asm.Code) {
		answer := func(right uint64) {
			for _, id := range []uint64{0, right - 1, right + 1, right + hypercall.MessageSlots, 1 << 63, 1<<64 - 1} {
				c.Hypercall(hypercall.CallRespond, id, 0, asm.Data, 8) // counts below if it is answered
			}
			c.Hypercall(hypercall.CallRespond, right, 2, counter, 8)
			c.Hypercall(hypercall.CallRespond, right, 0, counter, hypercall.MaxMessage+1)
			c.Hypercall(hypercall.CallRespond, right, 0, 1<<40, 8)
			c.Hypercall(hypercall.CallRespond, right, 0, counter, 8)
		}
		for i := range uint64(3) {
			c.Hypercall(hypercall.CallSuspend)
			c.SetUpcall(hypercall.UpcallArgs{Entry: asm.Text + hypercall.GVA(i), Stack: asm.UpStack})
			c.Mov(asm.R11, counter).Raw(0x49, 0xff, 0x03) // inc qword [r11]
			answer(i + 1)
		}
	})
	want := s.hashes()
	count := func(vm *VM, n byte) {
		t.Helper()
		if got := ask(t, vm, "x"); got != string([]byte{n, 0, 0, 0, 0, 0, 0, 0}) {
			t.Errorf("counted to %q, want %d", got, n)
		}
	}
	one, other := clone(t, s), clone(t, s)
	for range 3 {
		count(one, 1)
		count(one, 2)
		count(other, 1)
		count(one, 3)
		if err := errors.Join(one.Rewind(), other.Rewind()); err != nil {
			t.Fatal(err)
		}
		count(clone(t, s), 1)
		if u := one.cpu.guest.(*pvGuest).upcall; u != s.state.Upcall {
			t.Errorf("upcall %+v", u)
		}
	}
	for _, vm := range []*VM{one, other} {
		for f := range frame(vm.mem.total) {
			if s.seen.kind[f]&(frameTable|frameSystem) == 0 && f != s.pages.hypercall {
				vm.mem.page(f)[7] ^= 0xff
			}
		}
		if !bytes.Equal(s.hashes(), want) {
			t.Error("the snapshot's pages have changed")
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		same(t, vm)
		count(vm, 1)
	}
}
