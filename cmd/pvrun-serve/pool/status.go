package pool

import "maps"

// Status is a function at one moment.
type Status struct {
	Ready     bool
	Limits    Limits
	Contract  Contract
	Requests  int   // invocations that have a clone
	Running   int   // clones that have invocations
	Queued    int   // invocations that wait for one
	Idle      int   // clones that wait for an invocation
	Rewinding int   // clones
	Starting  int   // clones
	Closing   int   // clones
	Shared    int64 // bytes of the snapshot
	Own       int64 // bytes of all clones, when they were last looked at
	Counts    Counts
}

// Status tells how it is.
func (f *Function) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Ready: f.current != nil && !f.closed, Limits: f.limits,
		Running: f.busy, Requests: f.running, Queued: len(f.queue), Idle: len(f.ready), Rewinding: f.rewinding,
		Starting: f.making, Closing: f.closing, Own: f.memory, Counts: f.counts,
	}
	if f.current != nil {
		s.Contract = f.current.contract
		s.Shared = f.current.source.Stored()
	}
	s.Counts.Outcomes, s.Counts.Exits = maps.Clone(f.counts.Outcomes), maps.Clone(f.counts.Exits)
	return s
}
