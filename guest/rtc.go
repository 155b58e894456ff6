package guest

// The clock of a PC (Motorola MC146818A data sheet, "Registers").
const (
	rtcIndex = 0x70
	rtcData  = 0x71

	rtcSeconds = 0
	rtcMinutes = 2
	rtcHours   = 4
	rtcDay     = 7
	rtcMonth   = 8
	rtcYear    = 9
	rtcA       = 10
	rtcB       = 11

	rtcUpdating = 0x80 // of A
	rtcBinary   = 4    // of B
	rtc24       = 2
	rtcPM       = 0x80 // of the hours
)

func rtcRead(register uint8) uint8 {
	out8(rtcIndex, register)
	return in8(rtcData)
}

// rtcTime is the registers as they were read.
type rtcTime struct{ second, minute, hour, day, month, year uint8 }

// readRTC reads the time, in seconds since 1970. A reading that an update came
// into begins anew; an update takes 2 ms.
func readRTC() int64 {
	for range 100 {
		if rtcRead(rtcA)&rtcUpdating != 0 {
			continue
		}
		t := rtcTime{second: rtcRead(rtcSeconds), minute: rtcRead(rtcMinutes), hour: rtcRead(rtcHours),
			day: rtcRead(rtcDay), month: rtcRead(rtcMonth), year: rtcRead(rtcYear)}
		b := rtcRead(rtcB)
		if rtcRead(rtcSeconds) == t.second {
			return t.unix(b)
		}
	}
	return 0
}

// unix is the time in seconds since 1970, b register B. The clock has two digits
// for years, of this century.
func (t rtcTime) unix(b uint8) int64 {
	pm := b&rtc24 == 0 && t.hour&rtcPM != 0
	if b&rtc24 == 0 {
		t.hour &^= rtcPM
	}
	if b&rtcBinary == 0 {
		for _, v := range [...]*uint8{&t.second, &t.minute, &t.hour, &t.day, &t.month, &t.year} {
			*v = *v>>4*10 + *v&15
		}
	}
	if b&rtc24 == 0 {
		t.hour %= 12
	}
	if pm {
		t.hour += 12
	}
	days := daysBefore(2000+int64(t.year), int64(t.month)) + int64(t.day) - 1
	return days*86400 + int64(t.hour)*3600 + int64(t.minute)*60 + int64(t.second)
}

// daysBefore is the days from 1970 to the first of a month, from 2000 to 2099,
// when every fourth year has a day more.
func daysBefore(year, month int64) int64 {
	if month < 3 {
		year, month = year-1, month+12
	}
	// Years that begin in March end with the day that only some have.
	since := year - 2000
	return 11017 + since*365 + floorDiv4(since) + (153*(month-3)+2)/5
}

func floorDiv4(v int64) int64 { return v >> 2 }
