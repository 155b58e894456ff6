package network

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var machineMAC = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// raw is a socket for whole frames at the host's side of a machine's TAP. The kernel's
// own TCP/IP is not asked.
type raw struct {
	fd       int
	from, to station
}

// rawAt opens one; with headers each frame stands behind a struct virtio_net_hdr.
func rawAt(t *testing.T, ns, name string, headers bool) *raw {
	t.Helper()
	r := &raw{to: station{machineMAC, netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fe80::5054:ff:fe12:3456")}}
	err := inside(ns, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		r.from = station{[6]byte(i.HardwareAddr), netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fe80::1")}
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(r.fd) })
		if headers {
			if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
				return err
			}
		}
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network order
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send gives the kernel a frame, and says whether it has taken it.
func (r *raw) send(frame []byte) bool {
	_, err := unix.Write(r.fd, frame)
	for ; err == unix.EAGAIN; _, err = unix.Write(r.fd, frame) {
		time.Sleep(100 * time.Microsecond)
	}
	return err == nil
}

// overheard are the frames that have passed since the last time, cut to what fits.
func (r *raw) overheard(list [][]byte) [][]byte {
	buf := make([]byte, 1514)
	for range 1000 {
		n, err := unix.Read(r.fd, buf)
		if err != nil || n < 14 {
			break
		}
		list = append(list, append([]byte(nil), buf[:n]...))
	}
	return list
}

// target is httpd with little memory on a TAP, and what its peers have.
func target(t *testing.T, flags ...string) (*server, *raw) {
	t.Helper()
	s := httpd(t, "tap", append([]string{"-m", "128m", "--mac", net.HardwareAddr(machineMAC[:]).String()}, flags...)...)
	return s, rawAt(t, s.ns, "pv0", false)
}

// answers is whether the server still does. What was said in its peer's name is put
// right first.
func (s *server) answers(t *testing.T, r *raw, after string) {
	t.Helper()
	var err error
	for range 20 {
		if r != nil {
			r.send(arp(r.from, r.to, 1))
		}
		if err = s.visit(); err == nil {
			return
		}
		select {
		case <-s.ended:
			t.Fatalf("after %s: the machine has ended: %s", after, s.stderr.text())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("after %s: %v", after, err)
}

// Frames of all lengths, of nothing, of noise, and with headers that mean nothing.
func TestLengths(t *testing.T) {
	seed := newSeed(t)
	dice := rand.New(rand.NewPCG(seed, 0))
	s, r := target(t, "--mtu", "65521")
	long := rawAt(t, s.ns, "pv0", true)
	sent := 0
	for _, some := range [][2]int{{0, 1600}, {16370, 16390}, {65480, 65560}} {
		for n := some[0]; n <= some[1]; n++ {
			frame := make([]byte, n)
			copy(frame, ethernet(r.from, r.to, []uint16{typeIPv4, typeIPv6, typeARP, uint16(dice.Uint32())}[dice.IntN(4)], nil))
			for noise := range 3 {
				for i := 14; i < n && noise > 0; i++ {
					frame[i] = byte(dice.Uint32())
				}
				if noise == 2 && n > 34 {
					frame[14] = 0x45
					be.PutUint16(frame[16:], uint16(n-14))
					repair(frame)
				}
				if r.send(frame) {
					sent++
				}
			}
			// A header of the kinds that there are, with numbers that there may be.
			head := make([]byte, 10, 10+n)
			head[0], head[1] = byte(dice.IntN(4)), []byte{0, 1, 3, 4, 0x81}[dice.IntN(5)]
			for i := 2; i < len(head); i += 2 {
				binary.NativeEndian.PutUint16(head[i:], uint16(dice.IntN(1<<dice.IntN(17))))
			}
			if long.send(append(head, frame...)) {
				sent++
			}
		}
		s.answers(t, r, fmt.Sprintf("lengths %v, seed %d", some, seed))
	}
	if sent < 4000 {
		t.Errorf("%d frames were sent", sent)
	}
	s.calm(t)
}

// Frames that are nearly what a machine takes, in the middle of what it does.
func TestMutants(t *testing.T) {
	seed := newSeed(t)
	dice := rand.New(rand.NewPCG(seed, 0))
	s, r := target(t)
	frames := conversation(r.from, r.to)
	byHand := len(frames)
	for _, f := range frames {
		r.send(f)
	}
	total := 60_000
	if *long {
		total = 500_000
	}
	for i := range total {
		if i%500 == 0 {
			s.answers(t, r, fmt.Sprintf("%d frames of seed %d", i, seed))
			frames = r.overheard(frames[:byHand])
		}
		r.send(mutate(dice, frames[dice.IntN(len(frames))], 1514))
	}
	s.answers(t, r, fmt.Sprintf("seed %d", seed))
	s.calm(t)
}

// More than anybody can take.
func TestFloods(t *testing.T) {
	dice := rand.New(rand.NewPCG(newSeed(t), 0))
	s, r := target(t)
	data := make([]byte, 1400)
	other := r.from
	for _, f := range []struct {
		name  string
		frame func() []byte
	}{
		{"echo requests", func() []byte { return v4(other, r.to, icmp4, 0, append([]byte{8, 0, 0, 0, 0, 0, 0, 0}, data...)) }},
		{"datagrams", func() []byte { return v4(other, r.to, udp, 0, datagram(1, uint16(dice.Uint32()), data)) }},
		{"first segments", func() []byte { return v4(other, r.to, tcp, 0, segment(uint16(dice.Uint32()), 8080, 2, nil, nil)) }},
		{"wrong segments", func() []byte { return v4(other, r.to, tcp, 0, segment(uint16(dice.Uint32()), 8080, 0x18, nil, data)) }},
		{"fragments", func() []byte {
			b := v4(other, r.to, udp, 0x2000|uint16(dice.IntN(4000)), data)
			be.PutUint16(b[18:], uint16(dice.Uint32()))
			return repair(b)
		}},
		{"neighbors", func() []byte { return arp(other, r.to, 1) }},
		{"solicitations", func() []byte {
			return v6(other, r.to, icmp6, append(append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, r.to.ip6.AsSlice()...), append([]byte{1, 1}, other.mac[:]...)...))
		}},
		{"nothing", func() []byte { return make([]byte, 60) }},
	} {
		ready := make([][]byte, 2000)
		for i := range ready {
			other.ip4 = netip.AddrFrom4([4]byte{10, 77, 0, byte(3 + dice.IntN(250))})
			other.ip6 = netip.MustParseAddr(fmt.Sprintf("fe80::%x", 2+dice.IntN(60000)))
			ready[i] = f.frame()
		}
		n := 0
		for began := time.Now(); time.Since(began) < 500*time.Millisecond; n++ {
			r.send(ready[n%len(ready)])
		}
		t.Logf("%s: %d", f.name, n)
		s.answers(t, r, f.name)
	}
	s.calm(t)
}

// calm is whether a machine of 128 MB has no more memory than that, and rests.
func (m *machine) calm(t *testing.T) {
	t.Helper()
	pid := m.cmd.Process.Pid
	resting(t, pid, (128+64)<<20)
}

// resting is whether a process has at most so many bytes, and soon uses hardly any CPU
// time.
func resting(t *testing.T, pid, most int) {
	t.Helper()
	if rss := residentBytes(t, pid); rss > most {
		t.Errorf("process %d has %d MB", pid, rss>>20)
	} else {
		t.Logf("process %d has %d MB", pid, rss>>20)
	}
	var used time.Duration
	for range 10 {
		before := cpuTime(t, pid)
		time.Sleep(time.Second)
		if used = cpuTime(t, pid) - before; used < 300*time.Millisecond {
			return
		}
	}
	t.Errorf("process %d uses %v of CPU time in a second", pid, used)
}

func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	n := resident(pid)
	if n == 0 {
		t.Fatalf("process %d is not there", pid)
	}
	return n
}

// resident is how many bytes of memory a process has; 0 if it has ended.
func resident(pid int) (kb int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb << 10
}

// cpuTime is what a process has used, in the 100ths of a second that the kernel counts.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}
