package vol

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
)

// step is one call of a program.
type step struct {
	name string
	do   func(p *program)
}

// program is what runs on a volume before the power goes.
type program struct {
	v      *FS
	open   uint64
	states []string // after each step
	synced int      // which of them a sync was answered for
}

func (p *program) write(path string, n int, off int64, flags int) {
	writeFile(p.v, path, strings.Repeat("x", n), off, flags)
}

// alphabet is the steps that programs are made of.
var alphabet = []step{
	{"create a", func(p *program) { p.write("a", 10, 0, fs.O_CREAT) }},
	{"overwrite a", func(p *program) { p.write("a", 5000, 0, 0) }},
	{"append a", func(p *program) { p.write("a", 300, 40_000, 0) }},
	{"fill a", func(p *program) { p.write("a", 90_000, 0, 0) }}, // enough for a discard when it goes
	{"truncate a", func(p *program) { p.write("a", 1, 0, fs.O_TRUNC) }},
	{"create d/b", func(p *program) { p.write("d/b", 100, 0, fs.O_CREAT) }},
	{"mkdir d", func(p *program) { p.v.Mkdir("d", 0o755) }},
	{"mkdir d/e", func(p *program) { p.v.Mkdir("d/e", 0o755) }},
	{"rename a d/b", func(p *program) { p.v.Rename("a", "d/b") }},
	{"rename d/b a", func(p *program) { p.v.Rename("d/b", "a") }},
	{"rename d/e f", func(p *program) { p.v.Rename("d/e", "f") }},
	{"link a c", func(p *program) { p.v.Link("a", "c") }},
	{"symlink s", func(p *program) { p.v.Symlink("a", "s") }},
	{"remove a", func(p *program) { p.v.Remove("a") }},
	{"remove d/b", func(p *program) { p.v.Remove("d/b") }},
	{"remove d/e", func(p *program) { p.v.Remove("d/e") }},
	{"chmod a", func(p *program) { p.v.Chmod(fs.TreeRef{Path: "a"}, 0o600) }},
	{"open a", func(p *program) { p.close(); p.open, _, _ = p.v.Open("a", fs.O_RDWR, 0) }},
	{"close", (*program).close},
	{"punch a", func(p *program) {
		if h, _, e := p.v.Open("a", fs.O_RDWR, 0); e == 0 {
			p.v.Allocate(h, fs.FALLOC_FL_PUNCH_HOLE|fs.FALLOC_FL_KEEP_SIZE, 1, 1<<20)
			p.v.Close(h)
		}
	}},
	{"sync", func(p *program) { syncAll(p.v) }},
}

func (p *program) close() {
	if p.open != 0 {
		p.v.Close(p.open)
		p.open = 0
	}
}

// epoch is what a device was given between two flushes, and the states that are
// allowed when power goes in it.
type epoch struct {
	base        *overlay // durable
	events      []event
	first, last int
}

// runSteps runs a program, and then a sync. The epochs are what the power can
// go in: between two flushes, and between two steps.
func runSteps(t *testing.T, m *recorder, steps []step) (p *program, epochs []epoch) {
	p = &program{v: mount(t, m, false)}
	p.states = []string{dump(p.v)}
	at := epoch{base: m.overlay.with(nil, nil)}
	for _, s := range append(steps[:len(steps):len(steps)], alphabet[len(alphabet)-1]) {
		m.log = nil
		s.do(p)
		p.states = append(p.states, dump(p.v))
		at.first, at.last = p.synced, len(p.states)-1
		for _, ev := range m.log {
			if ev.flush() {
				epochs = append(epochs, at)
				at.flush()
			} else {
				at.events = append(at.events[:len(at.events):len(at.events)], ev)
			}
		}
		if s.name == "sync" {
			p.synced = at.last
		}
		if len(at.events) > 0 {
			at.first = p.synced
			epochs = append(epochs, at)
		}
	}
	return p, epochs
}

// flush makes what was written durable.
func (e *epoch) flush() {
	e.base, e.events = e.base.with(e.events, all), nil
}

func all(int, int) bool { return true }

// cuts calls f with what a device may hold after the power went in an epoch:
// with every subset of the events when they are few, else some; and with some
// subsets of the sectors.
func (e *epoch) cuts(r *rand.Rand, f func(o *overlay)) {
	image := func(keep func(event, sector int) bool) { f(e.base.with(e.events, keep)) }
	const few, some, torn = 4, 10, 2
	if n := len(e.events); n <= few {
		for set := range 1 << n {
			image(func(i, _ int) bool { return set>>i&1 != 0 })
		}
	} else {
		for range some {
			set := r.Uint64()
			image(func(i, _ int) bool { return set>>(i%64)&1 != 0 })
		}
		image(all)
	}
	for range torn {
		share := r.IntN(100)
		image(func(int, int) bool { return r.IntN(100) < share })
	}
}

// survives looks at what a cut has left.
func survives(p *program, e *epoch, o *overlay) error {
	v, err := Mount(o, Options{ReadOnly: true})
	if err != nil {
		return err
	}
	got, ok := dump(v), false
	for _, s := range p.states[e.first : e.last+1] {
		ok = ok || s == got
	}
	if !ok {
		return fmt.Errorf("got\n%s\nwant one of\n%s", got, strings.Join(p.states[e.first:e.last+1], "or\n"))
	}
	r, lines, err := check(o, false)
	if err != nil || r.Damage > 0 {
		return fmt.Errorf("check: %v\n%s", err, strings.Join(lines, "\n"))
	}
	return nil
}

// goesOn mounts for writing what a cut has left, changes it, and has it checked.
func goesOn(o *overlay) error {
	v, err := Mount(o, Options{})
	if err != nil {
		return err
	}
	v.Mkdir("after", 0o755)
	writeFile(v, "after/f", strings.Repeat("y", 9000), 0, fs.O_CREAT)
	syncAll(v)
	r, lines, err := check(o, false)
	if err != nil || r.Damage > 0 {
		return fmt.Errorf("check after more writes: %v\n%s", err, strings.Join(lines, "\n"))
	}
	return nil
}

// cutEverywhere runs a program and cuts its power everywhere.
func cutEverywhere(t *testing.T, image []byte, noFlush int, steps []step, r *rand.Rand) (err error) {
	m := &recorder{overlay: &overlay{base: image, sectors: map[int64][]byte{}}, noFlush: noFlush}
	p, epochs := runSteps(t, m, steps)
	for _, e := range epochs {
		e.cuts(r, func(o *overlay) {
			if err == nil {
				err = survives(p, &e, o)
			}
			if err == nil && r.IntN(12) == 0 {
				err = goesOn(o)
			}
		})
	}
	return err
}

// startImage is a volume with something in it.
func startImage(t testing.TB, size int64) []byte {
	v, m := fresh(t, size)
	writeFile(v, "a", strings.Repeat("start", 2000), 0, fs.O_CREAT)
	v.Mkdir("d", 0o755)
	writeFile(v, "d/b", "text", 0, fs.O_CREAT)
	want(t, "sync", syncAll(v), 0)
	return m.data
}

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PVRUN_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PVRUN_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func names(steps []step) string {
	var list []string
	for _, s := range steps {
		list = append(list, s.name)
	}
	return strings.Join(list, ", ")
}

// TestPowerShort cuts the power of all programs of up to two steps.
func TestPowerShort(t *testing.T) {
	r := seeded(t)
	image := startImage(t, 1<<20)
	for i := range alphabet {
		for k := range alphabet {
			for _, steps := range [][]step{{alphabet[i], alphabet[k]}, {alphabet[i], alphabet[len(alphabet)-1], alphabet[k]}} {
				if err := cutEverywhere(t, image, 0, steps, r); err != nil {
					t.Fatalf("%s: %v", names(steps), err)
				}
			}
		}
	}
}

// TestPowerRandom does with longer ones: PVRUN_POWER says how many.
func TestPowerRandom(t *testing.T) {
	r := seeded(t)
	image := startImage(t, 1<<20)
	n := 1000
	if s := os.Getenv("PVRUN_POWER"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	for range n {
		steps := make([]step, 3+r.IntN(10))
		for i := range steps {
			steps[i] = alphabet[r.IntN(len(alphabet))]
		}
		if err := cutEverywhere(t, image, 0, steps, r); err != nil {
			t.Fatalf("%s: %v", names(steps), err)
		}
	}
}

// TestPowerSees: the test finds a file system without its first flush, its
// second, or both.
func TestPowerSees(t *testing.T) {
	r := seeded(t)
	image := startImage(t, 1<<20)
	steps := []step{alphabet[1], alphabet[0], alphabet[len(alphabet)-1]}
	for missing := 1; missing <= 3; missing++ {
		var err error
		for range 50 {
			if err = cutEverywhere(t, image, missing, steps, r); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("without flushes %b nothing was lost", missing)
		}
	}
}
