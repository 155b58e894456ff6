package pool

import (
	"context"
	"slices"
	"sync"
)

// Turns bounds how many vCPUs run at once. Each party has one turn that is its own, so
// that it always gets on; all others are shared, and handed out to those that wait
// party by party.
type Turns struct {
	mu      sync.Mutex
	shared  int // that are free; negative when there were more of them
	parties []*party
	next    int // whose turn it is
}

// NewTurns makes turns of which n are shared.
func NewTurns(n int) *Turns { return &Turns{shared: n} }

// Share changes how many are shared by n.
func (t *Turns) Share(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shared += n
	t.handOut()
}

// party is one that takes turns.
type party struct {
	turns *Turns
	held  int
	queue []chan struct{}
}

func (t *Turns) join() *party {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &party{turns: t}
	t.parties = append(t.parties, p)
	return p
}

// leave ends a party that holds no turn.
func (p *party) leave() {
	p.turns.mu.Lock()
	defer p.turns.mu.Unlock()
	p.turns.parties = slices.DeleteFunc(p.turns.parties, func(q *party) bool { return q == p })
	p.turns.next = 0
}

// take waits for a turn, or for the end of ctx.
func (p *party) take(ctx context.Context) error {
	t := p.turns
	t.mu.Lock()
	if len(p.queue) == 0 && p.may() {
		p.hold()
		t.mu.Unlock()
		return nil
	}
	got := make(chan struct{})
	p.queue = append(p.queue, got)
	t.mu.Unlock()
	select {
	case <-got:
		return nil
	case <-ctx.Done():
		return p.giveUp(ctx, got)
	}
}

// giveUp leaves the queue, unless the turn came first.
func (p *party) giveUp(ctx context.Context, got chan struct{}) error {
	p.turns.mu.Lock()
	defer p.turns.mu.Unlock()
	i := slices.Index(p.queue, got)
	if i < 0 {
		return nil
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	return context.Cause(ctx)
}

// wanted says whether another party waits for a turn that this one may have instead.
func (p *party) wanted() bool {
	p.turns.mu.Lock()
	defer p.turns.mu.Unlock()
	return slices.ContainsFunc(p.turns.parties, func(q *party) bool { return q != p && len(q.queue) > 0 })
}

func (p *party) may() bool { return p.held == 0 || p.turns.shared > 0 }

func (p *party) hold() {
	if p.held++; p.held > 1 {
		p.turns.shared--
	}
}

// give ends a turn.
func (p *party) give() {
	p.turns.mu.Lock()
	defer p.turns.mu.Unlock()
	if p.held--; p.held > 0 {
		p.turns.shared++
	}
	p.turns.handOut()
}

// handOut gives the turns that are free to those that wait.
func (t *Turns) handOut() {
	for looked := 0; looked < len(t.parties); looked++ {
		t.next = (t.next + 1) % len(t.parties)
		p := t.parties[t.next]
		if len(p.queue) == 0 || !p.may() {
			continue
		}
		p.hold()
		close(p.queue[0])
		p.queue = slices.Delete(p.queue, 0, 1)
		looked = -1
	}
}
