package hv

import (
	"errors"
	"maps"
)

// maxKept is how many pages that a life has touched first are left to later ones: a
// page that waits for its first touch costs an exit. Of little memory it is a part, so
// that no life uses up what others need.
const (
	maxKept     = 1024
	maxKeptPart = 8
)

var errTables = errors.New("page tables that were added, and have to stay, take too much memory")

// Rewind makes the machine again what New made of the snapshot, with an instance ID,
// randomness and clocks of another life. It may follow a New or an Invoke that has
// gone well; a machine that something happened to is closed.
//
// What the guest could have changed is its memory, its page tables and registers. Pages
// that were written are those that the kernel has copied for the machine; they get the
// snapshot's contents again and stay, so that the next life does not have them copied
// anew. Page tables are compared and set back entry by entry, through invalidate.
func (vm *VM) Rewind() error {
	switch {
	case vm.from == nil || vm.from.once != nil:
		return &HostError{"rewind", errors.New("the machine was not made of a snapshot that is there")}
	case vm.over() || vm.ran.Load():
		return &HostError{"rewind", errors.New("the machine runs, has ended or is closed")}
	}
	vm.ended = true // unless all of it goes well
	defer vm.net.rest()()
	vm.net.sendLast()
	if err := vm.failure(); err != nil {
		vm.streams.end()
		return &HostError{"rewind", err}
	}
	r := rewind{vm: vm, t: vm.tables, s: vm.from, keep: true}
	if err := r.do(); err != nil {
		vm.streams.end()
		return &HostError{"rewind", err}
	}
	vm.kick.raised.Store(0)
	vm.signals.Store(0)
	vm.con.wants, vm.con.waiting = [3]bool{}, 0
	err := vm.resume()
	vm.net.renew()
	if vm.ended = err != nil; vm.ended {
		vm.streams.end()
	}
	return err
}

// rewind is one way back.
type rewind struct {
	vm   *VM
	t    *pageTables
	s    *Snapshot
	keep bool // pages that were touched first

	kept  []frame // of such pages
	owed  int     // promises that were kept with them
	added []frame // page tables that the snapshot does not have
}

func (r *rewind) do() error {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if err := r.t.invalidate(); err != nil {
		return err
	}
	most := min(maxKept, r.s.seen.left/maxKeptPart)
	r.tables()
	if len(r.kept) > most {
		r.keep, r.kept, r.owed, r.added = false, nil, 0, nil
		r.tables()
	}
	if len(r.added) > most {
		return errTables
	}
	r.owners()
	if err := r.contents(); err != nil {
		return err
	}
	return r.t.invalidate()
}

// tables sets back what differs from the snapshot's.
func (r *rewind) tables() {
	for _, f := range r.s.seen.tables {
		now, then := r.t.mem.entries(f.frame), r.s.base.entries(f.frame)
		if *now == *then {
			continue
		}
		for i := range now {
			switch {
			case now[i] == then[i]:
			case f.shift > 12:
				r.empty(now[i].load().frame(), f.shift-9)
			default:
				r.entry(&now[i], then[i])
			}
		}
	}
}

// empty empties a table that was added. It stays, as tables do.
func (r *rewind) empty(f frame, shift int) {
	r.added = append(r.added, f)
	table := r.t.mem.entries(f)
	for i := range table {
		switch v := table[i].load(); {
		case v == 0:
		case shift > 12:
			r.empty(v.frame(), shift-9)
		default:
			r.entry(&table[i], 0)
		}
	}
}

func (r *rewind) entry(e *entry, then entry) {
	now := e.load()
	if r.keep && r.wasTouched(now, then) {
		r.kept = append(r.kept, now.frame())
		if then&pteOwed != 0 {
			r.owed++
		}
		return
	}
	if now&ptePresent != 0 {
		r.t.voided(now.frame())
	}
	e.store(then)
}

// wasTouched says whether all that has happened to an entry is a first touch. Its page
// is nobody else's, now and in the snapshot.
func (r *rewind) wasTouched(now, then entry) bool {
	return then&pteLazy != 0 && now.holds() && now&^pteAddr == lazyBits(then) &&
		r.s.seen.kind[now.frame()] == 0 && !r.t.mem.shared(now.frame())
}

// owners makes the account of frames the snapshot's, but for those that stay.
func (r *rewind) owners() {
	m, then := r.t.mem, &r.s.seen.frames
	copy(m.free, then.free)
	m.left, m.owed, m.hint, m.extra = then.left, then.owed-r.owed, then.hint, maps.Clone(then.extra)
	for _, list := range [][]frame{r.kept, r.added} {
		for _, f := range list {
			m.free[f/64] &^= 1 << (f % 64)
		}
		m.left -= len(list)
	}
}

// contents gives pages that were written what was in them. Where the snapshot has
// none they are zero, as those who take a frame expect.
func (r *rewind) contents() error {
	dirty, err := r.dirty()
	if err != nil {
		return err
	}
	if r.vm.dirtied.tooMany(len(dirty)) {
		return forRuns(dirty, r.t.mem.forget) // they show the file, or zeros, again
	}
	m, files := r.t.mem, r.s.state.Extents
	for _, f := range dirty {
		for len(files) > 0 && files[0].end() <= f {
			files = files[1:]
		}
		if len(files) > 0 && files[0].First <= f && r.s.seen.kind[f] != 0 {
			copy(m.page(f), r.s.base.page(f))
		} else {
			clear(m.page(f))
		}
	}
	return nil
}

// dirtied knows how many pages lives write: which of those that are the machine's own a
// life has written cannot be told, and what one alone has would be copied for ever.
type dirtied struct {
	usual   int // 0: not known
	rewinds int // since pages were last forgotten
}

const (
	// maxUnusual is by how many pages more than twice as many as usual a life may write.
	maxUnusual = 256
	// forgetEvery is after how many rewinds what is usual is found out anew.
	forgetEvery = 1024
)

// tooMany says whether it is time to forget all pages that were written.
func (d *dirtied) tooMany(n int) bool {
	if d.rewinds++; d.usual == 0 {
		d.usual = n
	}
	if n <= 2*d.usual+maxUnusual && d.rewinds < forgetEvery {
		return false
	}
	*d = dirtied{}
	return true
}

// dirty are the frames that were written, but for page tables and what is the host's own:
// ring 0's pages and the hypercall page, which the snapshot need not have right.
func (r *rewind) dirty() (list []frame, err error) {
	runs, err := r.t.mem.written()
	if err != nil {
		return nil, err
	}
	tables := r.tableSet()
	for _, d := range runs {
		for f := d.First; f < d.end(); f++ {
			if !tables.has(f) && r.s.seen.kind[f]&(frameTable|frameSystem) == 0 && f != r.s.pages.hypercall {
				list = append(list, f)
			}
		}
	}
	return list, nil
}

// frameSet is a set of frames; nil is empty.
type frameSet []uint64

func (s frameSet) has(f frame) bool { return s != nil && s[f/64]&(1<<(f%64)) != 0 }

func (r *rewind) tableSet() frameSet {
	if len(r.added) == 0 {
		return nil
	}
	s := make(frameSet, len(r.t.mem.free))
	for _, f := range r.added {
		s[f/64] |= 1 << (f % 64)
	}
	return s
}
