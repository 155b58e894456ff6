// Package fleet keeps functions as they are configured: it boots them, notices when
// their images change, and takes them away.
package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/config"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// Fleet is all functions of a gateway.
type Fleet struct {
	log     *slog.Logger
	gateway *gateway.Gateway
	turns   *pool.Turns
	booting *semaphore.Weighted // boots at once: they take a processor each
	ctx     context.Context     // of boots
	stop    context.CancelFunc
	beside  sync.WaitGroup

	mu      sync.Mutex
	shared  int // turns
	members map[string]*member
	leaving map[*member]bool
}

// member is one function.
type member struct {
	config config.Function
	shown  *gateway.Function
	cancel context.CancelFunc // of its boot
	boots  int                // how many have begun

	tried boot.Stamp // of the image that the last boot was of
	seen  boot.Stamp // when it was looked at last
}

// source boots a program. Tests have another.
var source = boot.Program.Source

// New makes a fleet without functions.
func New(log *slog.Logger, g *gateway.Gateway) *Fleet {
	f := &Fleet{
		log: log, gateway: g, turns: pool.NewTurns(0), members: map[string]*member{}, leaving: map[*member]bool{},
		booting: semaphore.NewWeighted(int64(runtime.NumCPU())),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Apply makes the fleet what c says. Functions whose programs differ are booted anew, or
// all if that is wanted; until they are ready the old ones answer. The result is for
// when the boots are over: their errors.
func (f *Fleet) Apply(c config.Config, all bool) (wait func() []error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turns.Share(c.Running - f.shared)
	f.shared = c.Running
	var boots []<-chan error
	next := map[string]*member{}
	for _, fc := range c.Functions {
		m := f.members[fc.Name]
		again := all
		if m == nil {
			m, again = f.newMember(fc), true
		}
		if m.set(fc) || again {
			boots = append(boots, f.boot(m))
		}
		next[fc.Name] = m
	}
	gone := f.members
	f.members = next
	f.show(c)
	for name, m := range gone {
		if next[name] == nil {
			f.removeLater(m)
		}
	}
	return func() (errs []error) {
		for _, done := range boots {
			if err := <-done; err != nil {
				errs = append(errs, err)
			}
		}
		return errs
	}
}

// Threads is how many of the host's may run vCPUs at once.
func (f *Fleet) Threads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shared + len(f.members)
}

// show has the gateway serve what there is, in the configuration's order.
func (f *Fleet) show(c config.Config) {
	var list []*gateway.Function
	for _, fc := range c.Functions {
		list = append(list, f.members[fc.Name].shown)
	}
	f.gateway.SetFunctions(list)
}

func (f *Fleet) newMember(c config.Function) *member {
	log := f.log.With("function", c.Name)
	out := logs.NewProgram(log)
	p := pool.New(c.Limits, f.turns, out.Output, func(err error) {
		if err != nil {
			log.Error("host: " + err.Error())
		}
	})
	return &member{config: c, shown: gateway.NewFunction(c.Name, c.Path, c.Host, p, out), cancel: func() {}}
}

// set takes a new configuration, and says whether the program has to be booted for it.
func (m *member) set(c config.Function) (boot bool) {
	old := m.config
	m.config = c
	m.shown.Pool.SetLimits(c.Limits)
	if old.Path != c.Path || old.Host != c.Host {
		m.shown = m.shown.At(c.Path, c.Host)
	}
	return !reflect.DeepEqual(old.Program, c.Program)
}

// boot boots the member's program beside, and then has it answer; a boot that is under
// way already is given up. The lock is held.
func (f *Fleet) boot(m *member) <-chan error {
	m.cancel()
	ctx, cancel := context.WithCancel(f.ctx)
	m.cancel, m.tried = cancel, m.config.Program.Stamp()
	m.seen = m.tried
	m.boots++
	number, config, out := m.boots, m.config, m.shown.Logs.Output()
	done := make(chan error, 1)
	f.beside.Go(func() {
		defer cancel()
		s, err := f.bootNow(ctx, config, out)
		done <- f.booted(m, number, s, err)
	})
	return done
}

func (f *Fleet) bootNow(ctx context.Context, c config.Function, out pool.Output) (pool.Source, error) {
	if err := f.booting.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer f.booting.Release(1)
	begin := time.Now()
	s, err := source(c.Program, ctx, out)
	if err == nil {
		f.log.Info("ready", "function", c.Name, "image", c.Program.From, "took", time.Since(begin), "bytes", s.Stored())
	}
	return s, err
}

// booted has the new version answer. One that is late or bad changes nothing.
func (f *Fleet) booted(m *member, number int, s pool.Source, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case number != m.boots && err == nil:
		if err := s.Close(); err != nil {
			f.log.Error("host: "+err.Error(), "function", m.config.Name)
		}
		return nil
	case number != m.boots:
		return nil
	case err != nil:
		text := fmt.Sprintf("function %s: %v", m.config.Name, err)
		if m.shown.Pool.Ready() {
			f.log.Error("not reloaded, the old one answers", "function", m.config.Name, "error", err)
		} else {
			f.log.Error("not ready", "function", m.config.Name, "error", err)
		}
		m.shown.SetTrouble(strings.TrimSpace(err.Error()))
		return &BootError{text, err}
	}
	m.shown.SetTrouble("")
	m.shown.Pool.Swap(s)
	return nil
}

// BootError is a function that could not be booted.
type BootError struct {
	text string
	err  error
}

func (e *BootError) Error() string { return e.text }
func (e *BootError) Unwrap() error { return e.err }

// removeLater has remove run beside. The lock is held.
func (f *Fleet) removeLater(m *member) {
	m.cancel()
	m.boots++ // one that is under way is late
	f.leaving[m] = true
	f.beside.Go(func() { f.remove(m) })
}

// remove takes a function away when what runs has ended.
func (f *Fleet) remove(m *member) {
	m.shown.Pool.Close()
	m.shown.Logs.Tell()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.leaving, m)
	if f.members[m.config.Name] == nil { // there may be another one of that name
		f.gateway.Forget(m.shown)
	}
}

// Tick is to be called each second: it looks for images that have changed, and has idle
// clones closed.
func (f *Fleet) Tick(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		m.shown.Pool.Tick(now)
		m.shown.Logs.Tell()
		if m.changed() {
			f.log.Info("the image has changed", "function", m.config.Name, "image", m.config.Program.From)
			f.boot(m)
		}
	}
}

// changed says whether there is another image, that nobody writes any more.
func (m *member) changed() bool {
	now := m.config.Program.Stamp()
	settled := now == m.seen
	m.seen = now
	return settled && now != m.tried && now != (boot.Stamp{})
}

// Terminate asks the programs that have requests yet to end: they get SIGTERM.
func (f *Fleet) Terminate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		m.shown.Pool.Terminate()
	}
	for m := range f.leaving {
		m.shown.Pool.Terminate()
	}
}

// Close takes all functions away when their invocations have ended. When ctx is over
// requests and programs that were asked to end have no more time.
func (f *Fleet) Close(ctx context.Context) {
	f.stop()
	f.mu.Lock()
	for _, m := range f.members {
		f.removeLater(m)
	}
	f.members = map[string]*member{}
	f.mu.Unlock()
	defer context.AfterFunc(ctx, f.kill)()
	f.beside.Wait()
}

func (f *Fleet) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.leaving {
		m.shown.Pool.Kill()
	}
}
