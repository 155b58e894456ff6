package device

// BusHz is the frequency of the APIC timer's clock, before its divider.
const BusHz = 1_000_000_000

// timer is the APIC timer: Intel SDM volume 3A, "APIC Timer".
type timer struct {
	initial  uint32
	divide   int64 // ns a count
	running  bool
	end      int64  // when the count is 0 next
	fired    int64  // when it was last
	deadline uint64 // of the time-stamp counter; 0: none
}

// The timer's modes, in its LVT entry.
const (
	timerModes    = 3 << 17
	timerPeriodic = 1 << 17
	timerDeadline = 2 << 17
)

func (a *APIC) mode() uint32 { return a.lvt[lvtTimer] & timerModes }

// Next is when the timer makes an interrupt that changes anything.
func (a *APIC) Next() int64 {
	v, t := a.lvt[lvtTimer], &a.timer
	switch {
	case v&lvtMasked != 0 || a.requests.has(uint8(v)):
		return never
	case t.deadline != 0:
		return a.deadlineTime()
	case !t.running:
		return never
	case v&timerPeriodic != 0:
		return max(t.end, later(t.fired, shortest))
	}
	return t.end
}

// deadlineTime is the deadline on the clock.
func (a *APIC) deadlineTime() int64 {
	now, tsc := a.clock.Now(), a.tsc()
	if tsc >= a.timer.deadline {
		return now
	}
	left := a.timer.deadline - tsc
	if left > never {
		return never
	}
	return later(now, scaleUp(int64(left), second, max(a.hz, 1)))
}

// Update does what the timer has due.
func (a *APIC) Update() {
	t := &a.timer
	if t.deadline != 0 && a.tsc() >= t.deadline {
		t.deadline = 0
		a.local(lvtTimer)
	}
	if now := a.clock.Now(); t.running && now >= t.end {
		a.expire(now)
	}
}

// expire is the end of a count, or of several.
func (a *APIC) expire(now int64) {
	t := &a.timer
	t.fired = now
	if a.mode() == timerPeriodic {
		period := int64(t.initial) * t.divide
		t.end = later(t.end, ((now-t.end)/period+1)*period)
	} else {
		t.running = false
	}
	a.local(lvtTimer)
}

// count is the current count.
func (a *APIC) count() uint32 {
	t := &a.timer
	if !t.running {
		return 0
	}
	return uint32(min((t.end-a.clock.Now()+t.divide-1)/t.divide, 1<<32-1))
}

// start begins a count, or with 0 ends it. In deadline mode it does nothing.
func (a *APIC) start(initial uint32) {
	if a.mode() == timerDeadline {
		return
	}
	t := &a.timer
	t.initial, t.running = initial, initial != 0
	t.fired = a.clock.Now()
	t.end = later(t.fired, int64(initial)*t.divide)
}

// setDivide changes the divider. The count that is under way goes on from where
// it is.
func (a *APIC) setDivide(v uint32) {
	left := a.count()
	a.timer.divide = 2 << (v&3 | v>>1&4)
	if v&0xb == 0xb {
		a.timer.divide = 1
	}
	a.timer.end = later(a.clock.Now(), int64(left)*a.timer.divide)
}

// divideConfig is the register that setDivide was given.
func (a *APIC) divideConfig() uint32 {
	for v := uint32(0); v < 7; v++ {
		if a.timer.divide == 2<<v {
			return v&3 | v&4<<1
		}
	}
	return 0xb
}

// setTimer writes the timer's LVT entry. To or from deadline mode it disarms.
func (a *APIC) setTimer(v uint32) {
	if (v^a.lvt[lvtTimer])&timerDeadline != 0 {
		t := &a.timer
		t.deadline, t.running, t.initial = 0, false, 0
	}
	a.lvt[lvtTimer] = v
}

// setDeadline writes IA32_TSC_DEADLINE, which counts in deadline mode only.
func (a *APIC) setDeadline(v uint64) {
	if a.mode() == timerDeadline {
		a.timer.deadline = v
		a.Update()
	}
}
