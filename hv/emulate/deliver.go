package emulate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pvrun/pvrun/hv/engine"
)

// ErrTripleFault ends the machine: the guest's double fault handler cannot be
// entered either.
var ErrTripleFault = errors.New("triple fault")

// errLevel is a handler at CPL 1 or 2.
var errLevel = errors.New("handlers at CPL 1 and 2 are not supported")

// origin is where an event comes from.
type origin int

const (
	hardware origin = iota // an exception
	external               // an interrupt
	software               // INT n, INT3
)

type event struct {
	Exception
	origin origin
}

// Deliver enters the guest's handler for an exception: IDT, TSS and stacks as
// the processor does. An exception on the way is combined with the first one.
// The error is ErrTripleFault, or says what is not supported; registers are as
// they were.
func (c *CPU) Deliver(r *engine.Regs, e Exception, bus Bus) error {
	return core{c, r, bus}.deliver(event{Exception: e})
}

// Interrupt enters the guest's handler for an external interrupt. Whether it
// may come now is for Interruptible to say.
func (c *CPU) Interrupt(r *engine.Regs, vector uint8, bus Bus) error {
	return core{c, r, bus}.deliver(event{Exception{Vector: vector}, external})
}

func (k core) deliver(ev event) error {
	first := ev.Vector
	// Each exception on the way is of a class that leads to a double fault
	// after two more at the latest; the bound is for a Bus that raises others.
	for range 8 {
		if ev.Vector == vectorPF && ev.origin == hardware {
			k.c.CR2 = ev.CR2
		}
		next, err := k.enter(ev)
		if err != nil || next == nil {
			return err
		}
		together, ok := combine(ev, *next)
		if !ok {
			break
		}
		ev = event{Exception: together}
	}
	return fmt.Errorf("%w: vector %d at %#x cannot be delivered", ErrTripleFault, first, k.r.RIP)
}

// class of an exception (Intel SDM volume 3A, "Interrupt 8—Double Fault
// Exception (#DF)").
type class int

const (
	benign class = iota
	contributory
	pageFault
	double
)

func (ev event) class() class {
	if ev.origin != hardware {
		return benign
	}
	switch ev.Vector {
	case vectorDE, vectorTS, vectorNP, vectorSS, vectorGP, vectorCP:
		return contributory
	case vectorPF:
		return pageFault
	case vectorDF:
		return double
	}
	return benign
}

// combine says what comes of second while first is delivered. Not ok: the
// processor shuts down.
func combine(first event, second Exception) (e Exception, ok bool) {
	a, b := first.class(), event{Exception: second}.class()
	switch {
	case a == double:
		return e, false
	case a == contributory && b == contributory, a == pageFault && b != benign:
		return Exception{Vector: vectorDF, HasError: true}, true
	}
	return second, true
}

// gate of the IDT, 16 bytes (Intel SDM volume 3A, "64-Bit Mode IDT").
type gate struct {
	offset   uint64
	selector uint16
	ist      int
	low      descriptor // for type, DPL and present, which lie alike
}

func (k core) gate(ev event) (g gate, e *Exception) {
	code := uint64(ev.Vector)<<3 | 2 | ev.external()
	offset := uint64(ev.Vector) * 16
	a := k.c.IDT.Base + offset
	if offset+15 > uint64(k.c.IDT.Limit) || !canonicalSpan(a, 16) {
		return g, gp(code)
	}
	var b [16]byte
	if e := k.bus.ReadMemory(a, b[:], Read, 0); e != nil {
		return g, e
	}
	low, high := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	g = gate{low&0xffff | low>>48<<16 | high<<32, uint16(low >> 16), int(low >> 32 & 7), descriptor(low)}
	switch {
	case !g.low.system(), g.low.kind() != typeInterrupt && g.low.kind() != typeTrap,
		ev.origin == software && g.low.dpl() < k.c.CPL:
		return g, gp(code)
	case !g.low.present():
		return g, withError(vectorNP, code)
	}
	return g, nil
}

// external is the EXT bit of error codes: not the program's own doing.
func (ev event) external() uint64 {
	if ev.origin == software {
		return 0
	}
	return 1
}

// target checks the gate's code segment and says with which CPL it runs.
func (k core) target(g gate, ext uint64) (cpl uint8, e *Exception, err error) {
	if null(g.selector) {
		return 0, gp(ext), nil
	}
	bad := gp(selectorError(g.selector) | ext)
	d, ok, e := k.descriptor(g.selector)
	switch {
	case e != nil:
		return 0, e, nil
	case !ok, !d.code(), d.dpl() > k.c.CPL:
		return 0, bad, nil
	}
	if ok, e := k.codeSegment(g.selector, d, ext); e != nil || !ok {
		if e == nil {
			e = bad
		}
		return 0, e, nil
	}
	cpl = k.c.CPL
	if !d.conforming() {
		cpl = d.dpl()
	}
	if cpl != 0 && cpl != 3 {
		return 0, nil, errLevel
	}
	return cpl, k.mark(g.selector, d, 1), nil
}

// stack is where the frame goes: the one of the interrupt stack table that the
// gate names, the new CPL's, or the present one; aligned to 16 bytes.
func (k core) stack(g gate, cpl uint8, ext uint64) (rsp uint64, e *Exception) {
	const stacks, table = 4, 36 // offsets in the TSS of RSP0 and IST1 (Intel SDM volume 3A, "64-Bit TSS")
	at := uint64(0)
	switch {
	case g.ist != 0:
		at = table + 8*uint64(g.ist-1)
	case cpl != k.c.CPL:
		at = stacks + 8*uint64(cpl)
	default:
		return k.r.RSP &^ 15, nil
	}
	t := k.c.TSS
	if !t.Valid || at+7 > uint64(t.Limit) || !canonicalSpan(t.Base, uint64(t.Limit)+1) {
		return 0, withError(vectorTS, selectorError(k.c.TR)|ext)
	}
	rsp, e = k.read(t.Base+at, 8, 0)
	return rsp &^ 15, e
}

// image is RFLAGS as the handler finds it on its stack: with RF for faults, so
// that a return does not meet an instruction breakpoint again.
func (k core) image(ev event) uint64 {
	v := k.c.Flags(k.r)
	if ev.origin != hardware {
		return v
	}
	switch ev.Vector {
	case vectorDB, vectorBP, vectorOF, vectorDF, vectorMC:
		return v
	}
	return v | flagRF
}

// enter pushes the frame and goes to the handler (Intel SDM volume 3A,
// "Exception and Interrupt Handling in 64-Bit Mode"). With an exception or an
// error nothing has changed but accessed bits.
func (k core) enter(ev event) (*Exception, error) {
	ext := ev.external()
	g, e := k.gate(ev)
	if e != nil {
		return e, nil
	}
	cpl, e, err := k.target(g, ext)
	if e != nil || err != nil {
		return e, err
	}
	rsp, e := k.stack(g, cpl, ext)
	if e != nil {
		return e, nil
	}
	if !canonical(g.offset) {
		return gp(ext), nil
	}
	frame := k.frame(ev)
	rsp -= uint64(len(frame))
	if !canonicalSpan(rsp, uint64(len(frame))) {
		return withError(vectorSS, ext), nil
	}
	if e := k.bus.WriteMemory(rsp, frame, cpl); e != nil {
		return e, nil
	}
	k.arrive(g, cpl, rsp)
	return nil, nil
}

// frame is what is pushed, from the lowest address on.
func (k core) frame(ev event) (b []byte) {
	if ev.HasError {
		b = binary.LittleEndian.AppendUint64(b, ev.Error)
	}
	for _, v := range []uint64{k.r.RIP, uint64(k.c.CS), k.image(ev), k.r.RSP, uint64(k.c.SS)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// arrive is the handler's first state. SS becomes null when the CPL changes.
func (k core) arrive(g gate, cpl uint8, rsp uint64) {
	k.r.RIP, k.r.RSP = g.offset, rsp
	k.c.CS = g.selector&^3 | uint16(cpl)
	if cpl != k.c.CPL {
		k.c.SS = uint16(cpl)
	}
	gone := uint64(flagTF | flagNT | flagRF | flagVM)
	if g.low.kind() == typeInterrupt {
		gone |= flagIF
	}
	k.setFlags(0, gone)
	k.c.Shadow = false
	k.setCPL(cpl)
}
