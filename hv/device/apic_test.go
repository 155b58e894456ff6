package device

import "testing"

const testHz = 2_000_000_000 // of the time-stamp counter

type testAPIC struct {
	*testing.T
	*APIC
	clock *testClock
}

func newAPIC(t *testing.T) *testAPIC {
	clock := newClock()
	return &testAPIC{t, NewAPIC(clock, func() uint64 { return 1000 + 2*uint64(clock.now) }, testHz), clock}
}

// enabled is one that software has enabled.
func enabled(t *testing.T) *testAPIC {
	a := newAPIC(t)
	a.writes(msrSVR, 0x1ff)
	return a
}

func (a *testAPIC) writes(index uint32, v uint64) {
	a.Helper()
	if !a.WriteMSR(index, v) {
		a.Errorf("WRMSR %#x of %#x faults", index, v)
	}
}

func (a *testAPIC) faults(index uint32, v uint64) {
	a.Helper()
	if a.WriteMSR(index, v) {
		a.Errorf("WRMSR %#x of %#x does not fault", index, v)
	}
}

func (a *testAPIC) reads(what string, index uint32, want uint64) {
	a.Helper()
	got, ok := a.ReadMSR(index)
	if !ok {
		a.Errorf("RDMSR %#x faults", index)
	}
	eq(a.T, what, got, want)
}

// takes accepts the vectors that are expected, and then there is none.
func (a *testAPIC) takes(want ...uint8) {
	a.Helper()
	for _, v := range want {
		got, ok := a.Pending()
		eq(a.T, "pending", ok, true)
		eq(a.T, "vector", got, v)
		a.Accept(got)
	}
	if v, ok := a.Pending(); ok {
		a.Errorf("another vector is pending, %#x", v)
	}
}

func (a *testAPIC) self(vectors ...uint64) {
	a.Helper()
	for _, v := range vectors {
		a.writes(msrSelfIPI, v)
	}
}

func TestAPICReset(t *testing.T) {
	a := newAPIC(t)
	for _, c := range []struct {
		name  string
		index uint32
		want  uint64
	}{
		{"IA32_APIC_BASE", 0x1b, 0xfee00d00}, {"IA32_TSC_DEADLINE", 0x6e0, 0},
		{"ID", 0x802, 0}, {"version", 0x803, 0x50014}, {"TPR", 0x808, 0}, {"PPR", 0x80a, 0},
		{"LDR", 0x80d, 1}, {"SVR", 0x80f, 0xff}, {"ESR", 0x828, 0}, {"ICR", 0x830, 0},
		{"LVT timer", 0x832, 0x10000}, {"LVT thermal", 0x833, 0x10000}, {"LVT counters", 0x834, 0x10000},
		{"LVT LINT0", 0x835, 0x10000}, {"LVT LINT1", 0x836, 0x10000}, {"LVT error", 0x837, 0x10000},
		{"initial count", 0x838, 0}, {"current count", 0x839, 0}, {"divide", 0x83e, 0},
	} {
		a.reads(c.name, c.index, c.want)
	}
	eq(t, "next", a.Next(), never)
	a.takes()
}

// TestAPICFaults goes over all registers that there could be.
func TestAPICFaults(t *testing.T) {
	read := map[uint32]bool{0x1b: true, 0x6e0: true, 0x802: true, 0x803: true, 0x808: true, 0x80a: true,
		0x80d: true, 0x80f: true, 0x828: true, 0x830: true, 0x838: true, 0x839: true, 0x83e: true}
	for i := uint32(0x810); i <= 0x827; i++ {
		read[i] = true
	}
	for i := uint32(0x832); i <= 0x837; i++ {
		read[i] = true
	}
	// What is not reserved in those that can be written.
	bits := map[uint32]uint64{0x6e0: ^uint64(0), 0x808: 0xff, 0x80b: 0, 0x80f: 0x1ff, 0x828: 0,
		0x830: 0xffffffff_000ccfff &^ 0x1000, 0x832: 0x710ff&^0x700 | 0x60000, 0x833: 0x117ff, 0x834: 0x117ff,
		0x835: 0x1f7ff, 0x836: 0x1f7ff, 0x837: 0x110ff, 0x838: 0xffffffff, 0x83e: 0xb, 0x83f: 0xff}
	for i := uint32(0); i < 0x1000; i++ {
		a := newAPIC(t)
		if _, ok := a.ReadMSR(i); ok != read[i] {
			t.Errorf("RDMSR %#x: ok is %t", i, ok)
		}
		allowed, ok := bits[i]
		for bit := range 64 {
			want := ok && allowed>>bit&1 != 0
			if got := a.WriteMSR(i, 1<<bit); got != want {
				t.Errorf("WRMSR %#x of bit %d: ok is %t", i, bit, got)
			}
		}
		want := ok || i == 0x1b
		if got := a.WriteMSR(i, 0) || a.WriteMSR(i, 0xfee00d00); got != want {
			t.Errorf("WRMSR %#x of a value that is allowed: ok is %t", i, got)
		}
	}
	a := enabled(t)
	a.faults(0x832, 3<<17) // a mode that is reserved
	a.faults(0x1b, 0xfee00900)
	a.faults(0x1b, 0xfee00500)
	a.reads("IA32_APIC_BASE", 0x1b, 0xfee00d00)
}

func TestAPICPriorities(t *testing.T) {
	a := enabled(t)
	a.self(0x31, 0x35, 0xfe, 0x10)
	a.reads("IRR 1", msrIRR+1, 1<<0x11|1<<0x15)
	a.reads("IRR 7", msrIRR+7, 1<<0x1e)
	a.takes(0xfe)
	a.reads("ISR 7", msrISR+7, 1<<0x1e)
	a.reads("IRR 7", msrIRR+7, 0)
	a.reads("PPR", msrPPR, 0xf0)
	a.writes(msrEOI, 0)
	a.reads("PPR", msrPPR, 0)
	a.takes(0x35) // 0x31 is of the same class
	a.self(0x42)
	a.takes(0x42) // nests
	a.writes(msrEOI, 0)
	a.reads("ISR 1", msrISR+1, 1<<0x15)
	a.writes(msrEOI, 0)
	a.takes(0x31)
	a.writes(msrEOI, 0)
	a.takes(0x10)
	a.writes(msrEOI, 0)
	a.writes(msrEOI, 0) // of nothing
}

func TestAPICTaskPriority(t *testing.T) {
	a := enabled(t)
	a.writes(msrTPR, 0x3f)
	eq(t, "CR8", a.TaskPriority(), 3)
	a.reads("PPR", msrPPR, 0x3f)
	a.self(0x3f)
	a.takes()
	a.self(0x40)
	a.takes(0x40)
	a.reads("PPR", msrPPR, 0x40)
	a.writes(msrTPR, 0x45) // same class as what is in service
	a.reads("PPR", msrPPR, 0x45)
	a.writes(msrEOI, 0)
	a.SetTaskPriority(2)
	a.reads("TPR", msrTPR, 0x20)
	a.takes(0x3f)
	a.SetTaskPriority(0xff)
	eq(t, "CR8", a.TaskPriority(), 15)
	a.writes(msrEOI, 0)
	a.self(0xff)
	a.takes()
}

func TestAPICSend(t *testing.T) {
	a := enabled(t)
	for _, c := range []struct {
		icr  uint64
		mine bool
	}{
		{0x40, true},                        // physical, to ID 0
		{1<<32 | 0x40, false},               // to ID 1
		{0xffffffff<<32 | 0x40, true},       // to all
		{1<<18 | 0x40, true},                // self
		{2<<18 | 0x40, true},                // all including self
		{3<<18 | 0x40, false},               // all but self
		{1<<32 | 1<<11 | 0x40, true},        // logical, member 1 of cluster 0
		{2<<32 | 1<<11 | 0x40, false},       //
		{0x10001<<32 | 1<<11 | 0x40, false}, // another cluster
		{0xffffffff<<32 | 1<<11 | 0x40, true},
		{1<<8 | 0x40, true},  // lowest priority
		{1<<14 | 0x40, true}, // assert
		{4<<8 | 0x40, false}, // NMI
		{2<<8 | 0x40, false}, // SMI
		{5 << 8, false},      // INIT
		{6<<8 | 0x40, false}, // start-up
	} {
		a.writes(msrICR, c.icr)
		a.reads("ICR", msrICR, c.icr)
		v, ok := a.Pending()
		if ok != c.mine || ok && v != 0x40 {
			t.Errorf("ICR %#x: pending %#x, %t", c.icr, v, ok)
		}
		if ok {
			a.Accept(v)
			a.writes(msrEOI, 0)
		}
	}
	a.reads("ESR before it is written", msrESR, 0)
	a.self(0x50)
	a.reads("ICR after a self IPI", msrICR, 6<<8|0x40)
	a.takes(0x50)

	a = newAPIC(t) // disabled by software
	a.self(0x50)
	a.writes(msrICR, 0x50)
	a.takes()
}

func TestAPICErrors(t *testing.T) {
	a := enabled(t)
	a.writes(msrLVT+lvtError, 0xe0)
	a.self(15)
	a.takes(0xe0)
	a.writes(msrEOI, 0)
	a.writes(msrICR, 3) // no second interrupt before ESR is written
	a.takes()
	a.reads("ESR before it is written", msrESR, 0)
	a.writes(msrESR, 0)
	a.reads("ESR", msrESR, esrSend)
	a.writes(msrESR, 0)
	a.reads("ESR", msrESR, 0)
	a.writes(msrLVT+lvtTimer, 7)
	a.writes(msrInitial, 1)
	a.clock.now += 1000
	a.Update()
	a.takes(0xe0)
	a.writes(msrESR, 0)
	a.reads("ESR", msrESR, esrReceive)
	a.writes(msrLVT+lvtError, 0x0f) // whose own vector is illegal
	a.writes(msrInitial, 1)
	a.clock.now += 1000
	a.writes(msrESR, 0)
	a.reads("ESR", msrESR, esrReceive)
	a.takes()
}

// Disabled by software, all is masked and cannot be unmasked; what was pending
// still is.
func TestAPICSoftwareDisable(t *testing.T) {
	a := enabled(t)
	for i := range uint32(lvtCount) {
		a.writes(msrLVT+i, 0x50)
		a.reads("LVT", msrLVT+i, 0x50)
	}
	a.self(0x60)
	a.writes(msrSVR, 0xff)
	for i := range uint32(lvtCount) {
		a.reads("LVT", msrLVT+i, 0x10050)
		a.writes(msrLVT+i, 0x51)
		a.reads("LVT", msrLVT+i, 0x10051)
	}
	a.takes(0x60)
	a.writes(msrSVR, 0x1ff)
	a.reads("LVT", msrLVT, 0x10051)
}

func TestAPICExtINT(t *testing.T) {
	a := enabled(t)
	a.LINT0(true)
	eq(t, "masked", a.ExtINT(), false)
	a.writes(msrLVT+lvtLINT0, 7<<8)
	eq(t, "virtual wire", a.ExtINT(), true)
	a.writes(msrTPR, 0xff)
	eq(t, "priorities do not count", a.ExtINT(), true)
	a.LINT0(false)
	eq(t, "low", a.ExtINT(), false)
	a.writes(msrLVT+lvtLINT0, 1<<13|7<<8)
	eq(t, "low, active low", a.ExtINT(), true)
	a.writes(msrLVT+lvtLINT0, 0x40)
	a.LINT0(true)
	eq(t, "fixed", a.ExtINT(), false)
	a.writes(msrLVT+lvtLINT0, 7<<8)
	a.writes(msrSVR, 0xff)
	eq(t, "disabled", a.ExtINT(), false)
}

func TestAPICLINT0Fixed(t *testing.T) {
	a := enabled(t)
	a.writes(msrLVT+lvtLINT0, 0x40)
	a.LINT0(true)
	a.LINT0(true)
	a.takes(0x40)
	a.reads("TMR", msrTMR+2, 0)
	a.writes(msrEOI, 0)
	a.takes()
	a.LINT0(false)
	a.writes(msrLVT+lvtLINT0, lvtLevel|0x41)
	a.LINT0(true)
	a.reads("LVT with remote IRR", msrLVT+lvtLINT0, lvtLevel|lvtRemote|0x41)
	a.reads("TMR", msrTMR+2, 2)
	a.takes(0x41)
	a.LINT0(false)
	a.LINT0(true) // still waits for its end
	a.takes()
	a.writes(msrEOI, 0)
	a.takes(0x41) // still high
	a.LINT0(false)
	a.writes(msrEOI, 0)
	a.takes()
	a.reads("LVT", msrLVT+lvtLINT0, lvtLevel|0x41)
	a.writes(msrLVT+lvtLINT0, lvtMasked|lvtLevel|0x42)
	a.LINT0(true)
	a.takes()
	a.writes(msrLVT+lvtLINT0, lvtLevel|0x42) // unmasked while it is high
	a.takes(0x42)
	a.writes(msrEOI, 0)
	a.takes(0x42)
	a.LINT0(false)
	a.writes(msrEOI, 0)
	a.self(0x41, 0x42)
	a.reads("TMR of an edge", msrTMR+2, 0)
}
