package device

// Cable is what an NE2000 is plugged into.
type Cable interface {
	// Send takes a frame, which it does not keep, or none now and returns false:
	// then Resume tells the device that another try is worth while.
	Send(frame []byte) bool
}

// NE2000 is a network interface with a DP8390D: National Semiconductor DP8390D/
// NS32490D NIC Network Interface Controller data sheet. The card around it has 16
// KiB of packet memory, a station address PROM, and two ports more: for remote DMA,
// 16 bits wide, and for reset.
//
// A frame comes and goes within one access, so transmission is only seen under way
// while the cable takes nothing. Frames have no CRC in packet memory, only its room:
// four bytes that keep what they had. There are no collisions, CRC or alignment
// errors but in loopback, which stays inside and leaves nothing in the FIFO. Short
// frames that come are padded to 60 bytes. An address that is neither the PROM's nor
// packet memory's reads as ones, and what is written there is lost.
type NE2000 struct {
	irq   Line
	level bool // of irq, last told
	cable Cable
	prom  [promSize]byte
	ram   [ramSize]byte
	frame [maxFrame]byte // on its way out

	command uint8 // CR without TXP
	sending bool  // TXP

	pstart, pstop, bnry, curr, tpsr uint8 // pages of 256 bytes
	tbcr, rsar, rbcr, local         uint16
	remote                          uint8 // the page that BNRY becomes after Send Packet
	isr, imr, dcr, tcr, rcr         uint8
	tsr, rsr                        uint8
	tallies                         [3]uint8 // alignment errors, CRC errors, missed
	station                         [6]uint8
	multicast                       [8]uint8
}

const (
	ramStart  = 0x4000 // of packet memory, for both DMA channels
	ramSize   = 16 << 10
	pageBytes = 256
	promSize  = 32

	minFrame   = 60   // bytes without CRC
	maxFrame   = 1518 // likewise, with a VLAN tag
	crcSize    = 4
	headerSize = 14 // what is shorter is no frame
)

// NewNE2000 makes one. The address is what its PROM says; the guest has to load it.
func NewNE2000(irq Line, address [6]byte, cable Cable) *NE2000 {
	n := &NE2000{irq: irq, cable: cable}
	for i := range promSize {
		switch {
		case i < 2*len(address):
			n.prom[i] = address[i/2]
		case i >= promSize-4:
			n.prom[i] = promWide
		}
	}
	n.reset()
	return n
}

// promWide ends the PROM of a card whose data port is 16 bits wide.
const promWide = 'W'

// reset is a hardware reset: section 10.0, "Initialization Procedures", "Reset".
func (n *NE2000) reset() {
	n.command, n.sending = crAbort|crStop, false
	n.isr, n.imr = isrReset, 0
	n.dcr |= dcrLongAddress
	n.tcr &^= tcrLoop
	n.settle()
}

// settle brings INT up to date.
func (n *NE2000) settle() {
	if level := n.isr&n.imr&isrMaskable != 0; level != n.level {
		n.level = level
		n.irq(level)
	}
}

func (n *NE2000) stopped() bool { return n.command&crStop != 0 }

// Ports beyond the DP8390D's sixteen registers. The card decodes no more of the
// address.
const (
	nicData  = 0x10 // to 0x17
	nicReset = 0x18 // to 0x1f
	nicPorts = 0x20
)

func (n *NE2000) in(port uint16) uint8 {
	switch port %= nicPorts; {
	case port >= nicReset:
		n.reset()
		return 0
	case port >= nicData:
		return uint8(n.inData())
	}
	return n.readRegister(port)
}

func (n *NE2000) out(port uint16, v uint8) {
	switch port %= nicPorts; {
	case port >= nicReset:
	case port >= nicData:
		n.outData(uint16(v))
	default:
		n.writeRegister(port, v)
		n.settle()
	}
}

// inData and outData are the data port: a word, or with DCR's WTS clear a byte, as
// long as remote DMA goes on.
func (n *NE2000) inData() uint16 {
	op := n.command & crRemote
	if n.rbcr == 0 || op != crRead && op != crSend {
		return 0xffff
	}
	v := uint16(n.load(n.rsar))
	if n.dcr&dcrWord != 0 {
		v = uint16(n.load(n.rsar&^1)) | uint16(n.load(n.rsar|1))<<8
	}
	n.advance()
	return v
}

func (n *NE2000) outData(v uint16) {
	if n.rbcr == 0 || n.command&crRemote != crWrite {
		return
	}
	if n.dcr&dcrWord != 0 {
		n.store(n.rsar&^1, uint8(v))
		n.store(n.rsar|1, uint8(v>>8))
	} else {
		n.store(n.rsar, uint8(v))
	}
	n.advance()
}

// advance ends one access by remote DMA, which goes round the receive ring.
func (n *NE2000) advance() {
	size := uint16(1)
	if n.dcr&dcrWord != 0 {
		size = 2
	}
	n.rsar += size
	if uint8(n.rsar>>8) == n.pstop && n.rsar&0xff < size {
		n.rsar = uint16(n.pstart)<<8 | n.rsar&0xff
	}
	if n.rbcr -= min(n.rbcr, size); n.rbcr == 0 {
		n.isr |= isrRemote
		if n.command&crRemote == crSend {
			n.setBoundary(n.remote)
		}
		n.settle()
	}
}

func (n *NE2000) load(a uint16) uint8 {
	switch {
	case a < promSize:
		return n.prom[a]
	case a >= ramStart && a < ramStart+ramSize:
		return n.ram[a-ramStart]
	}
	return 0xff
}

func (n *NE2000) store(a uint16, v uint8) {
	if a >= ramStart && a < ramStart+ramSize {
		n.ram[a-ramStart] = v
	}
}
