package device

// The ports of a PC. IBM PC/AT Technical Reference, "I/O Address Map", and for
// the edge/level registers the EISA specification.
const (
	pic1Command = 0x20
	pic1Data    = 0x21
	pit0        = 0x40
	pitControl  = 0x43
	systemPort  = 0x61
	rtcIndex    = 0x70
	rtcData     = 0x71
	ata2Data    = 0x170
	ata2Control = 0x376
	pic2Command = 0xa0
	pic2Data    = 0xa1
	ataData     = 0x1f0
	ataStatus   = 0x1f7
	com2        = 0x2f8
	ataControl  = 0x3f6
	com1        = 0x3f8
	elcr1       = 0x4d0
	elcr2       = 0x4d1
)

// Bus is what the guest reaches by IN and OUT. A device that is nil is not
// there.
type Bus struct {
	PIC        *PIC
	PIT        *PIT
	RTC        *RTC
	ATA, ATA2  *Channel
	COM1, COM2 *UART
	Control    *Control
	NE2000     [len(ne2000)]*NE2000
}

// ne2000 are the first ports of the network interfaces, of those that an NE2000's
// jumpers and its successors' setups offer.
var ne2000 = [...]uint16{0x300, 0x340, 0x380, 0x3c0}

// ports is a device on the bus, which is eight bits wide for all but the data
// ports of disks and network interfaces and the control port.
type ports interface {
	in(port uint16) uint8
	out(port uint16, v uint8)
}

// nobody is what an access meets where no device is: the bus floats high.
type nobody struct{}

func (nobody) in(uint16) uint8   { return 0xff }
func (nobody) out(uint16, uint8) {}

// either is the device, or nobody.
func either[T any, P interface {
	*T
	ports
}](p P) ports {
	if p == nil {
		return nobody{}
	}
	return p
}

func (b *Bus) at(port uint16) ports {
	switch port {
	case pic1Command, pic1Data, pic2Command, pic2Data, elcr1, elcr2:
		return either(b.PIC)
	case pit0, pit0 + 1, pit0 + 2, pitControl, systemPort:
		return either(b.PIT)
	case rtcIndex, rtcData:
		return either(b.RTC)
	case ataControl:
		return either(b.ATA)
	case ata2Control:
		return either(b.ATA2)
	}
	switch port &^ 7 {
	case com1:
		return either(b.COM1)
	case com2:
		return either(b.COM2)
	case ataData:
		return either(b.ATA)
	case ata2Data:
		return either(b.ATA2)
	}
	return either(b.nic(port))
}

// nic is the network interface at a port, or nil.
func (b *Bus) nic(port uint16) *NE2000 {
	for i, first := range ne2000 {
		if port&^(nicPorts-1) == first {
			return b.NE2000[i]
		}
	}
	return nil
}

// wide is a device with a data port of 16 bits.
type wide interface {
	inData() uint16
	outData(v uint16)
}

// wideAt is the device whose data port this is, or nil.
func (b *Bus) wideAt(port uint16) wide {
	if port == ataData && b.ATA != nil {
		return b.ATA
	}
	if port == ata2Data && b.ATA2 != nil {
		return b.ATA2
	}
	if n := b.nic(port); n != nil && port&(nicReset|nicData) == nicData {
		return n
	}
	return nil
}

// In is the guest's IN of 1, 2 or 4 bytes. What is wider than a device is split
// into its bytes at successive ports, the low one first; at the data port of a disk or a
// network interface, which is 16 bits wide, 32 are two of them.
func (b *Bus) In(port uint16, size int) uint32 {
	if v, ok := b.inWide(port, size); ok {
		return v
	}
	v := uint32(0)
	for i := range min(size, 4) {
		v |= uint32(b.inByte(int(port)+i)) << (8 * i)
	}
	return v
}

// inByte reads one port. There is no port behind the last: it does not wrap.
func (b *Bus) inByte(port int) uint8 {
	if port > 0xffff {
		return 0xff
	}
	return b.at(uint16(port)).in(uint16(port))
}

// Out is the guest's OUT of 1, 2 or 4 bytes, split as In is.
func (b *Bus) Out(port uint16, size int, v uint32) {
	if b.outWide(port, size, v) {
		return
	}
	for i := range min(size, 4) {
		if p := int(port) + i; p <= 0xffff {
			b.at(uint16(p)).out(uint16(p), uint8(v>>(8*i)))
		}
	}
}

// inWide answers where a device takes more than a byte at once.
func (b *Bus) inWide(port uint16, size int) (v uint32, ok bool) {
	if b.Control != nil && size == 4 && (port == controlPort || port == controlHigh) {
		return b.Control.inWide(port), true
	}
	d := b.wideAt(port)
	if d == nil || size < 2 {
		return 0, false
	}
	v = uint32(d.inData())
	if size == 4 {
		v |= uint32(d.inData()) << 16
	}
	return v, true
}

func (b *Bus) outWide(port uint16, size int, v uint32) bool {
	if b.Control != nil && size == 4 && (port == controlPort || port == controlHigh) {
		b.Control.outWide(port, v)
		return true
	}
	d := b.wideAt(port)
	if d == nil || size < 2 {
		return false
	}
	d.outData(uint16(v))
	if size == 4 {
		d.outData(uint16(v >> 16))
	}
	return true
}

// active are the devices that do something by themselves.
func (b *Bus) active(f func(next func() int64, update func())) {
	if b.PIT != nil {
		f(b.PIT.Next, b.PIT.Update)
	}
	if b.RTC != nil {
		f(b.RTC.Next, b.RTC.Update)
	}
	for _, u := range []*UART{b.COM1, b.COM2} {
		if u != nil {
			f(u.Next, u.Update)
		}
	}
}

// Next is the earliest time at which a device has something to do by itself, in
// ns of the clock, and math.MaxInt64 for never.
func (b *Bus) Next() int64 {
	first := int64(never)
	b.active(func(next func() int64, _ func()) { first = min(first, next()) })
	return first
}

// Update does what is due in every device, and looks at the host's end of the
// serial lines.
func (b *Bus) Update() {
	b.active(func(_ func() int64, update func()) { update() })
}
