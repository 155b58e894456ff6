package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// sampled are the packages of the sample: those that lean most on what a
// machine does, and some of every other kind.
var sampled = strings.Fields(`
	runtime/debug runtime/metrics internal/runtime/atomic internal/runtime/maps
	sync sync/atomic time os os/signal io/fs path/filepath context unique weak testing
	strconv strings bytes bufio sort slices container/heap container/list container/ring
	math/big encoding/json encoding/binary encoding/gob compress/flate archive/zip
	crypto/sha256 crypto/aes regexp text/template html/template go/parser reflect log/slog
	unicode/utf8 errors io math/bits hash/crc32 internal/poll syscall
`)

// runSample runs the sample in the machine only, from nothing, and fails when
// a test fails that is not known to.
func (o *options) runSample(ctx context.Context, l *lab, k *known, w io.Writer) error {
	begin := time.Now()
	all, err := stdUnits(ctx, l)
	if err != nil {
		return err
	}
	units := slices.DeleteFunc(all, func(u unit) bool { return !slices.Contains(sampled, u.name) })
	p := newProgress(w)
	p.total = len(units)
	stop := p.watch()
	defer stop()
	results := make([]*result, len(units))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, o.jobs))
	for i, u := range units {
		g.Go(func() error {
			defer p.running(u, o.there())()
			var err error
			results[i], err = u.run(gctx, o.there(), budget{most: sampleTime})
			if err == nil {
				p.sampled(u, results[i])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return judge(units, results, k, time.Since(begin), w)
}

// sampleTime is how long a test binary of the sample may run.
const sampleTime = 2 * time.Minute

func (p *progress) sampled(u unit, r *result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	p.last = time.Now()
	fmt.Fprintf(p.w, "%4d/%d  %-24s %4d passed  %5.1fs\n", p.n, p.total, u.name, len(r.tops(pass)), r.Seconds)
}

// judge prints what fails and the summary.
func judge(units []unit, results []*result, k *known, took time.Duration, w io.Writer) error {
	var passed, skipped, excused int
	var bad []gap
	for i, u := range units {
		r := results[i]
		passed += len(r.tops(pass))
		skipped += len(r.tops(skip))
		for _, g := range failures(u, r, k) {
			if g.capability != unexplained {
				excused++
				continue
			}
			bad = append(bad, g)
			fmt.Fprintf(w, "FAIL %s %s: %s\n", g.pkg, g.test, g.line)
		}
	}
	fmt.Fprintf(w, "sample: %d packages, %d tests passed, %d skipped, %d failed as expected, %d failed; %v\n",
		len(units), passed, skipped, excused, len(bad), took.Round(time.Second))
	if len(bad) > 0 {
		return errors.New("the sample fails")
	}
	return nil
}

// failures are the tests of a package that fail, whether known or not.
func failures(u unit, r *result, k *known) (list []gap) {
	p := pair{unit: u, native: newResult(), here: r, hereAll: r.statuses()}
	for _, name := range append(r.tops(fail), r.tops(down)...) {
		st, subs := p.standing(name)
		list = append(list, p.gap(name, st, subs, k))
	}
	if r.Broken != "" {
		list = append(list, whole(u, r.Broken, 0, k))
	}
	return list
}

// tops are the top-level tests that ended so.
func (r *result) tops(s status) (names []string) {
	for name, st := range r.statuses() {
		if st == s && isTop(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
