package device

import "time"

// RTC is the real-time clock and memory of a PC: Motorola MC146818A data sheet.
// It shows the clock's wall time, as UTC, until the guest sets it, which moves an
// offset; the host's clock is not set. Its time base is 32,768 Hz, so it stands
// while register A says another. Bit DSE does nothing, and the square wave is not
// connected. Setting the time takes years below 70 for 2000 on. The century is
// in the memory at 0x32, as in most PCs, and is not looked at.
type RTC struct {
	clock Clock
	irq   Line
	level bool // of irq, last told

	index   uint8
	memory  [128]uint8 // the alarm is in its registers' places
	a, b, c uint8

	offset time.Duration // from the wall clock
	shift  int           // of the day of the week, which is set by itself
	held   [10]uint8     // the time's registers while the clock stands
	ticks  int64         // of the time base, when last looked
	second int64         // of the Unix epoch, when last looked
}

// The registers, and their bits.
const (
	rtcSecond      = 0x00
	rtcSecondAlarm = 0x01
	rtcMinute      = 0x02
	rtcMinuteAlarm = 0x03
	rtcHour        = 0x04
	rtcHourAlarm   = 0x05
	rtcWeekday     = 0x06
	rtcDay         = 0x07
	rtcMonth       = 0x08
	rtcYear        = 0x09
	rtcA           = 0x0a
	rtcB           = 0x0b
	rtcC           = 0x0c
	rtcD           = 0x0d
	rtcCentury     = 0x32

	aUpdating = 0x80
	aDivider  = 0x70
	aNormal   = 0x20 // of the divider: 32,768 Hz
	aRate     = 0x0f

	bSet      = 0x80
	bPeriodic = 0x40 // in C as well, as are the next two
	bAlarm    = 0x20
	bUpdated  = 0x10
	bBinary   = 0x04
	b24Hours  = 0x02

	cRequest = 0x80
	dValid   = 0x80

	hourPM    = 0x80
	anything  = 0xc0 // in an alarm: do not care, with all above it
	rtcHz     = 32768
	updateLag = 244 * time.Microsecond // from UIP to the update
	halfway   = 500 * time.Millisecond // from a divider's start to its first update
	day       = 24 * 60 * 60           // s
)

// NewRTC makes one that counts, in BCD and 24 hours, with a rate of 1,024 Hz.
func NewRTC(clock Clock, irq Line) *RTC {
	r := &RTC{clock: clock, irq: irq, a: aNormal | 6, b: b24Hours}
	r.memory[rtcCentury] = toBCD(clock.Wall().UTC().Year() / 100 % 100)
	r.ticks, r.second = r.tick(), r.time().Unix()
	return r
}

func (r *RTC) tick() int64     { return scale(r.clock.Now(), rtcHz, second) }
func (r *RTC) time() time.Time { return r.clock.Wall().UTC().Add(r.offset) }

// counts reports whether the divider runs; stands, whether the time does not.
func (r *RTC) counts() bool { return r.a&aDivider == aNormal }
func (r *RTC) stands() bool { return !r.counts() || r.b&bSet != 0 }

// period is how long the periodic interrupt takes, as a power of two of ticks.
func (r *RTC) period() (shift uint8, ok bool) {
	switch rate := r.a & aRate; rate {
	case 0:
		return 0, false
	case 1, 2:
		return rate + 6, r.counts()
	default:
		return rate - 1, r.counts()
	}
}

// Update sets what has come since it was last looked at, once each.
func (r *RTC) Update() {
	tick := r.tick()
	if shift, ok := r.period(); ok && tick>>shift != r.ticks>>shift {
		r.c |= bPeriodic
	}
	r.ticks = tick
	if !r.stands() {
		r.pass(r.time().Unix())
	}
	r.settle()
}

// pass goes on to a second. The wall clock may have gone back.
func (r *RTC) pass(now int64) {
	passed := now - r.second
	if passed > 0 {
		r.c |= bUpdated
		if wait, ok := r.untilAlarm(r.second); ok && wait <= passed {
			r.c |= bAlarm
		}
	}
	r.second = now
}

// settle brings register C's first bit and the line up to date.
func (r *RTC) settle() {
	r.c &^= cRequest
	if r.c&r.b&(bPeriodic|bAlarm|bUpdated) != 0 {
		r.c |= cRequest
	}
	if level := r.c&cRequest != 0; level != r.level {
		r.level = level
		r.irq(level)
	}
}

// Next is when it interrupts next. When it does already, nothing changes until
// the guest reads register C.
func (r *RTC) Next() int64 {
	next := int64(never)
	if r.level {
		return next
	}
	if shift, ok := r.period(); ok && r.b&bPeriodic != 0 {
		next = scaleUp((r.ticks>>shift+1)<<shift, second, rtcHz)
	}
	if r.b&(bAlarm|bUpdated) == 0 || r.stands() {
		return next
	}
	return min(next, r.nextSecond())
}

// nextSecond is when a second begins that interrupts.
func (r *RTC) nextSecond() int64 {
	now, wall := r.clock.Now(), r.time()
	if wall.Unix() != r.second {
		return now
	}
	wait, ok := int64(1), true
	if r.b&bUpdated == 0 {
		wait, ok = r.untilAlarm(r.second)
	}
	if !ok {
		return never
	}
	return later(now, wait*second-int64(wall.Nanosecond()))
}

func (r *RTC) in(port uint16) uint8 {
	if port == rtcIndex {
		return 0xff // cannot be read
	}
	r.Update()
	switch r.index {
	case rtcA:
		return r.a | r.updating()
	case rtcB:
		return r.b
	case rtcC:
		v := r.c
		r.c = 0
		r.settle()
		return v
	case rtcD:
		return dValid
	}
	if r.isTime() {
		return r.registers()[r.index]
	}
	return r.memory[r.index]
}

// isTime reports whether the index is of a register that time changes.
func (r *RTC) isTime() bool {
	return r.index <= rtcYear && (r.index >= rtcWeekday || r.index&1 == 0)
}

// updating is bit UIP.
func (r *RTC) updating() uint8 {
	if !r.stands() && r.time().Nanosecond() >= int(time.Second-updateLag) {
		return aUpdating
	}
	return 0
}

func (r *RTC) out(port uint16, v uint8) {
	if port == rtcIndex {
		r.index = v & 0x7f // the other bit masks NMI, which there is none of
		return
	}
	r.Update()
	switch {
	case r.index == rtcA:
		r.control(v&^aUpdating, r.b, halfway)
	case r.index == rtcB:
		if v&bSet != 0 {
			v &^= bUpdated
		}
		r.control(r.a, v, time.Duration(r.time().Nanosecond()))
	case r.index == rtcC || r.index == rtcD: // read only
	case r.isTime():
		r.set(v)
	default:
		r.memory[r.index] = v
	}
	r.settle()
}

// control changes registers A and B. When that lets the time go on, it is that
// far into its second.
func (r *RTC) control(a, b uint8, fraction time.Duration) {
	stood := r.stands()
	if !stood {
		r.held = r.registers()
	}
	r.a, r.b = a, b
	if stood && !r.stands() {
		r.start(fraction)
	}
}

// set writes a register of the time.
func (r *RTC) set(v uint8) {
	if r.stands() {
		r.held[r.index] = v
		return
	}
	r.held = r.registers()
	r.held[r.index] = v
	r.start(time.Duration(r.time().Nanosecond()))
}
