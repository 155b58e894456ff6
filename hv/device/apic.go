package device

import "math/bits"

// APIC is the local APIC of the one processor, in x2APIC mode: Intel SDM volume
// 3A, chapter "Advanced Programmable Interrupt Controller (APIC)". Its registers
// are MSRs; it can leave that mode neither for xAPIC mode, whose registers are
// memory, nor for none. After a reset it is disabled by software and masks all,
// as the manual has it: virtual wire mode is the guest's to set up.
//
// There is no other processor, and so nobody to send to; NMI, SMI, INIT and
// start-up interrupts to itself are not delivered.
type APIC struct {
	clock Clock
	tsc   func() uint64
	hz    uint64

	tpr      uint8
	svr      uint32
	service  vectors // ISR
	requests vectors // IRR
	levels   vectors // TMR
	icr      uint64
	lvt      [lvtCount]uint32
	lint0    bool // the level of the pin
	remote   bool // LINT0's level interrupt waits for its end

	errors uint32 // seen since ESR was written
	esr    uint32
	told   bool // of an error since ESR was written

	timer timer
}

// The local vector table, in the order of the registers 0x832 on.
const (
	lvtTimer = iota
	lvtThermal
	lvtCounters
	lvtLINT0
	lvtLINT1
	lvtError
	lvtCount
)

const (
	lvtMasked   = 1 << 16
	lvtLevel    = 1 << 15
	lvtRemote   = 1 << 14 // read only, as is delivery status
	lvtLow      = 1 << 13 // polarity
	lvtStatus   = 1 << 12
	lvtDelivery = 7 << 8
	lvtExtINT   = 7 << 8

	svrEnabled = 1 << 8

	esrSend    = 1 << 5 // illegal vector sent
	esrReceive = 1 << 6 // illegal vector received

	firstVector = 16 // those below are illegal
)

// lvtBits are those of each entry that are not reserved.
var lvtBits = [lvtCount]uint32{
	lvtTimer:    3<<17 | lvtMasked | lvtStatus | 0xff,
	lvtThermal:  lvtMasked | lvtStatus | lvtDelivery | 0xff,
	lvtCounters: lvtMasked | lvtStatus | lvtDelivery | 0xff,
	lvtLINT0:    lvtMasked | lvtLevel | lvtRemote | lvtLow | lvtStatus | lvtDelivery | 0xff,
	lvtLINT1:    lvtMasked | lvtLevel | lvtRemote | lvtLow | lvtStatus | lvtDelivery | 0xff,
	lvtError:    lvtMasked | lvtStatus | 0xff,
}

// NewAPIC makes one. tsc reads the guest's time-stamp counter, which runs at hz.
// The timer's bus clock is BusHz.
func NewAPIC(clock Clock, tsc func() uint64, hz uint64) *APIC {
	a := &APIC{clock: clock, tsc: tsc, hz: hz, svr: 0xff}
	a.timer.divide = 2
	for i := range a.lvt {
		a.lvt[i] = lvtMasked
	}
	return a
}

// vectors is a set of 256 of them.
type vectors [4]uint64

func (v *vectors) set(n uint8)      { v[n/64] |= 1 << (n % 64) }
func (v *vectors) clear(n uint8)    { v[n/64] &^= 1 << (n % 64) }
func (v *vectors) has(n uint8) bool { return v[n/64]>>(n%64)&1 != 0 }

// highest is the vector of highest priority.
func (v *vectors) highest() (n uint8, ok bool) {
	for i := 3; i >= 0; i-- {
		if v[i] != 0 {
			return uint8(64*i + bits.Len64(v[i]) - 1), true
		}
	}
	return 0, false
}

// word is one of the eight 32-bit registers that the set is read by.
func (v *vectors) word(i uint32) uint64 { return v[i/2] >> (32 * (i % 2)) & 0xffffffff }

// priority is PPR.
func (a *APIC) priority() uint8 {
	v, _ := a.service.highest()
	if a.tpr>>4 >= v>>4 {
		return a.tpr
	}
	return v & 0xf0
}

// Pending is the vector that the processor is to take when it next can, if there
// is one above the processor's priority.
func (a *APIC) Pending() (vector uint8, ok bool) {
	vector, ok = a.requests.highest()
	return vector, ok && vector>>4 > a.priority()>>4
}

// Accept puts a vector that Pending has named in service.
func (a *APIC) Accept(vector uint8) {
	a.Update()
	a.requests.clear(vector)
	a.service.set(vector)
}

// ExtINT reports whether LINT0 hands the interrupt of an external controller
// through; the vector is the controller's, and priorities do not count.
func (a *APIC) ExtINT() bool {
	v := a.lvt[lvtLINT0]
	return v&lvtMasked == 0 && v&lvtDelivery == lvtExtINT && a.asserted()
}

// asserted reports whether LINT0 is at its active level.
func (a *APIC) asserted() bool { return a.lint0 != (a.lvt[lvtLINT0]&lvtLow != 0) }

// LINT0 sets the level of the pin.
func (a *APIC) LINT0(level bool) {
	before := a.asserted()
	a.lint0 = level
	a.pin(before)
}

// pin makes an interrupt of LINT0 when it is told to: at an edge, or while the
// level lasts.
func (a *APIC) pin(before bool) {
	v := a.lvt[lvtLINT0]
	switch {
	case !a.asserted() || v&(lvtMasked|lvtDelivery) != 0:
	case v&lvtLevel == 0 && !before:
		a.request(uint8(v), false)
	case v&lvtLevel != 0 && !a.remote:
		a.remote = true
		a.request(uint8(v), true)
	}
}

// TaskPriority is CR8.
func (a *APIC) TaskPriority() uint8 { return a.tpr >> 4 }

// SetTaskPriority writes CR8, of which bits 0 to 3 count.
func (a *APIC) SetTaskPriority(cr8 uint8) { a.tpr = cr8 << 4 }

// request makes a vector pending.
func (a *APIC) request(vector uint8, level bool) {
	if vector < firstVector {
		a.fail(esrReceive)
		return
	}
	a.requests.set(vector)
	a.levels.clear(vector)
	if level {
		a.levels.set(vector)
	}
}

// local makes the interrupt of a local source that is fixed.
func (a *APIC) local(source int) {
	if v := a.lvt[source]; v&lvtMasked == 0 {
		a.request(uint8(v), false)
	}
}

// fail notes an error. It interrupts once until ESR is written, which also ends
// it when the error's own vector is illegal.
func (a *APIC) fail(bit uint32) {
	a.errors |= bit
	if !a.told {
		a.told = true
		a.local(lvtError)
	}
}

// endOfInterrupt takes the highest vector out of service.
func (a *APIC) endOfInterrupt() {
	v, ok := a.service.highest()
	if !ok {
		return
	}
	a.service.clear(v)
	if a.levels.has(v) && a.remote && v == uint8(a.lvt[lvtLINT0]) {
		a.remote = false
		a.pin(true)
	}
}

// send does what ICR says. Of all whom it may name there is one.
func (a *APIC) send(icr uint64) {
	if mode := icr >> 8 & 7; mode > 1 { // neither fixed nor lowest priority
		return
	}
	if uint8(icr) < firstVector {
		a.fail(esrSend)
		return
	}
	if a.named(icr) && a.svr&svrEnabled != 0 {
		a.request(uint8(icr), false)
	}
}

// named reports whether an ICR means this processor, whose ID is 0.
func (a *APIC) named(icr uint64) bool {
	to := uint32(icr >> 32)
	switch icr >> 18 & 3 {
	case 1, 2: // self, all
		return true
	case 3: // all but self
		return false
	}
	if icr>>11&1 != 0 { // logical: cluster and members
		return to == 0xffffffff || to>>16 == logicalID>>16 && to&logicalID&0xffff != 0
	}
	return to == 0xffffffff || to == 0
}

// logicalID is LDR: cluster 0, the first of it.
const logicalID = 1
