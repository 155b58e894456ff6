package hv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

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
			c.Hypercall(hypercall.CallSuspend, 0)
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

// store is MOV [addr], r for an address below 2 GiB, with nothing clobbered.
func store(c *asm.Code, addr uint32, r asm.Reg) {
	c.Raw(0x48|byte(r>>3)<<2, 0x89, byte(r&7)<<3|4, 0x25)
	c.B = binary.LittleEndian.AppendUint32(c.B, addr)
}

// TestRewindRegisters: a life finds every register that it could read as all others do,
// whatever those before it have done to them. Vector registers are the guest's to clear.
func TestRewindRegisters(t *testing.T) {
	const found = asm.Data + 0x2000
	s := hostile(t, 0, nil, func(c *asm.Code) {
		at := uint32(found)
		keep := func(r asm.Reg) { store(c, at, r); at += 8 }
		for r := range asm.Reg(16) {
			keep(r)
		}
		c.Raw(0x9c, 0x58) // pushfq; pop rax
		keep(asm.RAX)
		if Backend() != "kvm_pvm" { // which leaves them to the guest
			for _, from := range []byte{0xd8, 0xc0, 0xd0, 0xe0, 0xe8} { // mov eax, ds, es, ss, fs, gs
				c.Raw(0x8c, from)
				keep(asm.RAX)
			}
		}
		c.Raw(0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0) // mov rax, gs:[0]
		keep(asm.RAX)
		c.Raw(0xf3, 0x48, 0x0f, 0xae, 0xc0) // rdfsbase rax
		keep(asm.RAX)
		c.Raw(0xf3, 0x48, 0x0f, 0xae, 0xc8) // rdgsbase rax
		keep(asm.RAX)

		c.Raw(0x8c, 0xd8, 0x8c, 0xd1, 0x31, 0xc8)           // mov eax, ds; mov ecx, ss; xor eax, ecx: another than it is
		for _, to := range []byte{0xd8, 0xc0, 0xe0, 0xe8} { // mov ds, es, fs, gs, eax
			c.Raw(0x8e, to)
		}
		c.Mov(asm.RAX, 0x123456789000).Raw(0xf3, 0x48, 0x0f, 0xae, 0xd0, 0xf3, 0x48, 0x0f, 0xae, 0xd8) // wrfsbase, wrgsbase
		for r := range asm.Reg(16) {
			if r != asm.RSP {
				c.Mov(r, 0x1111*uint64(r+1))
			}
		}
		c.Raw(0x68, 0xd7, 0x0c, 0x24, 0, 0x9d) // push CF PF AF ZF SF DF OF AC ID; popfq
		c.Hypercall(hypercall.CallRespond, 1, 0, found, uint64(at-found))
	})
	vm := clone(t, s)
	want := ask(t, vm, "x")
	t.Logf("%x", want)
	for range 3 {
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, vm, "x"); got != want {
			t.Errorf("got  %x\nwant %x", got, want)
		}
	}
}

// TestClonesAtOnce uses one snapshot from several goroutines.
func TestClonesAtOnce(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				need.Count(1)
				vm, err := s.New(Clone{})
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					if _, err := vm.Invoke(t.Context(), []byte("x")); err != nil {
						t.Error(err)
					}
					if err := vm.Rewind(); err != nil {
						t.Error(err)
					}
				}
				if err := vm.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// One life that writes all its memory does not have the machines of others begin so.
func TestHotBounded(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) { respond(c, 1) })
	greedy := clone(t, s)
	for f := range frame(greedy.mem.total) {
		if s.seen.kind[f] == 0 {
			greedy.mem.page(f)[0] = 1
		}
	}
	ask(t, greedy, "x")
	if hot := s.hot.Load(); hot != nil {
		t.Errorf("%d runs of pages count as usual", len(*hot))
	}
	ask(t, clone(t, s), "x")
	if s.hot.Load() == nil {
		t.Error("another life was not learnt from")
	}
}

// The selectors are null in every life, on back ends too that leave them to the guest.
func TestRewindSelectors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	vm := clone(t, recall(t, 0))
	for range 3 {
		if got := ask(t, vm, "segments"); got != "0x0" {
			t.Errorf("segments %s", got)
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
}
