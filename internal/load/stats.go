package load

import "github.com/pvrun/pvrun/hv"

// Sum is the statistics of several machines together. Counts and times are added; of
// what a machine is, and of memory, the last counts.
type Sum struct {
	Stats    hv.Stats
	Machines int
}

// Add adds a machine's.
func (s *Sum) Add(more hv.Stats) {
	sum := s.Stats
	s.Stats = more // names, sizes, exit code
	s.Machines++
	e := &s.Stats.Exits
	e.Total += sum.Exits.Total
	e.BeforeMain += sum.Exits.BeforeMain
	e.ByReason = merged(sum.Exits.ByReason, e.ByReason)
	e.HandlerNS = merged(sum.Exits.HandlerNS, e.HandlerNS)
	e.Multicall = merged(sum.Exits.Multicall, e.Multicall)
	s.Stats.KVM = lists(sum.KVM, more.KVM)
	t := &s.Stats.TimeNS
	t.Create += sum.TimeNS.Create
	t.Load += sum.TimeNS.Load
	t.ToMain += sum.TimeNS.ToMain
	t.Run += sum.TimeNS.Run
	t.Total += sum.TimeNS.Total
}

// Exits are those to user space, of one of n invocations.
func (s *Sum) Exits(n int) *float64 {
	if n == 0 || s.Machines == 0 {
		return nil
	}
	v := float64(s.Stats.Exits.Total) / float64(n)
	return &v
}

// KernelExits are all exits of one of n invocations, where the kernel counts them.
func (s *Sum) KernelExits(n int) *float64 {
	all := s.Stats.KVM["exits"]
	if n == 0 || len(all) == 0 {
		return nil
	}
	v := float64(all[0]) / float64(n)
	return &v
}

// merged adds b to a; neither changes.
func merged(a, b map[string]uint64) map[string]uint64 {
	if len(a)+len(b) == 0 {
		return b
	}
	sum := make(map[string]uint64, len(b))
	for _, m := range []map[string]uint64{a, b} {
		for name, n := range m {
			sum[name] += n
		}
	}
	return sum
}

// lists adds the values of the kernel's statistics, one by one.
func lists(a, b map[string][]uint64) map[string][]uint64 {
	if len(a)+len(b) == 0 {
		return b
	}
	sum := make(map[string][]uint64, len(b))
	for _, m := range []map[string][]uint64{a, b} {
		for name, list := range m {
			for i, n := range list {
				if i == len(sum[name]) {
					sum[name] = append(sum[name], 0)
				}
				sum[name][i] += n
			}
		}
	}
	return sum
}
