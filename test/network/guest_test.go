package network

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// Where a guest finds what of its NIC's rings.
const (
	guestTransmit = uint64(hypercall.NetRingGVA)
	guestReceive  = guestTransmit + hypercall.PageSize + hypercall.PacketRingBytes
	guestProd     = 0
	guestCons     = 64
	guestData     = hypercall.PageSize
)

// packetSlot is what each packet takes of these guests' rings; asm.DataSize holds a
// number of them.
const packetSlot = 128

// spammer sends what its data has, over and over, and as fast as it is taken; what it
// gets it throws away, if it drains. R12 is Prod.
func spammer(drains bool) *asm.Code {
	c := new(asm.Code).Mov(asm.R12, 0)
	loop := len(c.B)
	c.Load(guestTransmit+guestCons).MovReg(asm.RCX, asm.R12).Raw(0x29, 0xc1) // SUB ECX, EAX
	c.MovReg(asm.RAX, asm.RCX).CmpAX(hypercall.PacketRingBytes - packetSlot + 1)
	c.Unless(asm.Below, func(c *asm.Code) {
		c.Hypercall(hypercall.CallNetDoorbell).Mov(asm.RAX, 0).CmpAX(0).Back(asm.Equal, loop)
	})
	put(c)
	c.MovReg(asm.RAX, asm.R12).AndAX(64*packetSlot - 1).CmpAX(0)
	c.Unless(asm.NotEqual, func(c *asm.Code) { c.Hypercall(hypercall.CallNetDoorbell) })
	if drains {
		c.Load(guestReceive+guestProd).Mov(asm.R11, guestReceive+guestCons).Raw(0x41, 0x89, 0x03) // MOV [R11], EAX
	}
	return c.Mov(asm.RAX, 0).CmpAX(0).Back(asm.Equal, loop)
}

// put adds the next packet of the data to the ring, which has room for it.
func put(c *asm.Code) {
	and := func(reg byte, v uint32) { c.Raw(0x81, 0xe0|reg); c.B = binary.LittleEndian.AppendUint32(c.B, v) }
	c.MovReg(asm.RSI, asm.R12)
	and(byte(asm.RSI), asm.DataSize-1)
	c.Mov(asm.RAX, asm.Data).Raw(0x48, 0x01, 0xc6) // ADD RSI, RAX
	c.MovReg(asm.RDI, asm.R12)
	and(byte(asm.RDI), hypercall.PacketRingBytes-1)
	c.Mov(asm.RAX, guestTransmit+guestData).Raw(0x48, 0x01, 0xc7) // ADD RDI, RAX
	c.Mov(asm.RCX, packetSlot/8).Raw(0xf3, 0x48, 0xa5)            // REP MOVSQ
	c.Raw(0x49, 0x81, 0xc4, packetSlot, 0, 0, 0)                  // ADD R12, packetSlot
	c.Mov(asm.R11, guestTransmit+guestProd).Raw(0x45, 0x89, 0x23) // MOV [R11], R12D
}

// hoarder takes nothing for so many ticks of the TSC. Then it sends a packet whenever
// there were some for it. R14 is Cons.
func hoarder(ticks uint64) *asm.Code {
	now := func(c *asm.Code) { c.Raw(0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0) } // RDTSC; RAX
	c := new(asm.Code).Mov(asm.R12, 0).Mov(asm.R14, 0)
	now(c)
	c.MovReg(asm.R13, asm.RAX)
	c.Until(ticks, func(c *asm.Code) { now(c); c.Raw(0x4c, 0x29, 0xe8) }) // SUB RAX, R13
	loop := len(c.B)
	c.Load(guestReceive+guestProd).Raw(0x44, 0x39, 0xf0).Back(asm.Equal, loop) // CMP EAX, R14D
	c.MovReg(asm.R14, asm.RAX).Mov(asm.R11, guestReceive+guestCons).Raw(0x41, 0x89, 0x03)
	put(c)
	c.Hypercall(hypercall.CallNetDoorbell)
	return c.Mov(asm.RAX, 0).CmpAX(0).Back(asm.Equal, loop)
}

// packets fills a guest's data with mutants of the frames. Some packets' headers are
// wrong too, but for their lengths: those would end the machine.
func packets(dice *rand.Rand, frames [][]byte) []byte {
	const most, least = packetSlot - hypercall.PacketAlign, packetSlot - 2*hypercall.PacketAlign + 1
	data := make([]byte, asm.DataSize)
	for at := 0; at < len(data); at += packetSlot {
		frame := mutate(dice, frames[dice.IntN(len(frames))], most)
		slot := data[at : at+packetSlot]
		binary.LittleEndian.PutUint32(slot, uint32(max(least, len(frame))))
		if dice.IntN(8) == 0 {
			for i := 4; i < 16; i++ {
				slot[i] = byte(dice.Uint32())
			}
		}
		copy(slot[hypercall.PacketAlign:], frame)
	}
	return data
}

// A guest that takes nothing for long loses only what does not fit.
func TestHoarder(t *testing.T) {
	seed := newSeed(t)
	ns := namespace(t)
	answer := ethernet(station{mac: machineMAC}, station{mac: [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 0x88b5, make([]byte, 90))
	data := make([]byte, asm.DataSize)
	for at := 0; at < len(data); at += packetSlot {
		data[at] = byte(len(answer))
		copy(data[at+hypercall.PacketAlign:], answer)
	}
	img := asm.Image{Code: hoarder(6_000_000_000), Data: data, Net: true}.Write(t)
	m := startImage(t, ns, onTap("-m", "16m"), img)
	soon(t, "with a TAP", func() bool { return within(ns, "ip", "link", "show", "pv0").Run() == nil })
	time.Sleep(300 * time.Millisecond)
	r := rawAt(t, ns, "pv0", false)
	frames := conversation(r.from, r.to)
	dice := rand.New(rand.NewPCG(seed, 0))
	answers := 0
	count := func() int {
		buf := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(r.fd, buf, 0)
			if err != nil {
				return answers
			}
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING && n > 14 && be.Uint16(buf[12:]) == 0x88b5 {
				answers++
			}
		}
	}
	for began := time.Now(); time.Since(began) < time.Second; {
		r.send(mutate(dice, frames[dice.IntN(len(frames))], 1514))
		if n := count(); n > 0 {
			t.Fatalf("%d answers from a guest that waits", n)
		}
	}
	for range 3 {
		before := count()
		soon(t, "answered", func() bool { r.send(frames[0]); return count() > before })
	}
	if rss := residentBytes(t, m.cmd.Process.Pid); rss > 80<<20 {
		t.Errorf("%d MB", rss>>20)
	}
	m.kill()
}

// A guest that sends all that it can, most of it wrong, harms neither its host nor
// others at its network.
func TestSpammer(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		dice := rand.New(rand.NewPCG(newSeed(t), 0))
		from := station{machineMAC, netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fe80::2")}
		flags, ns := []string{"-m", "16m", "--mac", net.HardwareAddr(machineMAC[:]).String()}, ""
		var to station
		var good *server
		word := newName()
		if network == "tap" {
			ns = namespace(t)
			flags = onTap(flags...)
			to = station{ip4: netip.MustParseAddr("10.77.0.1"), ip6: netip.MustParseAddr("fe80::1")}
		} else {
			// The second machine on a network has the third address.
			flags = append(flags, "--net", "user:"+word)
			from.ip4 = netip.MustParseAddr("192.168.127.3")
			to = station{[6]byte{0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee}, netip.MustParseAddr("192.168.127.1"), netip.MustParseAddr("fe80::1")}
			good = &server{http: freePort(t)}
			_, port, _ := net.SplitHostPort(good.http)
			good.machine = start(t, "", []string{"--net", "user:" + word, "--name", "good", "-p", port + ":8080"}, "httpd", "-tls", "")
			good.says(t, "http://")
		}
		frames := conversation(from, to)
		for i := range 40 { // to where there is nothing, and others' places
			to := to
			to.ip4 = netip.AddrFrom4([4]byte{192, 168, 127, byte(i * 7)})
			if i%4 == 0 {
				to.ip4 = netip.AddrFrom4([4]byte{127, 0, byte(i), 1})
				to.mac = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
			}
			frames = append(frames, arp(from, to, 1), v4(from, to, udp, 0, datagram(uint16(i), 53, make([]byte, 30))),
				v4(from, to, tcp, 0, segment(uint16(i), 9, 2, nil, nil)))
		}
		img := asm.Image{Code: spammer(network == "tap"), Data: packets(dice, frames), Net: true}.Write(t)
		m := startImage(t, ns, flags, img)
		time.Sleep(2 * time.Second)
		select {
		case <-m.ended:
			t.Fatalf("it has ended: %s", m.stderr.text())
		default:
		}
		if good != nil {
			good.answers(t, nil, "and during a flood")
			start(t, "", []string{"--net", "user:" + word}, "client", "http://good:8080/").wait(t, 0)
		}
		most := map[int]int{m.cmd.Process.Pid: 80 << 20}
		for _, pid := range networksOf(t, 0, word) {
			most[pid] = 300 << 20
		}
		for pid, most := range most {
			rss := residentBytes(t, pid)
			t.Logf("process %d has %d MB", pid, rss>>20)
			if rss > most {
				t.Errorf("process %d has %d MB", pid, rss>>20)
			}
		}
		m.kill()
		if good != nil {
			good.answers(t, nil, "a flood")
			for _, pid := range networksOf(t, 0, word) {
				resting(t, pid, 300<<20)
			}
		}
	})
}
