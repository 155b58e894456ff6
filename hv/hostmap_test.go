package hv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// mapShare is a machine with two files, open to read and write and to read: handles
// 1 to 4. Each word of a file says which and where it is.
type mapShare struct {
	*share
	files [2]string
}

const filePages = 24

func newMapShare(t *testing.T) *mapShare {
	s := &mapShare{share: newShare(t, true)}
	for i := range s.files {
		name := fmt.Sprint("map", i)
		s.files[i] = filepath.Join(s.dir, name)
		s.fill(i, filePages)
		for j, flags := range []uint32{hypercall.HostFileRDWR, hypercall.HostFileRDONLY} {
			if h := s.open(name, flags); h != int64(2*i+j+1) {
				t.Fatalf("handle %d", h)
			}
		}
	}
	return s
}

// fill writes a file anew, in place.
func (s *mapShare) fill(i, pages int) {
	b := make([]byte, pages*pageSize)
	for at := 0; at < len(b); at += 8 {
		binary.LittleEndian.PutUint64(b[at:], uint64(i+1)<<56|uint64(at))
	}
	if err := os.WriteFile(s.files[i], b, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *mapShare) mapAt(h, at, pages, off uint64, flags hypercall.MapFlag) hypercall.Status {
	return hypercall.Status(-s.do(hypercall.HostFileArgs{
		Op: hypercall.HostFileMap, Handle: h, Buf: hypercall.GVA(at), Length: pages * pageSize, Offset: int64(off * pageSize), Flags: uint32(flags),
	}, ""))
}

const (
	mapsAt   = uint64(0x50_0000_0000) - 8*pageSize // across two tables
	mapPages = 48
)

// modelMap is what is at each page: nothing, memory, or a page of a file.
type modelMap [mapPages]struct {
	file  int // 0 nothing, 1 memory, 2 and 3 a file
	page  uint64
	perm  hypercall.MapFlag
	fixed bool
}

// readable is what a read of a page finds, nil for EFAULT.
func (s *mapShare) wants(m *modelMap, i int, write bool) hypercall.Status {
	p := m[i]
	if p.file == 0 || p.perm == 0 || write && p.perm&hypercall.MapWrite == 0 {
		return hypercall.EFAULT
	}
	if p.file > 1 {
		st, err := os.Stat(s.files[p.file-2])
		if err != nil {
			s.t.Fatal(err)
		}
		if int64(p.page)*pageSize >= st.Size() {
			return hypercall.EFAULT
		}
	}
	return 0
}

func (s *mapShare) compare(m *modelMap) {
	s.t.Helper()
	live := 0
	for i := range m {
		if m[i].file > 1 {
			live++
		}
		var got [16]byte
		at := mapsAt + uint64(i)*pageSize
		st := s.space.copyIn(got[:], at+32)
		if want := s.wants(m, i, false); st != want {
			s.t.Fatalf("page %d, %+v: %v, want %v", i, m[i], st, want)
		}
		if st == 0 && m[i].file > 1 {
			b, err := os.ReadFile(s.files[m[i].file-2])
			if off := m[i].page*pageSize + 32; err != nil || !bytes.Equal(got[:], b[off:off+16]) {
				s.t.Fatalf("page %d, %+v: %x, want %x, %v", i, m[i], got, b[off:off+16], err)
			}
		}
		if st == 0 && m[i].file == 1 && got != [16]byte{} {
			s.t.Fatalf("page %d, memory: %x", i, got)
		}
		if st := s.space.copyOut(at+64, []byte{byte(i)}); st != s.wants(m, i, true) {
			s.t.Fatalf("write to page %d, %+v: %v", i, m[i], st)
		}
	}
	w := s.VM.files.win
	if w == nil {
		return
	}
	for i, a := range w.areas {
		if live -= a.live; a.live <= 0 || i > 0 && a.first < w.areas[i-1].first+w.areas[i-1].n {
			s.t.Fatalf("area %d: %+v", i, a)
		}
	}
	if live != 0 || len(w.void) != 0 {
		s.t.Fatalf("%d pages are in no area, %d in too many; %d runs are not invalidated", max(live, 0), max(-live, 0), len(w.void))
	}
}

// FuzzFileMap compares mappings of files, and memory beside them, with a model: what
// is read is the file's, as far as it goes, and nothing is left over.
func FuzzFileMap(f *testing.F) {
	f.Add([]byte{0, 0, 48, 0, 1, 2, 20, 10, 0, 0, 3, 7, 40, 2, 0, 4, 0, 9, 0, 0, 0, 6, 12, 3, 2})
	f.Add([]byte{0, 0, 9, 0, 0, 5, 3, 3, 1, 1, 5, 3, 3, 3, 3, 1, 2, 4, 0, 0, 6, 0, 0, 0, 0, 8, 0, 0, 0, 9, 7, 0, 2, 20, 3, 2, 0, 48, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		s, m := newMapShare(t), &modelMap{}
		for n := 0; len(program) >= 5 && n < 40; program, n = program[5:], n+1 {
			p := program
			from := int(p[1]) % mapPages
			pages := min(int(p[2])%mapPages+1, mapPages-from)
			perm := []hypercall.MapFlag{0, hypercall.MapRead, hypercall.MapRead | hypercall.MapWrite, hypercall.MapRead}[p[3]%4]
			s.step(m, p[0]%9, from, pages, perm, uint64(p[3]>>2%32), uint64(p[4]))
			s.compare(m)
		}
		s.VM.tables.unmap(pageRange{mapsAt, mapsAt + mapPages*pageSize})
		s.compare(&modelMap{})
		if w := s.VM.files.win; w != nil && len(w.areas) != 0 {
			t.Fatalf("%d areas are left", len(w.areas))
		}
	})
}

// step does one thing to both.
func (s *mapShare) step(m *modelMap, what byte, from, pages int, perm hypercall.MapFlag, off, arg uint64) {
	at, n := mapsAt+uint64(from)*pageSize, uint64(pages)*pageSize
	call := func(nr hypercall.Call, args ...uint64) hypercall.Status {
		var a callArgs
		copy(a[:], args)
		return hypercall.Status(-s.dispatch(nr, a))
	}
	any := func(f func(i int) bool) (found bool) {
		for i := from; i < from+pages; i++ {
			found = found || f(i)
		}
		return found
	}
	each := func(f func(i int)) { any(func(i int) bool { f(i); return false }) }
	switch what {
	case 0, 1, 2: // map a file
		h := arg%4 + 1
		fixed := h%2 == 0
		want := hypercall.Status(0)
		if fixed && perm&hypercall.MapWrite != 0 {
			want = hypercall.EACCES
		}
		if st := s.mapAt(h, at, uint64(pages), off, perm); st != want {
			s.t.Fatalf("map: %v, want %v", st, want)
		}
		if want == 0 {
			each(func(i int) {
				m[i].file, m[i].page, m[i].perm, m[i].fixed = int(h+1)/2+1, off+uint64(i-from), perm, fixed
			})
		}
	case 3:
		call(hypercall.CallUnmap, at, n)
		each(func(i int) { m[i].file = 0 })
	case 4:
		want := hypercall.Status(0)
		switch {
		case any(func(i int) bool { return m[i].file == 0 }):
			want = hypercall.EINVAL
		case any(func(i int) bool { return m[i].fixed && m[i].file > 1 && perm&hypercall.MapWrite != 0 }):
			want = hypercall.EACCES
		}
		if st := call(hypercall.CallProtect, at, n, uint64(perm)); st != want && !(want == hypercall.EINVAL && st == hypercall.EACCES) {
			s.t.Fatalf("protect: %v, want %v", st, want)
		}
		if want == 0 {
			each(func(i int) { m[i].perm = perm })
		}
	case 5:
		if st := call(hypercall.CallMap, at, n, uint64(hypercall.MapRead)); st != 0 {
			s.t.Fatalf("map memory: %v", st)
		}
		each(func(i int) { m[i].file, m[i].perm = 1, hypercall.MapRead })
	case 6: // truncate
		s.fill(int(off%2), int(arg%(filePages+1)))
	case 7:
		call(hypercall.CallDiscard, at, n)
		if st := call(hypercall.CallAlias, 0x60_0000_0000, pageSize, uint64(hypercall.MapRead), at); m[from].file != 1 && st != hypercall.EINVAL {
			s.t.Fatalf("alias of %+v: %v", m[from], st)
		}
	case 8: // as when KVM cannot enter the guest
		if _, err := s.VM.tables.distrust(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestFileMapWindow: the window is bounded, and what is given back is found again.
func TestFileMapWindow(t *testing.T) {
	s := newMapShare(t)
	var given []int
	if err := s.VM.openWindow(); err != nil {
		t.Fatal(err)
	}
	w := s.VM.files.win
	w.give = func(slot int, at hypercall.GPA, mem []byte) error {
		if at != w.first.gpa()+hypercall.GPA(slot-1)*windowStep || len(mem) != windowStep {
			t.Errorf("slot %d: %d bytes at %#x", slot, len(mem), at)
		}
		given = append(given, slot)
		return nil
	}
	const step = windowStep / pageSize
	var all []*area
	for _, n := range []frame{1, step - 1, 1, 3 * step} {
		a, err := w.take(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	if len(given) != 5 || all[3].first != all[0].first+step+1 {
		t.Errorf("%v, %+v", given, all[3])
	}
	if _, err := w.take(frame(len(w.data)/pageSize) - 4*step); err == nil {
		t.Error("more than there is")
	}
	all[1].live, w.empty = 0, true
	if err := w.invalidate(); err != nil {
		t.Fatal(err)
	}
	a, err := w.take(5)
	if b, _ := w.take(step); err != nil || a.first != all[0].first+1 || b.first != all[3].first+3*step {
		t.Errorf("%+v, %+v, %v", a, b, err)
	}
	w.give = func(int, hypercall.GPA, []byte) error { return unix.ENOSPC }
	if _, err := w.take(step); err != unix.ENOMEM {
		t.Errorf("without memory slots: %v", err)
	}
}

// TestFileMapConsole: what a program reads and writes of its console may be a file's
// page, also one that has gone.
func TestFileMapConsole(t *testing.T) {
	s := newMapShare(t)
	var out bytes.Buffer
	s.VM.con.streams[0] = stream{fd: -1, r: bytes.NewReader([]byte("typed"))}
	s.VM.con.streams[1] = stream{fd: -1, w: &out}
	s.mapAt(1, mapsAt, filePages, 0, hypercall.MapWrite)
	at := mapsAt + 5*pageSize
	if n := s.dispatch(hypercall.CallConsoleRead, callArgs{at, 100}); n != 5 {
		t.Fatalf("read: %d", n)
	}
	if n := s.dispatch(hypercall.CallConsoleWrite, callArgs{1, at, 5}); n != 5 || out.String() != "typed" {
		t.Errorf("write: %d, %q", n, out.String())
	}
	if b, err := os.ReadFile(s.files[0]); err != nil || string(b[5*pageSize:][:5]) != "typed" {
		t.Errorf("the file has %q, %v", b[5*pageSize:][:5], err)
	}
	if err := os.Truncate(s.files[0], pageSize); err != nil {
		t.Fatal(err)
	}
	s.VM.con.streams[0].r = bytes.NewReader([]byte("lost"))
	s.errno("read to nowhere", s.dispatch(hypercall.CallConsoleRead, callArgs{at, 100}), hypercall.EFAULT)
	s.errno("write from nowhere", s.dispatch(hypercall.CallConsoleWrite, callArgs{1, at, 5}), hypercall.EFAULT)
}

// TestFileMapNoRoom: a processor with few address bits maps no files.
func TestFileMapNoRoom(t *testing.T) {
	s := newMapShare(t)
	if _, err := newWindow(s.mem, 32, nil); err != unix.ENODEV {
		t.Error(err)
	}
	w, err := newWindow(s.mem, 36, nil)
	if err != nil || w.first.gpa() != 5<<30 || len(w.data) != 59<<30 {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestFileMapPinned: rings read to mapped files and write from copies of them, and
// pin nothing; pages that go meanwhile are no harm.
func TestFileMapPinned(t *testing.T) {
	s := newMapShare(t)
	tables := s.VM.tables
	s.mapAt(1, mapsAt, filePages, 0, hypercall.MapWrite)
	buffer := []hypercall.BlockSegment{{Addr: hypercall.GVA(mapsAt + pageSize - 8), Len: 2 * pageSize}}
	to, from := &blockJob{}, &blockJob{}
	if st := tables.pinAll(to, buffer, true); st != 0 {
		t.Fatal(st)
	}
	if st := tables.pinAll(from, buffer, false); st != 0 {
		t.Fatal(st)
	}
	text := bytes.Repeat([]byte("pinned? "), pageSize/4)
	tables.scatter(to.pieces, text)
	b, err := os.ReadFile(s.files[0])
	if err != nil || !bytes.Equal(b[pageSize-8:][:len(text)], text) || len(to.frames)+len(from.frames) != 0 {
		t.Errorf("%v, %d and %d frames, the file has %q", err, len(to.frames), len(from.frames), b[pageSize-8:][:16])
	}
	if got := binary.LittleEndian.Uint64(from.pieces[0]); got != 1<<56|pageSize-8 {
		t.Errorf("the copy is %#x", got)
	}
	if err := os.Truncate(s.files[0], 0); err != nil {
		t.Fatal(err)
	}
	tables.scatter(to.pieces, text)
	tables.unpin(to)
	tables.unpin(from)
	if st := tables.pinAll(from, buffer, false); st != hypercall.EFAULT {
		t.Errorf("from what has gone: %v", st)
	}
	tables.unpin(from)
	if st, err := os.Stat(s.files[0]); err != nil || st.Size() != 0 {
		t.Errorf("%v, %v", st.Size(), err)
	}
}

// TestFileMapCareful: after a page could not be had, touches bring in no neighbours
// for a while. On a file system that reads holes and cannot fill them, an instruction
// that reads a page and writes the next would otherwise never come to its own fault.
func TestFileMapCareful(t *testing.T) {
	s := newMapShare(t)
	tables := s.VM.tables
	const at = uint64(0x50_0000_0000)
	s.mapAt(1, at, 16, 0, hypercall.MapWrite)
	present := func() (n int) {
		tables.each(pageRange{at, at + 16*pageSize}, false, func(_ uint64, e *entry) hypercall.Status {
			if e.load()&ptePresent != 0 {
				n++
			}
			return 0
		})
		return n
	}
	touchPage := func() {
		if got := tables.faultIn(at+5*pageSize, faultWrite, &readAhead{}); got != touchDone {
			t.Fatal(got)
		}
	}
	if n := present(); n != 16 {
		t.Errorf("%d pages after the mapping", n)
	}
	for i := range carefulTouches {
		if found, err := tables.distrust(); !found || err != nil || present() != 0 {
			t.Fatalf("%v, %v, %d pages", found, err, present())
		}
		if touchPage(); present() != 1 {
			t.Fatalf("time %d: %d pages", i, present())
		}
	}
	tables.win.careful = 0
	tables.each(pageRange{at + 5*pageSize, at + 6*pageSize}, false, func(_ uint64, e *entry) hypercall.Status {
		e.store(e.load()&^ptePresent | pteLazy)
		return 0
	})
	if touchPage(); present() != 16 {
		t.Errorf("%d pages in the end", present())
	}
	if found, _ := tables.distrust(); !found {
		t.Error("nothing was found")
	}
	if found, _ := tables.distrust(); found {
		t.Error("something was found again")
	}
}
