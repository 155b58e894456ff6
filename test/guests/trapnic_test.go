package guests

import (
	"bytes"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
	"golang.org/x/sys/unix"
)

// nicRing is the ring that startNIC makes: its first page and its end.
const (
	nicRing    = 0x46
	nicRingEnd = 0x80
	nicWords   = hypercall.NE2000Port + 0x10
)

// nicOut writes registers of the first NE2000: number and value.
func nicOut(c *asm.Code, list ...[2]uint8) *asm.Code {
	for _, r := range list {
		c.OutB(hypercall.NE2000Port+uint16(r[0]), r[1])
	}
	return c
}

// startNIC is the data sheet's initialization, for all frames and interrupts.
func startNIC(c *asm.Code) *asm.Code {
	return nicOut(c, [2]uint8{0, 0x21}, [2]uint8{0xe, 0x59}, [2]uint8{0xc, 0x1c}, [2]uint8{0xd, 2}, [2]uint8{3, nicRing},
		[2]uint8{1, nicRing}, [2]uint8{2, nicRingEnd}, [2]uint8{7, 0xff}, [2]uint8{0xf, 1},
		[2]uint8{0, 0x61}, [2]uint8{7, nicRing}, [2]uint8{0, 0x22}, [2]uint8{0xd, 0})
}

// socketLink is a link and its other end.
func socketLink(t *testing.T) (mine, other nic.Link) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return nic.Link{FD: fds[0]}, nic.Link{FD: fds[1]}
}

// TestTrapNIC: a frame leaves, its answer interrupts a machine that waits, and is read
// from the ring; so is the PROM.
func TestTrapNIC(t *testing.T) {
	mine, peer := socketLink(t)
	b := newBare()
	b.cfg.NICs = []hv.NIC{{Link: mine, MAC: [6]byte{2, 1, 2, 3, 4, 5}}}
	b.image.Handlers[picBase+hypercall.NE2000IRQ] = saved(new(asm.Code).Count(count0), func(c *asm.Code) {
		nicOut(c, [2]uint8{7, 1})
		endPIC(c)
	}).Iretq()
	startNIC(virtualWire(b.code))
	nicOut(b.code, [2]uint8{8, 0}, [2]uint8{9, 0}, [2]uint8{10, 8}, [2]uint8{11, 0}, [2]uint8{0, 0x0a})
	b.result("PROM", 0x01010202, func(c *asm.Code) { c.InD(nicWords) })
	b.result("PROM", 0x03030202, func(c *asm.Code) { c.InD(nicWords) })
	nicOut(b.code, [2]uint8{8, 0}, [2]uint8{9, 0x40}, [2]uint8{10, 60}, [2]uint8{11, 0}, [2]uint8{0, 0x12})
	var sent []byte
	for i := range uint16(30) {
		b.code.OutW(nicWords, i*0x0301+0xff00)
		sent = append(sent, byte(i*0x0301), byte((i*0x0301+0xff00)>>8))
	}
	nicOut(b.code, [2]uint8{4, 0x40}, [2]uint8{5, 60}, [2]uint8{6, 0}, [2]uint8{0, 0x26})
	b.result("TSR", 3, func(c *asm.Code) { c.InB(hypercall.NE2000Port + 4) })
	b.code.Until(1, func(c *asm.Code) { c.Sti().Hlt().Cli().Word(count0) })
	nicOut(b.code, [2]uint8{0, 0x1a}) // Send Packet
	answer := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "an answer, 14+"...)
	b.result("header", 0x00400000|(nicRing+1)<<8|0x21, func(c *asm.Code) { c.InD(nicWords) })
	for i := 0; i < len(answer); i += 4 {
		b.result("answer", word(answer[i:i+4]...)&0xffffffff, func(c *asm.Code) { c.InD(nicWords) })
	}
	got := make(chan []byte, 1)
	go func() {
		frame := receiveFrame(peer)
		time.Sleep(30 * time.Millisecond) // the machine waits
		_, _ = peer.Send(&nic.Header{Flags: hypercall.PacketPartial}, answer)
		_, _ = peer.Send(&nic.Header{}, make([]byte, 1515))
		_, _ = peer.Send(&nic.Header{Flags: hypercall.PacketChecked}, answer)
		got <- frame
	}()
	b.run(t)
	if frame := <-got; !bytes.Equal(frame, sent) {
		t.Errorf("sent %x, want %x", frame, sent)
	}
}

// receiveFrame waits for a frame, up to 5 s.
func receiveFrame(l nic.Link) []byte {
	var h nic.Header
	frame := make([]byte, 2000)
	for range 5000 {
		if n, err := l.Receive(&h, frame); err == nil {
			return frame[:n]
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
