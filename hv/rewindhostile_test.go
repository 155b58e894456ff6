package hv

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

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
	c.Hypercall(hypercall.CallSuspend, 0)
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
		first, err := New(Config{Image: asm.Image{Code: new(asm.Code).Hypercall(hypercall.CallSuspend, 0)}.Write(t), Memory: 4 << 20, Messages: true})
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
