package proc

import "time"

// ticker has guest code come out at times. It is looked at while the host waits for
// the child, so it costs no timer of the kernel's.
type ticker struct {
	next  time.Time
	every time.Duration
}

// idle is how often the child is looked after without a tick.
const idle = 100 * time.Millisecond

// SetTick has guest code come out after first, and every so often from then on; 0 and
// 0 for not at all, before the calling thread does something else. It is for who calls Run.
func (v *VCPU) SetTick(first, every time.Duration) {
	v.tick = ticker{every: every}
	if first > 0 {
		v.tick.next = time.Now().Add(first)
	} else {
		v.pace.leave(v.c)
	}
}

// due says whether the time has come, once for each.
func (t *ticker) due(now time.Time) bool {
	if t.next.IsZero() || now.Before(t.next) {
		return false
	}
	t.next = now.Add(t.every)
	return true
}

// left is how long to wait.
func (t *ticker) left(now time.Time) time.Duration {
	if t.next.IsZero() {
		return idle
	}
	return max(0, min(t.next.Sub(now), idle))
}
