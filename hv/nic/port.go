package nic

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/pvrun/pvrun/hypercall"
)

// Port is a link with what is done to the frames that go over it: they are counted
// against a rate, and captured. One goroutine may send while another receives.
type Port struct {
	Limits
	link    Link
	capture *Capture // nil: none
	out, in *rate.Limiter
}

// NewPort makes a port. bytes is how many may go each way in a second, 0 for any
// number.
func NewPort(l Link, mtu int, bytes int64, c *Capture) *Port {
	p := &Port{Limits: Limits{MTU: mtu, Offload: l.Offload}, link: l, capture: c}
	if bytes > 0 {
		burst := int(max(hypercall.MaxFrame, bytes/burstsPerSecond))
		p.out, p.in = rate.NewLimiter(rate.Limit(bytes), burst), rate.NewLimiter(rate.Limit(bytes), burst)
	}
	return p
}

// burstsPerSecond: what comes at once is at most the rate's share of 10 ms, or one
// frame. Timers are not exact enough for much less.
const burstsPerSecond = 100

// Link is what the frames go over.
func (p *Port) Link() Link { return p.link }

// Send is Link.Send. What is sent is charged.
func (p *Port) Send(h *Header, frame []byte) (int, error) {
	n, err := p.link.Send(h, frame)
	if err == nil {
		charge(p.out, n)
		p.capture.Add(frame)
	}
	return n, err
}

// Receive is Link.Receive. What is received is charged, whatever it is.
func (p *Port) Receive(h *Header, frame []byte) (int, error) {
	n, err := p.link.Receive(h, frame)
	if err == nil {
		charge(p.in, n)
		p.capture.Add(frame[:n])
	}
	return n, err
}

// SendAfter and ReceiveAfter are how long the rate has the next frame wait.
func (p *Port) SendAfter() time.Duration    { return after(p.out) }
func (p *Port) ReceiveAfter() time.Duration { return after(p.in) }

// charge takes n bytes off, even those that are not there yet: how long a frame is
// is known when it has been read.
func charge(l *rate.Limiter, n int) {
	if l != nil {
		l.ReserveN(time.Now(), n)
	}
}

func after(l *rate.Limiter) time.Duration {
	if l == nil {
		return 0
	}
	debt := -l.TokensAt(time.Now())
	if debt <= 0 {
		return 0
	}
	return time.Duration(debt/float64(l.Limit())*float64(time.Second)) + 1
}
