package guest

import (
	"testing"
	"time"
)

func bcd(v int) uint8 { return uint8(v/10<<4 | v%10) }

// TestRTC: every hour of some days of each month of the clock's hundred years, in
// each way that the clock may count.
func TestRTC(t *testing.T) {
	for at := time.Date(2000, 1, 1, 0, 3, 59, 0, time.UTC); at.Year() < 2100; at = at.Add(7*24*time.Hour + 3671*time.Second) {
		for _, b := range []uint8{0, rtcBinary, rtc24, rtc24 | rtcBinary} {
			code := func(v int) uint8 { return uint8(v) }
			if b&rtcBinary == 0 {
				code = bcd
			}
			hour := code(at.Hour())
			if b&rtc24 == 0 {
				hour = code((at.Hour()+11)%12 + 1)
				if at.Hour() >= 12 {
					hour |= rtcPM
				}
			}
			r := rtcTime{second: code(at.Second()), minute: code(at.Minute()), hour: hour,
				day: code(at.Day()), month: code(int(at.Month())), year: code(at.Year() % 100)}
			if got := r.unix(b); got != at.Unix() {
				t.Fatalf("%v, B %#x: %v", at, b, time.Unix(got, 0).UTC())
			}
		}
	}
}
