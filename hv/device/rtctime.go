package device

import "time"

// registers are the time as it is read. The alarm's are not among them.
func (r *RTC) registers() (list [10]uint8) {
	if r.stands() {
		return r.held
	}
	t := r.time()
	list[rtcSecond] = r.encode(t.Second())
	list[rtcMinute] = r.encode(t.Minute())
	list[rtcHour] = r.encodeHour(t.Hour())
	list[rtcWeekday] = r.encode((int(t.Weekday())+r.shift)%7 + 1)
	list[rtcDay] = r.encode(t.Day())
	list[rtcMonth] = r.encode(int(t.Month()))
	list[rtcYear] = r.encode(t.Year() % 100)
	return list
}

// start lets the time go on from what the held registers say. What is no time is
// the one that it would be by carrying.
func (r *RTC) start(fraction time.Duration) {
	h := &r.held
	year := 2000 + r.decode(h[rtcYear])
	if year >= 2070 {
		year -= 100
	}
	t := time.Date(year, time.Month(r.decode(h[rtcMonth])), r.decode(h[rtcDay]), r.decodeHour(h[rtcHour]),
		r.decode(h[rtcMinute]), r.decode(h[rtcSecond]), int(fraction), time.UTC)
	r.offset = t.Sub(r.clock.Wall())
	r.shift = (r.decode(h[rtcWeekday]) + 6 - int(t.Weekday()) + 7) % 7
	r.second = t.Unix()
}

func toBCD(v int) uint8 { return uint8(v/10<<4 | v%10) }

func (r *RTC) encode(v int) uint8 {
	if r.b&bBinary != 0 {
		return uint8(v)
	}
	return toBCD(v)
}

func (r *RTC) decode(v uint8) int {
	if r.b&bBinary != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&15)
}

// encodeHour is an hour of 0 to 23: as it is, or 12, 1 to 11 and the half of the
// day.
func (r *RTC) encodeHour(hour int) uint8 {
	if r.b&b24Hours != 0 {
		return r.encode(hour)
	}
	v := r.encode((hour+11)%12 + 1)
	if hour >= 12 {
		v |= hourPM
	}
	return v
}

func (r *RTC) decodeHour(v uint8) int {
	if r.b&b24Hours != 0 {
		return r.decode(v)
	}
	hour := r.decode(v&^hourPM) % 12
	if v&hourPM != 0 {
		hour += 12
	}
	return hour
}

// untilAlarm is how many seconds after one of the Unix epoch the alarm comes, at
// least 1; !ok is never.
func (r *RTC) untilAlarm(from int64) (seconds int64, ok bool) {
	if !r.possible(rtcSecondAlarm, 60, r.encode) || !r.possible(rtcMinuteAlarm, 60, r.encode) {
		return 0, false
	}
	start := int((from%day + day) % day)
	for i := range 25 { // the hour of now, and again if it is over by then
		hour, least := start/3600+i, start+1
		if hour >= 24 {
			hour, least = hour-24, 0
		}
		if !r.matches(rtcHourAlarm, r.encodeHour(hour)) {
			continue
		}
		if at, ok := r.inHour(hour*3600, least); ok {
			return int64((at-start+day-1)%day + 1), true
		}
	}
	return 0, false
}

// inHour is the first alarm in an hour, in seconds of the day from least on.
func (r *RTC) inHour(begin, least int) (at int, ok bool) {
	for minute := range 60 {
		if !r.matches(rtcMinuteAlarm, r.encode(minute)) {
			continue
		}
		for second := range 60 {
			at := begin + 60*minute + second
			if at >= least && r.matches(rtcSecondAlarm, r.encode(second)) {
				return at, true
			}
		}
	}
	return 0, false
}

// matches reports whether an alarm's register asks for a value.
func (r *RTC) matches(alarm int, v uint8) bool {
	return r.memory[alarm] >= anything || r.memory[alarm] == v
}

// possible reports whether an alarm's register asks for any value that comes.
func (r *RTC) possible(alarm, values int, encode func(int) uint8) bool {
	for v := range values {
		if r.matches(alarm, encode(v)) {
			return true
		}
	}
	return false
}
