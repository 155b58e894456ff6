package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// runAll runs what has no fresh result, each unit natively first: how long that
// takes says how long the other side may.
func (o *options) runAll(ctx context.Context, l *lab, units []unit, p *progress) error {
	p.total = len(units)
	stop := p.watch()
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, o.jobs))
	for _, u := range units {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return o.runUnit(ctx, l, u, p)
		})
	}
	return g.Wait()
}

func (o *options) runUnit(ctx context.Context, l *lab, u unit, p *progress) error {
	n, old, err := o.runSide(ctx, l, u, native, budget{most: o.most}, p)
	if err != nil {
		return err
	}
	h, oldHere, err := o.runSide(ctx, l, u, o.there(), budget{o.most, n}, p)
	if err != nil {
		return err
	}
	p.done(compare(u, n, h, newKnown(nil)), old && oldHere)
	return nil
}

// runSide is the stored result of a unit, or a new one, which it stores.
func (o *options) runSide(ctx context.Context, l *lab, u unit, s side, b budget, p *progress) (r *result, old bool, err error) {
	if r, err = l.fresh(u, s); err != nil || r != nil {
		return r, true, err
	}
	defer p.running(u, s)()
	begin := time.Now()
	if r, err = u.run(ctx, s, b); err != nil {
		return nil, false, err
	}
	r.Key, r.Wall = l.key(u, s), time.Since(begin).Seconds()
	return r, false, l.store(u, s, r)
}
