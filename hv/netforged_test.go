package hv

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// loadFakeNICs gives a machine without KVM NICs that are not connected, and start info of
// them.
func loadFakeNICs(t testing.TB, vm *VM, n int) {
	t.Helper()
	for i := range n {
		if _, err := vm.reserve(netRingGVA(i), netRingPages, pteWrite|pteNX); err != nil {
			t.Fatal(err)
		}
	}
	var cfg Config
	for range n {
		cfg.NICs = append(cfg.NICs, NIC{down: true})
	}
	if err := cfg.checkNICs(); err != nil {
		t.Fatal(err)
	}
	vm.cfg.NICs, vm.cfg.Ready = cfg.NICs, hypercall.ReadyCall
	e := vm.tables.slot(uint64(hypercall.StartInfoGVA), false)
	vm.start.blob = nil
	vm.describeNICs()
	info := vm.mem.startInfo(e.load().frame())
	info.NICs, info.NICCount = vm.start.info.NICs, vm.start.info.NICCount
}

// TestNICsForged: what a file says of NICs is believed as little as the rest.
func TestNICsForged(t *testing.T) {
	const nics = 2
	vm := newTestVM(t, 1500)
	loadFakeNICs(t, vm, nics)
	b := fileOf(t, vm, func(r *rest) { r.NICs = nics })
	s, err := openBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.pages.rings) != nics || s.Info().NICs != nics {
		t.Errorf("%+v", s.pages)
	}
	live(t, s)
	s.Close()
	le := binary.LittleEndian
	leaf := func(r *rest, page func(frame) []byte, nic, n int) []byte {
		a, at := uint64(netRingGVA(nic))+uint64(n)<<pageShift, r.Root
		for shift := 39; ; shift -= 9 {
			e := page(at)[a>>shift&511*8:][:8]
			if shift == 12 {
				return e
			}
			at = entry(le.Uint64(e)).frame()
		}
	}
	start := vm.tables.slot(uint64(hypercall.StartInfoGVA), false).load().frame()
	const atNICs, atCount = 296, 284 // in StartInfo, as docs/abi.md has it
	for name, test := range map[string]struct {
		want   string
		change func(r *rest, page func(frame) []byte)
	}{
		"negative": {"-1 NICs", func(r *rest, _ func(frame) []byte) { r.NICs = -1 }},
		"too many": {"NICs", func(r *rest, _ func(frame) []byte) { r.NICs = hypercall.MaxNICs + 1 }},
		"more":     {"page 0 of NIC 2", func(r *rest, _ func(frame) []byte) { r.NICs = 3 }},
		"fewer":    {"tells of other NICs", func(r *rest, _ func(frame) []byte) { r.NICs = 1 }},
		"no page": {"no page 7 of NIC 1", func(r *rest, page func(frame) []byte) {
			clear(leaf(r, page, 1, 7))
		}},
		"read only": {"no page 0 of NIC 0", func(r *rest, page func(frame) []byte) {
			e := leaf(r, page, 0, 0)
			le.PutUint64(e, le.Uint64(e)&^uint64(pteWrite))
		}},
		"swapped": {"page 3 of NIC 0's rings is frame", func(r *rest, page func(frame) []byte) {
			one, other := leaf(r, page, 0, 3), leaf(r, page, 0, 4)
			a, b := le.Uint64(one), le.Uint64(other)
			le.PutUint64(one, b)
			le.PutUint64(other, a)
		}},
		"shared": {"page 0 of NIC 0's rings is frame", func(r *rest, page func(frame) []byte) {
			for n := range netRingPages {
				copy(leaf(r, page, 0, n), leaf(r, page, 1, n))
			}
		}},
		"count": {"tells of other NICs", func(_ *rest, page func(frame) []byte) { le.PutUint32(page(start)[atCount:], 9) }},
		"before": {"tells of other NICs", func(_ *rest, page func(frame) []byte) {
			le.PutUint64(page(start)[atNICs:], uint64(hypercall.StartInfoGVA))
		}},
		"elsewhere":   {"tells of other NICs", func(_ *rest, page func(frame) []byte) { le.PutUint64(page(start)[atNICs:], 1<<63) }},
		"not aligned": {"tells of other NICs", func(_ *rest, page func(frame) []byte) { page(start)[atNICs]++ }},
		"over the end": {"tells of other NICs", func(_ *rest, page func(frame) []byte) {
			le.PutUint64(page(start)[atNICs:], uint64(hypercall.StartInfoGVA+hypercall.MaxStartInfo-16))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refused(t, forge(t, b, test.change)); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestNICRingsForged: packets of a file's reach no life.
func TestNICRingsForged(t *testing.T) {
	vm := newTestVM(t, 700)
	loadFakeNICs(t, vm, 1)
	at := vm.tables.slot(uint64(netRingGVA(0)), false).load().frame()
	vm.mem.page(at + 5)[77] = 1
	if got := refused(t, fileOf(t, vm, func(r *rest) { r.NICs = 1 })); !strings.Contains(got, "rings of NIC 0: contents of frame") {
		t.Error(got)
	}
}

// hostileNIC is as hostile, with a NIC.
func hostileNIC(t *testing.T, life func(c *asm.Code)) *Snapshot {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	c := new(asm.Code).Store32(guestTransmit+atProd, 1<<31) // of the first machine
	c.Hypercall(hypercall.CallSuspend, uint64(hypercall.ReadyCall))
	life(c)
	link, _ := linkPair(t, false)
	vm, err := New(Config{Image: asm.Image{Code: c}.Write(t), Messages: true, Ready: hypercall.ReadyCall, NICs: []NIC{{Link: link}}})
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
	if err := vm.net.empty(); err != nil { // no worker has seen it: nobody has rung
		t.Fatal(err)
	}
	s, err := vm.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestRewindBrokenRing: a life that breaks its ring and answers takes its machine with
// it, and no other life.
func TestRewindBrokenRing(t *testing.T) {
	s := hostileNIC(t, func(c *asm.Code) {
		c.Store32(guestTransmit+atProd, 1<<31)
		respond(c, 1).Spin()
	})
	for range 20 {
		link, _ := linkPair(t, false)
		vm, err := s.New(Clone{NICs: []NIC{{Link: link}}})
		if err != nil {
			t.Fatal(err)
		}
		need.Count(1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = vm.Invoke(ctx, nil)
		cancel()
		var fault *GuestFault
		switch {
		case err == nil: // the worker has not looked
			if err := vm.Rewind(); err == nil || !strings.Contains(err.Error(), "transmit ring") {
				t.Errorf("rewound: %v", err)
			}
			if _, err := vm.Invoke(t.Context(), nil); err == nil {
				t.Error("it goes on")
			}
		case !errors.As(err, &fault):
			t.Error(err)
		}
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRewindNIC: what a life has put goes out when it is rewound, what has come for it is
// gone, and both rings are new.
func TestRewindNIC(t *testing.T) {
	s := hostileNIC(t, func(c *asm.Code) {
		sendFrom(c)
		respond(c, 1).Spin()
	})
	link, peer := linkPair(t, false)
	vm, err := s.New(Clone{NICs: []NIC{{Link: link}}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	need.Count(1)
	a := vm.net.nics[0]
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := vm.Invoke(ctx, nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		for range 100 {
			peer.Send(new(nic.Header), frameOf(1000, 1))
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		func() {
			defer vm.net.rest()()
			r := a.shared
			if r.Transmit.Prod|r.Transmit.Cons|r.Receive.Prod|r.Receive.Cons != 0 || r.Link != 1 || r.Transmit.ProdEvent != 1 ||
				a.tx.cons|a.rx.prod|a.rx.next|a.rx.cons != 0 || !isZero(r.Receive.Data[:pageSize]) || !isZero(r.Transmit.Data[:pageSize]) {
				t.Fatalf("life %d: %+v %+v", i, a.tx, a.rx)
			}
		}()
		received(t, peer)
		if n, err := peer.Receive(new(nic.Header), make([]byte, 100)); err == nil {
			t.Fatalf("life %d: %d bytes more", i, n)
		}
	}
}
