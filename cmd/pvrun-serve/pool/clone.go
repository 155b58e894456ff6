package pool

import (
	"slices"
	"time"
)

// clone is a machine and what is known of it.
type clone struct {
	machine Machine
	output  Output
	of      *version
	since   time.Time // it is ready
	users   int       // invocations that have it
	session *session  // while it has requests; nil for messages
	used    bool      // its program has had work, since it was made or rewound
	broken  bool      // it cannot go on
	told    bool      // its program has had SIGTERM

	looked time.Time // at what it has done; of the goroutine that has the clone
	seen   look      // then; the function's
}

// look is what a machine was seen to have.
type look struct {
	exits  map[string]uint64 // all of them, by reason
	memory int64             // of its own
}

// lost says whether the machine is, and so is broken.
func (c *clone) lost() bool {
	m, ok := c.machine.(Mortal)
	c.broken = c.broken || ok && m.Lost()
	return ok && m.Lost()
}

// spare is how many clones are to be ready beyond demand, where there is some.
const spare = 1

// grow has clones made that will be needed. The lock is held.
func (f *Function) grow() {
	if f.closed || f.current == nil {
		return
	}
	want := f.limits.Min - f.clones
	if f.busy > 0 || len(f.queue) > 0 {
		want = max(want, f.lacking()-len(f.ready)-f.making-f.rewinding)
	}
	// Those that are closing still have memory.
	want = min(want, f.limits.Max-f.clones, 2*f.limits.Max-f.clones-f.closing)
	for range want {
		f.clones++
		f.making++
		f.current.users++
		go f.make(f.current)
	}
}

// lacking is how many clones are to be there beside those at work. The lock is held.
func (f *Function) lacking() int {
	n := f.places(f.current)
	list := (len(f.queue) + n - 1) / n
	if f.roomy() == nil {
		list += spare
	}
	return list
}

// make makes a clone. One that cannot be made is the failure of who waits for it.
func (f *Function) make(v *version) {
	c := &clone{of: v, output: f.output()}
	var err error
	c.machine, err = v.source.New(c.output.Stdout(), c.output.Stderr())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.making--
	if err == nil {
		f.counts.Made++
		f.offer(c, true)
		return
	}
	f.trouble(err)
	f.clones--
	f.release(v)
	f.gone.Broadcast()
	if f.hand(handed{cold: true, err: err}) {
		f.grow() // for the others
	}
}

// offer has a clone that is ready take invocations, or wait for one. The lock is held.
func (f *Function) offer(c *clone, cold bool) {
	switch {
	case f.closed || c.of != f.current || f.clones > f.limits.Max, c.used && !f.limits.Reuse:
		f.drop(c)
		f.grow()
	case f.hand(handed{clone: c, cold: cold}):
		f.fill(c, cold)
		f.grow()
	default:
		c.since = time.Now()
		f.ready = append(f.ready, c)
	}
}

// fill has those that wait use the room that a clone at work has. The lock is held.
func (f *Function) fill(c *clone, cold bool) {
	for f.room(c) && f.hand(handed{clone: c, cold: cold}) {
	}
}

// seat counts one more who has the clone. The lock is held.
func (f *Function) seat(c *clone) {
	c.users++
	f.running++
	if c.users > 1 || c.session != nil {
		return
	}
	f.busy++
	if c.of.contract == HTTP {
		f.begin(c)
	}
}

// unseat is the opposite. The lock is held.
func (f *Function) unseat(c *clone) {
	c.users--
	f.running--
}

// put gives back a clone that a waiter had and did not use.
func (f *Function) put(c *clone) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unseat(c)
	f.busy--
	f.offer(c, false)
}

// did has a clone that was invoked made ready again, if it has answered, or taken away.
// The turn that it has had lasts until then: rewinding is work of the function's, too.
func (f *Function) did(c *clone, answered bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unseat(c)
	f.busy--
	c.used, c.broken = true, !answered
	if f.limits.Fresh && !f.limits.Reuse || !answered {
		f.turns.give()
		f.drop(c)
		f.grow()
		return
	}
	f.rewinding++
	go f.renew(c, f.limits.Reuse)
}

// renew makes a clone ready for the next invocation.
func (f *Function) renew(c *clone, asItIs bool) {
	seen := c.look(time.Now(), false)
	var err error
	if !asItIs {
		err = c.machine.Rewind()
		c.used = false
	}
	f.turns.give()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rewinding--
	f.saw(c, seen)
	if err != nil {
		c.broken = true
		f.trouble(err)
		f.drop(c)
		f.grow()
		return
	}
	f.offer(c, false)
}

// drop closes a clone that is in no list any more. One that has state, as those have that
// are used as they are, is told before. The lock is held.
func (f *Function) drop(c *clone) {
	f.clones--
	f.closing++
	tell, grace := f.limits.Reuse && c.used && !c.broken, f.limits.Grace
	go func() {
		if tell {
			f.terminate(c, grace)
		}
		seen := c.look(time.Now(), true)
		err := c.machine.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.saw(c, seen)
		if err != nil {
			f.trouble(err)
		}
		f.counts.Closed++
		f.closing--
		f.release(c.of)
		f.grow()
		f.gone.Broadcast()
	}()
}

// dropReady closes all clones that wait for an invocation. The lock is held.
func (f *Function) dropReady() {
	for _, c := range f.ready {
		f.drop(c)
	}
	f.ready = nil
}

// Tick closes clones for which there is no demand, and makes those that are to be there.
// It is to be called now and then.
func (f *Function) Tick(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLost()
	f.trim(now)
	f.grow()
}

// dropLost closes clones that are lost. The lock is held.
func (f *Function) dropLost() {
	f.ready = slices.DeleteFunc(f.ready, func(c *clone) bool {
		lost := c.lost()
		if lost {
			f.drop(c)
		}
		return lost
	})
}

// trim closes clones that are too many, or idle for too long. The lock is held.
func (f *Function) trim(now time.Time) {
	for len(f.ready) > 0 {
		idle := f.clones > f.limits.Min && f.limits.Idle > 0 && now.Sub(f.ready[0].since) >= f.limits.Idle
		if !idle && f.clones <= f.limits.Max {
			return
		}
		f.drop(f.ready[0])
		f.ready = f.ready[1:]
	}
}

// lookEvery is how often a clone is looked at: it takes longer than a short invocation.
const lookEvery = time.Second

// look asks the machine what it has done and what it has; nil when it was asked not
// long ago.
func (c *clone) look(now time.Time, last bool) *look {
	if !last && now.Sub(c.looked) < lookEvery {
		return nil
	}
	c.looked = now
	seen := &look{exits: c.machine.Stats().Exits.ByReason}
	if !last {
		seen.memory = c.machine.OwnMemory()
	}
	return seen
}

// saw adds what is new. The lock is held.
func (f *Function) saw(c *clone, seen *look) {
	if seen == nil {
		return
	}
	for reason, n := range seen.exits {
		f.counts.Exits[reason] += n - c.seen.exits[reason]
	}
	f.memory += seen.memory - c.seen.memory
	c.seen = *seen
}
