package guest

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// ringMemory is memory that is not Go's, which the kernel has by number.
func ringMemory(t *testing.T) *hypercall.BlockRing {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, int(unsafe.Sizeof(hypercall.BlockRing{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	return (*hypercall.BlockRing)(unsafe.Pointer(&b[0]))
}

// withRings has the kernel watch rings of the test's making.
func withRings(t *testing.T, n int) []*hypercall.BlockRing {
	list := make([]*hypercall.BlockRing, n)
	for i := range list {
		list[i] = ringMemory(t)
		watchRing(hypercall.GVA(uintptr(unsafe.Pointer(list[i]))))
	}
	watchRing(0) // there is none
	t.Cleanup(func() { rings.n = 0; clear(rings.list[:]); poller.kernel = [kernelFDs]pollItem{} })
	return list
}

// TestTellRings: the poller hears of each response once, and not of those that
// somebody has taken already.
func TestTellRings(t *testing.T) {
	initPoller()
	r := withRings(t, 2)
	if rings.n != 2 {
		t.Fatalf("%d rings", rings.n)
	}
	step := func(what string, want bool) {
		t.Helper()
		if got := tellRings(); got != want {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
	}
	step("nothing", false)
	r[1].ReqProd = 3
	step("requests", false)
	r[1].RspProd = 1
	step("a response", true)
	step("the same", false)
	r[1].RspCons = 1
	step("taken", false)
	r[1].RspProd, r[1].RspCons = 3, 3
	step("taken before anybody was told", false)
	r[0].ReqProd, r[0].RspProd, r[1].ReqProd, r[1].RspProd = 1, 1, 4, 4
	step("on both", true)
	if it := itemOf(FDBlock, false); it.ready != epollIn {
		t.Errorf("FDBlock: ready %#x", it.ready)
	}
}

// TestRingsBusy: what is out, when to wait for more, and for how long.
func TestRingsBusy(t *testing.T) {
	r := withRings(t, 2)
	if anyOut() || worthSpinning() || spinTime() != spinNS {
		t.Error("idle rings are busy")
	}
	const old = 1<<32 - 4
	r[0].ReqProd, r[0].RspProd, r[0].RspCons = 4, old, old
	if !anyOut() || worthSpinning() {
		t.Error("requests that nobody looks at")
	}
	r[0].Polling = 1
	if !worthSpinning() {
		t.Error("the host polls")
	}
	for n, want := range []bool{false, false, true, true} {
		r[0].RspProd = old + uint32(n)
		if n > 0 && enough() != want {
			t.Errorf("%d of 8 are enough: %v", n, enough())
		}
	}
	r[0].Requests[3].Length = 1 << 40
	if got := spinTime(); got != spinNS+copyNS {
		t.Errorf("spin time %d ns", got)
	}
}

// TestQuiet: no response passes an RspEvent that is quiet (docs/abi.md, "Block
// rings").
func TestQuiet(t *testing.T) {
	for _, prod := range []uint32{0, 5, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		for n := uint32(1); n <= hypercall.BlockRingSize; n++ {
			if now := prod + n; now-quiet(prod) < n {
				t.Errorf("%d responses from %#x on pass it", n, prod)
			}
		}
	}
}
