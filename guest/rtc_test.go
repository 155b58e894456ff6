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

// TestRates: a second is a second by both, for any processor.
func TestRates(t *testing.T) {
	for _, hz := range []uint64{500e6, 1e9, 2_100_000_000, 2_899_998_000, 5e9} {
		counts := uint64(calibrationTicks) * pitCrystal / pitDivisor / hz
		ticks := counts * pitDivisor * hz / pitCrystal
		mult, perNS := rates(ticks, counts)
		if ns := scale(hz, mult); ns < 999_900_000 || ns > 1_000_100_000 {
			t.Errorf("%d Hz: a second has %d ns", hz, ns)
		}
		if got := scale(1e9, perNS); got < hz-hz/10000 || got > hz+hz/10000 {
			t.Errorf("%d Hz: a second has %d ticks", hz, got)
		}
	}
}

func TestNextTick(t *testing.T) {
	for _, d := range []int64{0, 1, 10_199_999, 10_200_000, 1e12} {
		if n := nextTick(d); n < d || n-d > 10_200_000 || n%10_200_000 != 0 {
			t.Errorf("after %d: %d", d, n)
		}
	}
}
