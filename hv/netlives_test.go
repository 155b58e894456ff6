package hv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	tcpheader "gvisor.dev/gvisor/pkg/tcpip/header"
)

// TestClonesOnNetwork has fifty clones on one network at once, half of which fetch from the
// host and from another of them. Each has its own MAC and address on the wire, and numbers
// that nobody guesses.
func TestClonesOnNetwork(t *testing.T) {
	l := newLAN(t)
	s := caller(t, l, "10.9.0.1:81")
	const clones = 50
	before := len(l.frames())
	vms := make([]*VM, clones)
	for i := range vms {
		c := card(t, l, byte(i+1))
		c.DNS = "10.9.0.1"
		vms[i] = cloneWith(t, s, fmt.Sprint("clone-", i+1), c)
	}
	var all sync.WaitGroup
	for i, vm := range vms {
		all.Go(func() {
			me, other := fmt.Sprintf("10.9.1.%d", i+1), fmt.Sprintf("10.9.1.%d", (i+clones/2)%clones+1)
			if i >= clones/2 {
				if got := ask(t, vm, "serve"); !strings.HasPrefix(got, other+":") {
					t.Errorf("%s was asked by %s", me, got)
				}
				return
			}
			if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasPrefix(got, "host to "+me+":") {
				t.Errorf("%s: %q", me, got)
			}
			if got := ask(t, vm, "fetch "+other+":80"); !strings.HasPrefix(got, fmt.Sprintf("clone-%d to %s:", i+clones/2+1, me)) {
				t.Errorf("%s: %q", me, got)
			}
			if got := ask(t, vm, "ask nobody.life.example."); !strings.Contains(got, "no such host") {
				t.Errorf("%s: %q", me, got)
			}
		})
	}
	all.Wait()
	ids, isns := map[uint16]bool{}, map[uint32]bool{}
	queries := 0
	for _, f := range l.frames()[before:] {
		n, ok := sourceOf(f)
		if ok && (f[11] != n || f[10] != 1) {
			t.Fatalf("10.9.1.%d has the MAC %x", n, f[6:12])
		}
		if _, h := tcp4(f); h != nil && h.Flags()&(tcpheader.TCPFlagSyn|tcpheader.TCPFlagAck) == tcpheader.TCPFlagSyn {
			isns[h.SequenceNumber()] = true
		}
		if u := udp4(f); u != nil && u.DestinationPort() == 53 {
			queries++
			ids[binary.BigEndian.Uint16(u.Payload())] = true
		}
	}
	if len(isns) != clones {
		t.Errorf("%d initial sequence numbers", len(isns))
	}
	if queries < clones/2 || len(ids) < queries-4 { // of 65536: some may be the same
		t.Errorf("%d queries with %d IDs", queries, len(ids))
	}
}

// sourceOf is the last byte of the address that a frame comes from, if that is a life's.
func sourceOf(f []byte) (byte, bool) {
	at := 26 // IPv4
	if f[12] == 8 && f[13] == 6 {
		at = 28 // ARP
	}
	ok := len(f) >= at+4 && f[12] == 8 && f[at] == 10 && f[at+1] == 9 && f[at+2] == 1
	return f[at+3], ok
}

func udp4(f []byte) tcpheader.UDP {
	if len(f) < 44 || f[12] != 8 || f[13] != 0 || f[23] != 17 {
		return nil
	}
	return tcpheader.UDP(f[34:])
}

// TestSequenceNumbers has lives with one address connect from the same port to the same:
// their first sequence numbers are far apart, as the secret behind them is another.
func TestSequenceNumbers(t *testing.T) {
	l := newLAN(t)
	vm := cloneWith(t, caller(t, l), "clone", card(t, l, 1))
	const lives = 20
	for range lives {
		if got := ask(t, vm, "from 10.9.0.1:9"); !strings.Contains(got, "connection refused") {
			t.Error(got)
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	var isns []uint32
	for _, f := range l.frames() {
		if _, h := tcp4(f); h != nil && h.SourcePort() == 5555 && h.Flags() == tcpheader.TCPFlagSyn {
			isns = append(isns, h.SequenceNumber())
		}
	}
	near := 0
	for i := 1; i < len(isns); i++ {
		if math.Abs(float64(int32(isns[i]-isns[i-1]))) < 1<<22 { // 270 ms of the clock in them
			near++
		}
	}
	if len(isns) < lives || near > lives/4 {
		t.Errorf("%d of %d are near the one before: %x", near, len(isns), isns)
	}
}

// TestBusyBoot makes a snapshot of a machine that is sending all the time. No frame of it
// gets out of a life.
func TestBusyBoot(t *testing.T) {
	l := newLAN(t)
	s := caller(t, l, "10.9.0.1:81", "busy")
	settled(t, l)
	if n := count(l.frames(), "first machine"); n == 0 {
		t.Fatal("the machine has sent nothing")
	}
	before := len(l.frames())
	vm := cloneWith(t, s, "clone", card(t, l, 1))
	for i := range 30 {
		if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasPrefix(got, "host to 10.9.1.1:") {
			t.Errorf("fetched %q", got)
		}
		if got := ask(t, vm, "old"); !strings.HasSuffix(got, " pipe reset invalid") || strings.Contains(got, "waits") {
			t.Errorf("old: %q", got) // who writes may have learned of it before who reads
		}
		if i%2 == 0 {
			vm = cloneWith(t, s, "clone", card(t, l, byte(2+i)))
			answers(t, vm, "echo a", "a")
			vm.Close()
			vm = cloneWith(t, s, "clone", card(t, l, 1))
		} else if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, l)
	if n := count(l.frames()[before:], "first machine"); n != 0 {
		t.Errorf("%d frames of the first machine", n)
	}
	for _, f := range l.frames()[before:] {
		if [6]byte(f[6:12]) == firstMAC {
			t.Fatalf("a frame of the first machine: %x", f)
		}
	}
}

func count(frames [][]byte, text string) (n int) {
	for _, f := range frames {
		if bytes.Contains(f, []byte(text)) {
			n++
		}
	}
	return n
}

// settled waits until nothing is under way.
func settled(t *testing.T, l *lan) {
	t.Helper()
	for last, quiet := -1, 0; quiet < 5; time.Sleep(10 * time.Millisecond) {
		n := len(l.frames())
		if quiet++; n != last || l.out.NumQueued() > 0 {
			last, quiet = n, 0
		}
	}
}

// TestBusyRewind rewinds a life that is sending all the time and gets packets all the time:
// nothing of it reaches the next, or comes from it.
func TestBusyRewind(t *testing.T) {
	l := newLAN(t)
	vm := cloneWith(t, caller(t, l), "clone", card(t, l, 1))
	at := netip.MustParseAddr("10.9.1.1")
	for i := range 30 {
		answers(t, vm, "got", "nothing")
		answers(t, vm, "leave 10.9.0.1:81", "left")
		for range 300 {
			l.carry(-1, lateFrame(at, "late"))
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
		before := len(l.frames())
		answers(t, vm, "got", "nothing")
		if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasPrefix(got, "host to 10.9.1.1:") {
			t.Errorf("fetched %q", got)
		}
		if n := count(l.frames()[before:], "life before"); n != 0 {
			t.Fatalf("life %d: %d frames of the life before", i, n)
		}
		l.carry(-1, lateFrame(at, "now"))
		answers(t, vm, "got", "now from 10.9.0.1:53")
	}
}

// lateFrame is a datagram from the host to port 53 of a life.
func lateFrame(to netip.Addr, text string) []byte {
	f := append([]byte{2, 0, 0, 0, 1, to.As4()[3], 2, 0, 0, 0, 0, 1, 8, 0}, make([]byte, 28)...)
	f = append(f, text...)
	ip := tcpheader.IPv4(f[14:])
	ip.Encode(&tcpheader.IPv4Fields{TotalLength: uint16(28 + len(text)), TTL: 64, Protocol: 17, SrcAddr: lanHost, DstAddr: tcpip.AddrFrom4(to.As4())})
	ip.SetChecksum(^ip.CalculateChecksum())
	tcpheader.UDP(f[34:]).Encode(&tcpheader.UDPFields{SrcPort: 53, DstPort: 53, Length: uint16(8 + len(text))})
	return f
}
