package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The network interfaces of a bare machine: NE2000s, by remote DMA through their data
// port (DP8390D/NS32490D NIC data sheet). An access is dear and one of 32 bits is four
// of bytes at successive registers, so what lies side by side is written at once.
//
// Goroutines call what follows, one at a time for each NIC. The kernel only makes an
// interrupt the event that readies FDNet.

// Registers, as offsets from the first port.
const (
	nicCommand  = 0x00
	nicPSTART   = 0x01 // with PSTOP and BNRY behind it
	nicTPSR     = 0x04 // with the length's two bytes, and ISR
	nicISR      = 0x07
	nicRSAR     = 0x08 // with RBCR, two bytes each
	nicRCR      = 0x0c // with TCR, DCR and IMR behind it
	nicIMR      = 0x0f
	nicPAR      = 0x01 // of page 1: six bytes
	nicCURR     = 0x07 // of page 1
	nicMAR      = 0x08 // of page 1: eight bytes
	nicData     = 0x10
	nicResetter = 0x1f

	// Of the command register.
	nicStop     = 0x01
	nicStart    = 0x02
	nicTransmit = 0x04
	nicRead     = 0x08 | nicStart
	nicWrite    = 0x10 | nicStart
	nicNext     = 0x18 | nicStart // Send Packet: remote read of the packet at BNRY
	nicIdle     = 0x20 | nicStart
	nicPage1    = 0x40

	// Of ISR and IMR.
	nicReceived = 0x01
	nicSent     = 0x02 | 0x08 // or not
	nicReset    = 0x80

	nicAccept = 0x0c // RCR: broadcast and multicast
	nicWords  = 0x59 // DCR: words, no loopback, Send Packet, FIFO threshold 8 bytes
	nicLoop   = 0x02 // TCR
	nicWide   = 'W'  // in the last bytes of the PROM

	// Packet memory in pages of 256 bytes: one frame to send, and the ring.
	nicSendPage  = 0x40
	nicFirstPage = 0x46
	nicEndPage   = 0x80

	// nicPeek is how many words are read of a packet before its length is known: the
	// header and a small frame.
	nicPeek    = 40
	nicMinimum = 60
)

// NIC's frames have no CRC.
const (
	// NICMaxFrame is how long one may be, in bytes.
	NICMaxFrame = 1518
	// NICHeader is what stands in front of one in a buffer, in bytes.
	NICHeader = 4
)

// NICBuffer is memory for a frame, behind NICHeader bytes.
type NICBuffer [NICHeader + NICMaxFrame + 6]byte

// ne2000 is what is known of a NIC.
type ne2000 struct {
	base       uint16
	next, last uint8 // pages: the next packet's, and of the end of those known of
	busy       bool  // a frame may still be under way
}

// ne2000s are guarded by the caller's locks.
var ne2000s [hypercall.MaxNICs]ne2000

// nicLines are the NICs' interrupt lines.
const nicLines = (1<<hypercall.MaxNICs - 1) << hypercall.NE2000IRQ

func (c *ne2000) out(register uint16, v uint8) { out8(c.base+register, v) }

// NICStart begins with NIC n, which has a MAC address, and says whether it is there.
func NICStart(n int, mac [6]byte) bool {
	c := &ne2000s[n]
	c.base = hypercall.NE2000Port + uint16(n)*hypercall.NE2000Stride
	in8(c.base + nicResetter)
	if in8(c.base+nicISR)&nicReset == 0 || in8(c.base+nicCommand) == 0xff {
		return false
	}
	c.out(nicCommand, 0x20|nicStop)
	out32(c.base+nicRCR, nicAccept|nicLoop<<8|nicWords<<16)
	if !c.isWide() {
		return false
	}
	c.setUp(mac)
	return true
}

// isWide is whether the card says that its data port has 16 bits.
func (c *ne2000) isWide() bool {
	prom := new([32]byte)
	c.remote(nicRead, 0, uint16(len(prom)))
	inWords(c.base+nicData, uintptr(unsafe.Pointer(prom)), uintptr(len(prom)/2))
	return prom[28] == nicWide && prom[30] == nicWide
}

// setUp is the data sheet's order ("Initialization Procedures").
func (c *ne2000) setUp(mac [6]byte) {
	c.out(nicCommand, 0x20|nicStop)
	out32(c.base+nicCommand, 0x20|nicStop|nicFirstPage<<8|nicEndPage<<16|nicFirstPage<<24)
	c.out(nicISR, 0xff)
	c.out(nicIMR, nicReceived)
	c.out(nicCommand, nicPage1|0x20|nicStop)
	out32(c.base+nicPAR, uint32(mac[0])|uint32(mac[1])<<8|uint32(mac[2])<<16|uint32(mac[3])<<24)
	c.out(nicPAR+4, mac[4])
	c.out(nicPAR+5, mac[5])
	c.out(nicCURR, nicFirstPage)
	out32(c.base+nicMAR, 0xffff_ffff)
	out32(c.base+nicMAR+4, 0xffff_ffff)
	c.next, c.last, c.busy = nicFirstPage, nicFirstPage, false
	c.out(nicCommand, nicIdle)
	c.out(nicRCR+1, 0) // TCR: on the cable
}

// remote begins remote DMA.
func (c *ne2000) remote(command uint8, at, bytes uint16) {
	out32(c.base+nicRSAR, uint32(at)|uint32(bytes)<<16)
	c.out(nicCommand, command)
}

// NICSend sends the frame behind NICHeader bytes of b, which is heap memory. False: the
// last one has not left yet.
func NICSend(n int, b *NICBuffer, length int) bool {
	c := &ne2000s[n]
	if c.busy && c.transmits() {
		return false
	}
	for ; length < nicMinimum; length++ {
		b[NICHeader+length] = 0
	}
	words := uintptr(length+1) / 2
	c.remote(nicWrite, nicSendPage<<8, uint16(2*words))
	outWords(c.base+nicData, uintptr(unsafe.Pointer(&b[NICHeader])), words)
	out32(c.base+nicTPSR, nicSendPage|uint32(length)<<8|nicSent<<24)
	c.out(nicCommand, nicIdle|nicTransmit)
	c.busy = in8(c.base+nicCommand)&nicTransmit != 0
	return true
}

// NICWantRoom has FDNet tell when the frame under way has left; false: it has.
func NICWantRoom(n int) bool {
	c := &ne2000s[n]
	if c.busy {
		c.out(nicIMR, nicReceived|nicSent)
	}
	return c.busy && c.transmits()
}

// transmits is whether a frame is still under way. If not, the interrupt that tells of
// it ends. The line is taken down for that: a frame that came while it was up has not
// raised it, and the interrupt controller only hears it rise.
func (c *ne2000) transmits() bool {
	if in8(c.base+nicCommand)&nicTransmit != 0 {
		return true
	}
	c.busy = false
	c.out(nicIMR, 0)
	c.out(nicIMR, nicReceived)
	return false
}

// NICReceive receives a frame to behind NICHeader bytes and returns its length; 0:
// there is none. What comes from then on readies FDNet.
func NICReceive(n int, to *NICBuffer) int {
	c := &ne2000s[n]
	for c.next == c.last {
		if !c.look() {
			return 0
		}
	}
	c.out(nicCommand, nicNext)
	at := uintptr(unsafe.Pointer(to))
	inWords(c.base+nicData, at, nicPeek)
	length, next := int(to[2])|int(to[3])<<8, to[1]
	if length < NICHeader || length > NICHeader+NICMaxFrame || next < nicFirstPage || next >= nicEndPage {
		c.forget()
		return 0
	}
	if words := uintptr(length+1) / 2; words > nicPeek {
		inWords(c.base+nicData, at+2*nicPeek, words-nicPeek)
	}
	c.next = next
	return length - NICHeader
}

// look finds out whether packets have come. The interrupt is ended first, so that
// another one comes with what is not seen here.
func (c *ne2000) look() bool {
	if in8(c.base+nicISR)&nicReceived == 0 {
		return false
	}
	c.out(nicISR, nicReceived)
	c.out(nicCommand, nicPage1|nicIdle)
	c.last = in8(c.base + nicCURR)
	if c.last == c.next {
		c.out(nicCommand, nicIdle)
	}
	return c.last != c.next
}

// forget drops what is in a ring that makes no sense.
func (c *ne2000) forget() {
	c.out(nicCommand, nicPage1|nicIdle)
	c.last = in8(c.base + nicCURR)
	c.next = c.last
	out32(c.base+nicCommand, nicIdle|nicFirstPage<<8|nicEndPage<<16|uint32(c.last)<<24)
}
