package emulate

import "encoding/binary"

// descriptor is the first 8 bytes of one (Intel SDM volume 3A, "Segment
// Descriptors").
type descriptor uint64

// Types of system descriptors in 64-bit mode (Intel SDM volume 3A, "System
// Descriptor Types").
const (
	typeLDT       = 2
	typeTSS       = 9 // available
	typeBusyTSS   = 11
	typeCallGate  = 12
	typeInterrupt = 14
	typeTrap      = 15
)

func (d descriptor) kind() int        { return int(d >> 40 & 15) }
func (d descriptor) system() bool     { return d>>44&1 == 0 }
func (d descriptor) dpl() uint8       { return uint8(d >> 45 & 3) }
func (d descriptor) present() bool    { return d>>47&1 != 0 }
func (d descriptor) long() bool       { return d>>53&1 != 0 }
func (d descriptor) big() bool        { return d>>54&1 != 0 }
func (d descriptor) code() bool       { return !d.system() && d>>43&1 != 0 }
func (d descriptor) data() bool       { return !d.system() && d>>43&1 == 0 }
func (d descriptor) conforming() bool { return d.code() && d>>42&1 != 0 }
func (d descriptor) readable() bool   { return d.data() || d.code() && d>>41&1 != 0 }
func (d descriptor) writable() bool   { return d.data() && d>>41&1 != 0 }

func (d descriptor) base() uint64 { return uint64(d>>16&0xffffff | d>>56<<24) }

// limit is the last byte's offset.
func (d descriptor) limit() uint32 {
	v := uint32(d&0xffff | d>>32&0xf0000)
	if d>>55&1 != 0 {
		v = v<<12 | 0xfff
	}
	return v
}

// null reports whether a selector names no descriptor.
func null(selector uint16) bool { return selector&^3 == 0 }

// selectorError is a selector as an error code.
func selectorError(selector uint16) uint64 { return uint64(selector &^ 3) }

// place is the address of a selector's descriptor of n bytes; not ok when it
// lies beyond its table. A null selector has none.
func (k core) place(selector uint16, n int) (a uint64, ok bool) {
	base, limit := k.c.GDT.Base, uint32(k.c.GDT.Limit)
	if selector&4 != 0 {
		base, limit = k.c.LDT.Base, k.c.LDT.Limit
		if !k.c.LDT.Valid {
			return 0, false
		}
	}
	offset := uint32(selector &^ 7)
	a = base + uint64(offset)
	return a, !null(selector) && offset+uint32(n)-1 <= limit && canonicalSpan(a, uint64(n))
}

// descriptor reads a selector's descriptor. Not ok: there is none.
func (k core) descriptor(selector uint16) (d descriptor, ok bool, e *Exception) {
	a, ok := k.place(selector, 8)
	if !ok {
		return 0, false, nil
	}
	v, e := k.read(a, 8, 0)
	return descriptor(v), e == nil, e
}

// systemDescriptor reads one of 16 bytes from the GDT, for LLDT and LTR, and
// makes the checks that both have.
func (k core) systemDescriptor(selector uint16, kind int) (seg Segment, e *Exception) {
	bad := gp(selectorError(selector))
	a, ok := k.place(selector, 16)
	if !ok || selector&4 != 0 {
		return seg, bad
	}
	var b [16]byte
	if e := k.bus.ReadMemory(a, b[:], Read, 0); e != nil {
		return seg, e
	}
	d, high := descriptor(binary.LittleEndian.Uint64(b[:])), binary.LittleEndian.Uint64(b[8:])
	seg = Segment{Base: d.base() | high<<32, Limit: d.limit(), Valid: true}
	switch {
	case !d.system(), d.kind() != kind, high>>40&31 != 0:
		return seg, bad
	case !d.present():
		return seg, withError(vectorNP, selectorError(selector))
	case !canonical(seg.Base):
		return seg, bad
	}
	return seg, nil
}

// mark sets bits in a descriptor's type: accessed, or busy.
func (k core) mark(selector uint16, d descriptor, bits byte) *Exception {
	a, ok := k.place(selector, 8)
	if !ok || byte(d>>40)&bits == bits {
		return nil
	}
	return k.write(a+5, 1, uint64(d>>40)&0xff|uint64(bits), 0)
}

// codeSegment is one that a transfer of control may enter: present, and 64-bit
// code. Code of other widths is refused by the caller, who is told with not ok.
func (k core) codeSegment(selector uint16, d descriptor, external uint64) (ok bool, e *Exception) {
	switch {
	case !d.present():
		return false, withError(vectorNP, selectorError(selector)|external)
	case d.long() && d.big():
		return false, gp(selectorError(selector) | external)
	}
	return d.long(), nil
}
