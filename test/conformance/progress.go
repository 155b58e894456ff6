package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// progress tells a person how far it is: a line for each unit, and what is
// running when there has been none for a while.
type progress struct {
	mu     sync.Mutex
	w      io.Writer
	total  int
	n, old int
	last   time.Time
	active map[string]time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, last: time.Now(), active: map[string]time.Time{}}
}

// quiet is for how long a person is left without a line.
const quiet = time.Minute

// watch says what is running, until stop is called.
func (p *progress) watch() (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.heartbeat()
			case <-end:
				return
			}
		}
	})
	return func() { close(end); done.Wait(); p.close() }
}

func (p *progress) heartbeat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < quiet || len(p.active) == 0 {
		return
	}
	p.last = time.Now()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(p.active)) {
		list = append(list, fmt.Sprintf("%s for %v", name, time.Since(p.active[name]).Round(time.Second)))
	}
	fmt.Fprintf(p.w, "          running: %s\n", strings.Join(list, ", "))
}

// running marks a unit as running until the function it returns is called.
func (p *progress) running(u unit, s side) func() {
	name := fmt.Sprintf("%s (%s)", u.name, s)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active[name] = time.Now()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.active, name)
	}
}

// done tells of a unit that is done. Results that were there already are only
// counted.
func (p *progress) done(c comparison, old bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if old {
		p.old++
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "%4d/%d  %s\n", p.n, p.total, c.line())
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.old > 0 {
		fmt.Fprintf(p.w, "%d of %d results were there already\n", p.old, p.total)
	}
}

// line is what a person reads of a unit.
func (c *comparison) line() string {
	s := fmt.Sprintf("%-36s %4d of %4d  %6.1fs, natively %.1fs", c.name, c.passed, c.native, c.seconds, c.nativeSeconds)
	if c.rounds > 1 {
		s += fmt.Sprintf(", %d rounds", c.rounds)
	}
	for i, g := range c.gaps {
		if i == 3 {
			return s + fmt.Sprintf(" and %d more", len(c.gaps)-i)
		}
		s += " " + g.test
	}
	return s
}
