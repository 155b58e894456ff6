package compare

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Config says what is compared.
type Config struct {
	Workloads []Workload
	Images    map[string]string // files, by Program; that of "" is the user's
	Ways      []Way
	Runs      int // of each workload in each way
	Runner    Runner
	Progress  io.Writer // for people
}

// Run runs everything. The ways take turns, so that what slows the host down
// for a while does so for all of them.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	r := newReport(cfg)
	for i, w := range cfg.Workloads {
		fmt.Fprintf(cfg.Progress, "[%d/%d] %s ", i+1, len(cfg.Workloads), w.Name)
		begun := time.Now()
		m, err := cfg.measure(ctx, w)
		if err != nil {
			fmt.Fprintln(cfg.Progress)
			return nil, fmt.Errorf("compare %s: %w", w.Name, err)
		}
		fmt.Fprintf(cfg.Progress, " %.1f s\n", time.Since(begun).Seconds())
		r.add(cfg.Ways, w, m)
	}
	r.Summary = r.summary()
	return r, nil
}

// pair is a run with operations and one without.
type pair struct{ with, without Sample }

// measured is all pairs of one workload: those of each way, in its order.
type measured [][]pair

func (cfg *Config) measure(ctx context.Context, w Workload) (measured, error) {
	m := make(measured, len(cfg.Ways))
	for range cfg.Runs {
		for i, way := range cfg.Ways {
			p, err := cfg.pair(ctx, w, way)
			if err != nil {
				return nil, fmt.Errorf("in %v: %w", way, err)
			}
			m[i] = append(m[i], p)
			io.WriteString(cfg.Progress, ".")
		}
	}
	return m, nil
}

func (cfg *Config) pair(ctx context.Context, w Workload, way Way) (p pair, err error) {
	j := Job{Image: cfg.Images[w.Program], Way: way, Args: w.Args, Disk: w.Disk, Net: w.Net}
	if w.Ops == 0 {
		p.with, err = cfg.Runner.Run(ctx, j)
		p.with.Ops, p.with.NS = 1, p.with.Stats.TimeNS.Total
		return p, err
	}
	if p.with, err = cfg.count(ctx, j, w, w.Ops); err != nil {
		return p, err
	}
	p.without, err = cfg.count(ctx, j, w, 0)
	return p, err
}

// count runs a program with n operations.
func (cfg *Config) count(ctx context.Context, j Job, w Workload, n int) (Sample, error) {
	j.Counts, j.Args = true, append([]string{strconv.Itoa(n)}, w.Args...)
	s, err := cfg.Runner.Run(ctx, j)
	if err == nil && s.Ops != n {
		err = fmt.Errorf("%d operations were asked for and %d were done", n, s.Ops)
	}
	return s, err
}
