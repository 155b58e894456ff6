package hv

import "sync"

// pool is a bounded number of goroutines for what has to wait for the host.
type pool struct {
	mu      sync.Mutex
	queue   []*blockJob
	running int
	all     sync.WaitGroup
}

// maxPool bounds the goroutines that wait at the same time.
const maxPool = 64

// later has a job done by the pool.
func (b *blocks) later(j *blockJob) {
	b.count.waited.Add(1)
	p := &b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, j)
	if p.running < maxPool {
		p.running++
		p.all.Add(1)
		go b.work()
	}
}

// work does jobs until there are none.
func (b *blocks) work() {
	defer b.pool.all.Done()
	defer b.vm.rescue()
	for j := b.pool.next(); j != nil; j = b.pool.next() {
		b.finish(j)
	}
}

// finish is carryOut for the pool. Behind a sync more is likely to come, and at
// once: the worker is woken to look at the rings by itself.
func (b *blocks) finish(j *blockJob) {
	synced := j.syncs()
	b.carryOut(j, func() {})
	if synced && b.spin > 0 && b.crew.awake.Load() == 0 {
		b.bell.ring()
	}
}

// carryOut does a job that has to wait, and calls ready before it answers.
func (b *blocks) carryOut(j *blockJob, ready func()) {
	synced, began := j.syncs(), rdtsc()
	result := b.perform(j, false)
	ready()
	b.complete(j, result, byPool)
	if synced {
		// A moving average; of two that come at once one may be lost.
		b.synced.Store(b.synced.Load()*3/4 + (rdtsc()-began)/4)
	}
}

// next is the oldest job; with nil the goroutine that asks is no longer counted.
func (p *pool) next() *blockJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.running--
		p.queue = nil
		return nil
	}
	j := p.queue[0]
	p.queue = p.queue[1:]
	return j
}

func (p *pool) wait() { p.all.Wait() }
