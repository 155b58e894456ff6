package proc

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// pace follows how long guest code runs from one exit to the next, and has the child
// and the host's thread wait for each other as it is cheapest:
//
//   - apart, on two processors, looking without a break, while exits follow each other
//     quickly: that is 0.1 µs each way;
//   - together, on one processor, sleeping in turn: to wake a thread of the same
//     processor is cheaper by far than to interrupt another one;
//   - free, where the scheduler wants them, while guest code computes.
type pace struct {
	way    way
	mean   uint64 // of the guest's turns, TSC ticks
	exits  int    // since the way was last thought over
	begun  uint64 // TSC at the last turn given
	second uint64 // TSC ticks in one

	pinned bool
	old    unix.CPUSet // what the host's thread and the child may use
}

type way int

const (
	together way = iota
	apart
	free
)

const (
	thinkEvery = 32 // exits
	apartBelow = 20 // µs of a turn
	freeAbove  = 500
	lookFor    = 40  // µs, for the host
	childLooks = 500 // turns of a loop with a PAUSE
)

func (p *pace) us(n uint64) uint64 { return p.second / 1_000_000 * n }

// start notes that the child gets the turn. It returns for how long the child is to look
// for its next one before it sleeps.
func (p *pace) start(c *child) (looks uint32) {
	if p.pinned != (p.way == together) {
		p.pin(c, p.way == together)
	}
	p.begun = rdtsc()
	if p.way == apart {
		return childLooks
	}
	return 0
}

// stop notes that the turn is over.
func (p *pace) stop() {
	if took := rdtsc() - p.begun; took < p.mean {
		p.mean -= (p.mean - took) / 8
	} else {
		p.mean += (took - p.mean) / 8
	}
	if p.exits++; p.exits < thinkEvery {
		return
	}
	p.exits = 0
	switch {
	case p.mean < p.us(apartBelow) && runtime.NumCPU() > 1:
		p.way = apart
	case p.mean < p.us(freeAbove):
		p.way = together
	default:
		p.way = free
	}
}

// tick is for a turn that lasts: guest code computes, wherever the scheduler likes.
func (p *pace) tick(c *child) {
	p.way, p.mean, p.exits = free, p.us(2*freeAbove), 0
	p.leave(c)
}

// look waits for the host's turn without sleeping, and says whether it has come.
func (p *pace) look(ctl control) bool {
	if p.way != apart {
		return ctl.mine()
	}
	for end := p.begun + p.us(lookFor); rdtsc() < end; {
		for range 16 {
			if ctl.mine() {
				return true
			}
			pause(1)
		}
	}
	return ctl.mine()
}

// pin puts the calling thread and the child on the processor that it runs on, or lets
// them go where they could before. Without leave to do so they stay where they are, and
// where it cannot be told where they could be.
func (p *pace) pin(c *child, on bool) {
	p.pinned = on
	var one unix.CPUSet
	switch {
	case !on && p.old.Count() == 0:
	case !on:
		_ = unix.SchedSetaffinity(0, &p.old)
		c.allow(&p.old)
	case unix.SchedGetaffinity(0, &p.old) != nil: // there are more than CPUSet has
		p.old = unix.CPUSet{}
	default:
		one.Set(currentCPU())
		_ = unix.SchedSetaffinity(0, &one)
		c.allow(&one)
	}
}

// leave is for a thread that will do something else.
func (p *pace) leave(c *child) {
	if p.pinned {
		p.pin(c, false)
	}
}
