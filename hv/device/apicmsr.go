package device

// The MSRs: Intel SDM volume 3A, "x2APIC Register Address Space".
const (
	msrAPICBase    = 0x1b
	msrTSCDeadline = 0x6e0

	msrID        = 0x802
	msrVersion   = 0x803
	msrTPR       = 0x808
	msrPPR       = 0x80a
	msrEOI       = 0x80b
	msrLDR       = 0x80d
	msrSVR       = 0x80f
	msrISR       = 0x810
	msrTMR       = 0x818
	msrIRR       = 0x820
	msrESR       = 0x828
	msrICR       = 0x830
	msrLVT       = 0x832
	msrInitial   = 0x838
	msrCurrent   = 0x839
	msrDivide    = 0x83e
	msrSelfIPI   = 0x83f
	setRegisters = 8 // that a set of vectors has

	apicBase    = 0xfee00d00              // where it would be, enabled, x2APIC, bootstrap processor
	apicVersion = (lvtCount-1)<<16 | 0x14 // no suppression of EOI broadcasts, no CMCI

	icrBits = 0xffffffff<<32 | 3<<18 | 1<<15 | 1<<14 | 1<<11 | 7<<8 | 0xff
)

// ReadMSR reads a register. Without ok it is a general protection fault: one that
// is reserved or can only be written.
func (a *APIC) ReadMSR(index uint32) (v uint64, ok bool) {
	a.Update()
	switch {
	case index >= msrISR && index < msrESR:
		sets := [...]*vectors{&a.service, &a.levels, &a.requests}
		return sets[(index-msrISR)/setRegisters].word((index - msrISR) % setRegisters), true
	case index >= msrLVT && index < msrLVT+lvtCount:
		return uint64(a.readLVT(int(index - msrLVT))), true
	}
	switch index {
	case msrAPICBase:
		return apicBase, true
	case msrTSCDeadline:
		return a.timer.deadline, true
	case msrID:
		return 0, true
	case msrVersion:
		return apicVersion, true
	case msrTPR:
		return uint64(a.tpr), true
	case msrPPR:
		return uint64(a.priority()), true
	case msrLDR:
		return logicalID, true
	case msrSVR:
		return uint64(a.svr), true
	case msrESR:
		return uint64(a.esr), true
	case msrICR:
		return a.icr, true
	case msrInitial:
		return uint64(a.timer.initial), true
	case msrCurrent:
		return uint64(a.count()), true
	case msrDivide:
		return uint64(a.divideConfig()), true
	}
	return 0, false
}

func (a *APIC) readLVT(i int) uint32 {
	v := a.lvt[i]
	if i == lvtLINT0 && a.remote {
		v |= lvtRemote
	}
	return v
}

// WriteMSR writes a register. Without ok it is a general protection fault: one
// that is reserved or can only be read, or a value with reserved bits.
func (a *APIC) WriteMSR(index uint32, v uint64) (ok bool) {
	a.Update()
	if index >= msrLVT && index < msrLVT+lvtCount {
		return a.writeLVT(int(index-msrLVT), v)
	}
	switch index {
	case msrAPICBase:
		return v == apicBase
	case msrTSCDeadline:
		a.setDeadline(v)
		return true
	case msrICR:
		if v&^icrBits != 0 {
			return false
		}
		a.icr = v
		a.send(v)
		return true
	}
	bits, ok := writable[index]
	if !ok || v&^uint64(bits) != 0 {
		return false
	}
	a.write(index, uint32(v))
	return true
}

// writable has for each of the other registers that can be written the bits that
// are not reserved.
var writable = map[uint32]uint32{
	msrTPR: 0xff, msrEOI: 0, msrSVR: svrEnabled | 0xff, msrESR: 0,
	msrInitial: 0xffffffff, msrDivide: 0xb, msrSelfIPI: 0xff,
}

func (a *APIC) write(index, v uint32) {
	switch index {
	case msrTPR:
		a.tpr = uint8(v)
	case msrEOI:
		a.endOfInterrupt()
	case msrSVR:
		a.setSpurious(v)
	case msrESR:
		a.esr, a.errors, a.told = a.errors, 0, false
	case msrInitial:
		a.start(v)
	case msrDivide:
		a.setDivide(v)
	case msrSelfIPI:
		a.send(1<<18 | uint64(v))
	}
}

// setSpurious writes SVR. Disabled by software, all of the local vector table is
// masked and stays so.
func (a *APIC) setSpurious(v uint32) {
	a.svr = v
	if v&svrEnabled == 0 {
		for i := range a.lvt {
			a.lvt[i] |= lvtMasked
		}
	}
}

func (a *APIC) writeLVT(i int, value uint64) bool {
	if value&^uint64(lvtBits[i]) != 0 || i == lvtTimer && value&timerModes == timerModes {
		return false
	}
	v := uint32(value) &^ (lvtStatus | lvtRemote)
	if a.svr&svrEnabled == 0 {
		v |= lvtMasked
	}
	if i == lvtTimer {
		a.setTimer(v)
		return true
	}
	before := i == lvtLINT0 && a.asserted()
	a.lvt[i] = v
	if i == lvtLINT0 {
		a.rewire(v, before)
	}
	return true
}

// rewire is a change of LINT0's entry, which may find the pin active.
func (a *APIC) rewire(v uint32, before bool) {
	if v&(lvtLevel|lvtDelivery) != lvtLevel {
		a.remote = false
	}
	a.pin(before)
}
