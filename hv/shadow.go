package hv

import (
	"errors"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// shadow is what the processor translates with while a guest in trap mode
// believes in its own page tables: a virtual TLB. It is filled on page faults
// and emptied when the guest invalidates; it never grants more than the guest's
// tables do, and nothing outside the guest's memory.
//
// Two rules are the host's own: only the image's text is executable, and text
// is not writable. Sensitive instructions are changed in the text when it is
// loaded, and so there are none elsewhere.
type shadow struct {
	guest guestTables
	views [2]*pageTables // for virtual CPL 0, and for 3

	huge   bool         // a page of 1 GiB has been taken in
	forget func() error // makes the processor forget every translation
}

// shadowPages is how many frames tables of the shadow may take. When they are
// used up all begin anew.
const shadowPages = 2048

// What a page fault comes to.
type shadowOutcome int

const (
	shadowFilled shadowOutcome = iota // go on
	shadowKnown                       // the shadow had it
	shadowGuest                       // the guest's own fault
)

// Faults that no guest of ours can go on after.
var (
	errNoMemoryThere = errors.New("an address without memory behind it")
	errTextWritten   = errors.New("the image's text was written")
	errForeignCode   = errors.New("code outside the image's text")
	errUpperHalf     = errors.New("an address in the upper half, where the host's own pages are")
)

// newShadow makes the tables of both views; system is mapped in each.
func newShadow(eng engine.Engine, mem *memory, guest guestTables, system frame) (*shadow, error) {
	s := &shadow{guest: guest}
	for i := range s.views {
		t, err := newPageTables(mem)
		if err != nil {
			return nil, err
		}
		if err := t.mapSystem(eng, system); err != nil {
			return nil, err
		}
		s.views[i] = t
	}
	return s, nil
}

// addText notes frames of the image's text.
func (s *shadow) addText(first frame, n int) {
	s.guest.text = append(s.guest.text, frameRun{first, frame(n)})
}

func (s *shadow) view(cpl uint8) *pageTables {
	if cpl == 3 {
		return s.views[1]
	}
	return s.views[0]
}

// shadowLarge marks an entry of the shadow: the guest's page is larger.
const shadowLarge entry = 1 << 9

func (tr *translation) size() entry {
	if tr.leaf != nil {
		return 0
	}
	return shadowLarge
}

// lowerHalf ends the addresses that the shadow maps.
const lowerHalf = 1 << 47

// fault answers a page fault at a with the processor's error code, which is of
// CPL 3 always. For shadowGuest, code is the one that the guest is to get.
func (s *shadow) fault(a, hw uint64, cpl uint8) (out shadowOutcome, code uint64, err error) {
	access := hw & (faultWrite | faultExecute)
	if cpl == 3 {
		access |= faultUser
	}
	tr, code, ok := s.guest.walk(a, access)
	switch {
	case !ok && !s.guest.nxe:
		return shadowGuest, code &^ faultExecute, nil
	case !ok:
		return shadowGuest, code, nil
	case a >= lowerHalf:
		return 0, 0, errUpperHalf
	case !s.guest.has(tr.frame):
		return 0, 0, errNoMemoryThere
	case access&faultWrite != 0 && s.guest.text.has(frame(tr.frame)):
		return 0, 0, errTextWritten
	case access&faultExecute != 0 && !s.guest.text.has(frame(tr.frame)):
		return 0, 0, errForeignCode
	}
	out, err = s.fill(s.view(cpl), a, &tr)
	return out, 0, err
}

// fill takes one translation in, and its neighbours with it that the guest has
// marked as accessed: a processor may have those in its TLB, too.
func (s *shadow) fill(t *pageTables, a uint64, tr *translation) (shadowOutcome, error) {
	e := t.slot(a, true)
	if e == nil {
		if err := s.restart(); err != nil {
			return 0, err
		}
		if e = t.slot(a, true); e == nil {
			return 0, errTooSmall
		}
	}
	v := s.entry(t, frame(tr.frame), tr.rights) | tr.size()
	old := e.load()
	if old == v {
		return shadowKnown, nil
	}
	e.store(v)
	s.huge = s.huge || tr.huge
	if old&ptePresent != 0 && (old.frame() != v.frame() || old&^v&pteWrite != 0 || v&^old&pteNX != 0) {
		t.voided(old.frame()) // the guest has changed its tables and not said so
		if err := t.invalidate(); err != nil {
			return 0, err
		}
	}
	s.fillNear(t, tableOf(e), tr)
	return shadowFilled, nil
}

// entry is the shadow's entry for a page with rights.
func (s *shadow) entry(t *pageTables, f frame, rights entry) entry {
	v := entry(f.gpa()) | ptePresent | pteUser | pteUsed | rights&pteGlobal
	writable := rights&pteWrite != 0 || !s.guest.wp && t == s.views[0]
	if writable && rights&pteDirty != 0 && !s.guest.text.has(f) {
		v |= pteWrite
	}
	if rights&pteNX != 0 || !s.guest.text.has(f) {
		v |= pteNX
	}
	return v
}

// fillNear fills what is empty in one table of the shadow.
func (s *shadow) fillNear(t *pageTables, to *[512]entry, tr *translation) {
	for i := range to {
		if to[i].load() != 0 {
			continue
		}
		f, rights := tr.first+uint64(i), tr.rights
		if tr.leaf != nil {
			v := tr.leaf[i].load()
			if v&(ptePresent|pteAccessed) != ptePresent|pteAccessed || v&s.guest.reserved(1, v) != 0 {
				continue
			}
			f = s.guest.frameOf(uint64(v))
			rights = tr.above&(v|^(pteWrite|pteUser)) | v&(pteNX|pteGlobal|pteDirty)
		}
		if s.guest.has(f) && (rights&pteUser != 0 || t == s.views[0]) {
			to[i].store(s.entry(t, frame(f), rights) | tr.size())
		}
	}
}

// invalidatePage drops what is known of one page, whatever its size: of a large
// one all, whether or not the address is in a part that the shadow has. Pages of
// 1 GiB are rare, and not looked for.
func (s *shadow) invalidatePage(a uint64) error {
	switch {
	case a >= lowerHalf:
		return nil
	case s.huge:
		return s.flush(true)
	}
	for _, t := range s.views {
		e := t.slot(a, false)
		if e == nil {
			continue
		}
		t.drop(e, ptePresent)
		for i := range tableOf(e) {
			t.drop(&tableOf(e)[i], shadowLarge)
		}
		if err := t.invalidate(); err != nil {
			return err
		}
	}
	return nil
}

// drop takes an entry of the shadow away that has one of the bits.
func (t *pageTables) drop(e *entry, bits entry) {
	if v := e.load(); v&bits != 0 {
		e.store(0)
		t.voided(v.frame())
	}
}

// flush drops everything, or everything but global pages.
func (s *shadow) flush(global bool) error {
	s.huge = s.huge && !global
	dropped := false
	for _, t := range s.views {
		t.eachTable(func(_ frame, table *[512]entry) {
			for i := range table {
				if v := table[i].load(); v != 0 && (global || v&pteGlobal == 0) {
					table[i].store(0)
					dropped = true
				}
			}
		})
	}
	if !dropped {
		return nil
	}
	return s.forget()
}

// restart gives all tables back but the roots.
func (s *shadow) restart() error {
	s.huge = false
	var used []frame
	for _, t := range s.views {
		t.eachTable(func(f frame, _ *[512]entry) { used = append(used, f) })
		used = append(used, t.upperTables()...)
		clear(t.mem.entries(t.root)[:256])
	}
	if err := s.forget(); err != nil {
		return err
	}
	mem := s.views[0].mem
	for _, f := range used {
		clear(mem.page(f))
		mem.release(f)
	}
	return nil
}

// eachTable calls f for each last-level table of the lower half.
func (t *pageTables) eachTable(f func(at frame, table *[512]entry)) {
	t.eachBelow(t.root, 4, func(at frame, level int) {
		if level == 1 {
			f(at, t.mem.entries(at))
		}
	})
}

// upperTables are the tables of the lower half between the root and the last
// level.
func (t *pageTables) upperTables() (list []frame) {
	t.eachBelow(t.root, 4, func(at frame, level int) {
		if level > 1 {
			list = append(list, at)
		}
	})
	return list
}

// eachBelow calls f for the tables below one, which are in the lower half.
func (t *pageTables) eachBelow(at frame, level int, f func(at frame, level int)) {
	table := t.mem.entries(at)[:]
	if level == 4 {
		table = table[:256]
	}
	for i := range table {
		if v := table[i].load(); v&ptePresent != 0 {
			f(v.frame(), level-1)
			if level > 2 {
				t.eachBelow(v.frame(), level-1, f)
			}
		}
	}
}

// root is where the processor begins to translate at a virtual CPL.
func (s *shadow) root(cpl uint8) hypercall.GPA { return s.view(cpl).root.gpa() }
