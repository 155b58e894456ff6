package guest

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// withNet has the kernel watch an interface of the test's making.
func withNet(t *testing.T) *hypercall.NetRings {
	t.Helper()
	b, err := syscall.Mmap(-1, 0, int(unsafe.Sizeof(hypercall.NetRings{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	watchNet(0) // there is none in trap mode
	watchNet(hypercall.GVA(uintptr(unsafe.Pointer(&b[0]))))
	t.Cleanup(func() {
		nets.n, nets.missed, nets.skipped = 0, 0, 0
		clear(nets.list[:])
		poller.kernel = [kernelFDs]pollItem{}
		syscall.Munmap(b)
	})
	return (*hypercall.NetRings)(unsafe.Pointer(&b[0]))
}

// TestTellNets: the poller hears once of packets, and of room that was asked for.
func TestTellNets(t *testing.T) {
	initPoller()
	r := withNet(t)
	if nets.n != 1 {
		t.Fatalf("%d interfaces", nets.n)
	}
	step := func(what string, want bool) {
		t.Helper()
		if anyNews() != want {
			t.Errorf("%s: news %v, want %v", what, !want, want)
		}
		if got := tellRings(); got != want {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
		if it := itemOf(FDNet, false); it.ready != 0 != want {
			t.Errorf("%s: FDNet: ready %#x", what, it.ready)
		} else {
			it.ready = 0
		}
	}
	step("nothing", false)
	r.Receive.Prod = 1 << 10
	step("packets", true)
	step("the same", false)
	r.Receive.Prod = 1 << 11
	step("more", true)
	r.Receive.Cons = 1 << 11
	step("taken", false)
	r.Receive.Prod, r.Receive.Cons = 1<<12, 1<<12
	step("taken before anybody was told", false)
	r.Transmit.Prod, r.Transmit.Cons = 1<<19, 1<<12
	step("room that nobody wants", false)
	r.Transmit.ConsEvent = 1 << 18
	step("less room than is wanted", false)
	r.Transmit.Cons = 1<<18 + 64
	step("room", true)
	step("the same room", false)
	r.Transmit.Cons = 1 << 19
	step("more room", false)
	r.Transmit.ConsEvent = quiet(1 << 19)
	step("none wanted", false)
}

// TestWantNets: the next packet is an event while the machine waits, and none is while
// it runs.
func TestWantNets(t *testing.T) {
	r := withNet(t)
	passed := func(n uint32) bool { now := r.Receive.Prod + n; return now-r.Receive.ProdEvent < n }
	for _, prod := range []uint32{0, 1 << 19, 1<<31 - 16, 1<<32 - 16} {
		r.Receive.Prod = prod
		wantNets()
		if !passed(hypercall.PacketAlign) {
			t.Errorf("from %#x: a packet is no event", prod)
		}
		quietNets(netWakeNS)
		if passed(hypercall.PacketRingBytes) {
			t.Errorf("from %#x: a ring full of packets is an event", prod)
		}
	}
}

// TestSpinAdapts: sleep that soon ends with a packet says that a spin is worth it.
func TestSpinAdapts(t *testing.T) {
	r := withNet(t)
	if netsPolled() {
		t.Error("polled")
	}
	r.Receive.Polling = 1
	if !netsPolled() {
		t.Error("not polled")
	}
	nets.missed = maxNetMissed
	quietNets(netWakeNS - 1)
	if nets.missed == 0 {
		t.Error("without a packet")
	}
	r.Receive.Prod = 64
	quietNets(netWakeNS)
	if nets.missed == 0 {
		t.Error("too late")
	}
	quietNets(netWakeNS - 1)
	if nets.missed != 0 {
		t.Error("a packet came soon")
	}
}
