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
	Modes     []string
	Runs      int // of each workload in each mode
	Runner    Runner
	Progress  io.Writer // for people
}

// Run runs everything. The modes take turns, so that what slows the host down
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
		r.add(w, m)
	}
	r.Summary = r.summary()
	return r, nil
}

// pair is a run with operations and one without.
type pair struct{ with, without Sample }

// measured is all pairs of one workload: those of each mode, in its order.
type measured [][]pair

func (cfg *Config) measure(ctx context.Context, w Workload) (measured, error) {
	m := make(measured, len(cfg.Modes))
	for range cfg.Runs {
		for i, mode := range cfg.Modes {
			p, err := cfg.pair(ctx, w, mode)
			if err != nil {
				return nil, fmt.Errorf("in mode %s: %w", mode, err)
			}
			m[i] = append(m[i], p)
			io.WriteString(cfg.Progress, ".")
		}
	}
	return m, nil
}

func (cfg *Config) pair(ctx context.Context, w Workload, mode string) (p pair, err error) {
	j := Job{Image: cfg.Images[w.Program], Mode: mode, Args: w.Args, Disk: w.Disk, Net: w.Net}
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
