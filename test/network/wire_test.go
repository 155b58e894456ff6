package network

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tapIn makes a TAP in a namespace whose frames the test has. They come without a
// header, so the kernel cuts long segments and fills in checksums for it.
func tapIn(t *testing.T, ns, name string) *os.File {
	t.Helper()
	fd := -1
	err := inside(ns, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	})
	if err != nil {
		unix.Close(fd)
		t.Fatalf("TAP %s: %v", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	shell(t, "ip", "-n", ns, "link", "set", name, "up")
	return f
}

// faults are what a wire does to frames: the share of those that it happens to, and by
// how much each is delayed. What is late may be overtaken.
type faults struct {
	lose, duplicate, corrupt, late float64
	delay                          time.Duration
}

// wire is a bad cable between two TAPs.
type wire struct {
	faults atomic.Pointer[faults]
	done   [4]atomic.Int64 // what has been lost, duplicated, corrupted, late
}

// badWire is a bridge with the machine's TAP at it, and the host's own interface, at
// 10.77.0.1, behind the wire.
func badWire(t *testing.T, ns, bridge string, seed uint64) *wire {
	t.Helper()
	shell(t, "ip", "-n", ns, "link", "add", bridge, "type", "bridge")
	shell(t, "ip", "-n", ns, "link", "set", bridge, "up")
	w := &wire{}
	w.faults.Store(&faults{})
	here, there := tapIn(t, ns, "host0"), tapIn(t, ns, "wire0")
	shell(t, "ip", "-n", ns, "addr", "add", "10.77.0.1/24", "dev", "host0")
	shell(t, "ip", "-n", ns, "link", "set", "wire0", "master", bridge)
	go w.carry(here, there, rand.New(rand.NewPCG(seed, 1)))
	go w.carry(there, here, rand.New(rand.NewPCG(seed, 2)))
	return w
}

// carry brings frames from one end to the other, until the ends are closed.
func (w *wire) carry(from, to *os.File, dice *rand.Rand) {
	buf := make([]byte, 2048)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.bring(slices.Clone(buf[:n]), to, dice)
	}
}

func (w *wire) bring(frame []byte, to *os.File, dice *rand.Rand) {
	f := w.faults.Load()
	happens := func(i int, share float64) bool {
		yes := dice.Float64() < share
		if yes {
			w.done[i].Add(1)
		}
		return yes
	}
	if happens(0, f.lose) {
		return
	}
	if happens(1, f.duplicate) {
		to.Write(frame)
	}
	// ARP has no checksum: what is damaged there would be believed.
	if isIP := len(frame) > 34 && frame[12] == 0x08 && frame[13] == 0; isIP && happens(2, f.corrupt) {
		frame[14+dice.IntN(len(frame)-14)] ^= 1 << dice.IntN(8)
	}
	delay := f.delay
	if happens(3, f.late) {
		delay += time.Duration(dice.Int64N(int64(3 * time.Millisecond)))
	}
	if delay == 0 {
		to.Write(frame)
		return
	}
	time.AfterFunc(delay, func() { to.Write(frame) })
}

// A bad wire only takes longer.
func TestBadWire(t *testing.T) {
	seed := newSeed(t)
	ns := namespace(t)
	w := badWire(t, ns, "br0", seed)
	s := &server{ns: ns, http: "10.77.0.2:8080"}
	s.machine = start(t, ns, []string{"--net", "bridge:br0", "--ip", "10.77.0.2/24", "--gateway", "10.77.0.1"}, "httpd", "-tls", "")
	s.says(t, "http://")
	s.httpClient = browser(t, ns)
	size := 2 << 20
	if *long {
		size = 8 << 20
	}
	for _, c := range []struct {
		name string
		faults
	}{
		{"good", faults{}},
		{"loses", faults{lose: 0.02}},
		{"delays", faults{delay: 2 * time.Millisecond, late: 0.5}},
		{"reorders", faults{late: 0.05}},
		{"duplicates", faults{duplicate: 0.1}},
		{"corrupts", faults{corrupt: 0.01}},
		{"all", faults{lose: 0.005, duplicate: 0.02, corrupt: 0.005, late: 0.02, delay: time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before [4]int64
			for i := range before {
				before[i] = w.done[i].Load()
			}
			w.faults.Store(&c.faults)
			streams(t, s, size)
			w.faults.Store(&faults{})
			for i, share := range []float64{c.lose, c.duplicate, c.corrupt, c.late} {
				if n := w.done[i].Load() - before[i]; (n > 0) != (share > 0) {
					t.Errorf("fault %d has happened %d times, its share is %v", i, n, share)
				}
			}
		})
	}
}

// newSeed is for what a test does by chance. PVRUN_SEED repeats a run.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("PVRUN_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("PVRUN_SEED: %v", err)
		}
	}
	t.Logf("PVRUN_SEED=%d", seed)
	return seed
}
