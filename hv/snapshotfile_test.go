package hv

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
)

// fakeSnapshot is the file of a snapshot of a machine that is made without KVM.
func fakeSnapshot(t testing.TB) []byte {
	t.Helper()
	return fileOf(t, newTestVM(t, 256), func(*rest) {})
}

// fileOf is the file of a snapshot of a machine, with another description.
func fileOf(t testing.TB, vm *VM, change func(*rest)) []byte {
	t.Helper()
	s := &Snapshot{state: rest{
		Memory: int64(vm.mem.total) << pageShift, Root: vm.tables.root, Regs: engine.Regs{RIP: testText}, Clock: 1,
		Args: []string{"a"}, Hostname: "host",
	}}
	if acc, err := newAccount(vm.mem, vm.tables.root); err == nil {
		s.state.Extents = acc.extents()
	}
	change(&s.state)
	s.base = vm.mem
	for _, x := range s.state.Extents {
		s.stored += x.Pages
	}
	path := filepath.Join(t.TempDir(), "snap")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openBytes(t testing.TB, b []byte) (*Snapshot, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSnapshot(path)
	onceAgrees(t, path, s, err)
	return s, err
}

// refused opens a file that must not open, and returns what is said of it.
func refused(t testing.TB, b []byte) string {
	t.Helper()
	s, err := openBytes(t, b)
	if err == nil {
		s.Close()
		t.Fatal("it was opened")
	}
	var bad *SnapshotError
	if !errors.As(err, &bad) {
		t.Errorf("error %T: %v", err, err)
	}
	return err.Error()
}

func TestSnapshotFile(t *testing.T) {
	b := fakeSnapshot(t)
	s, err := openBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Info(), (SnapshotInfo{Memory: 1 << 20, Stored: int64(s.stored) * pageSize, Args: []string{"a"}, Env: nil, Hostname: "host"}); got.Memory != want.Memory || got.Hostname != want.Hostname {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for n := 0; n < len(b); n += 997 {
		refused(t, b[:n])
	}
	refused(t, append(bytes.Clone(b), 0))
}

// A small file cannot have the host keep accounts of more memory than it has.
func TestSnapshotTooLarge(t *testing.T) {
	if hostMemory() >= MaxMemory {
		t.Skip("this host has as much as a machine may have")
	}
	claim := func(bytes int64) []byte {
		return fileOf(t, newTestVM(t, 256), func(r *rest) { r.Memory = bytes })
	}
	if s, err := openBytes(t, claim(hostMemory())); err != nil {
		t.Error(err)
	} else {
		s.Close()
	}
	if said := refused(t, claim(hostMemory()+pageSize)); !strings.Contains(said, "this host has") {
		t.Error(said)
	}
	b := fakeSnapshot(t)
	h := header(t, b)
	h.Pages = uint64(hostMemory()>>pageShift) + 1 // each has a hash, which may be in a hole of a file
	if said := refused(t, signed(h, b)); !strings.Contains(said, "this host has") {
		t.Error(said)
	}
}

// Any bit that is another is noticed.
func TestSnapshotDamage(t *testing.T) {
	b := fakeSnapshot(t)
	h := header(t, b)
	used := int(pageSize + h.Text + h.Pages*hashSize)
	for i := 0; i < len(b); i++ {
		inPadding := i >= binary.Size(h) && i < pageSize || i >= used && i < int((uint64(used)+pageSize-1)&^(pageSize-1))
		if inPadding || i >= pageSize && i%61 != 0 {
			continue
		}
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		refused(t, bad)
	}
}

func header(t testing.TB, b []byte) (h snapshotHeader) {
	t.Helper()
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// signed is the file with another header whose hash is right.
func signed(h snapshotHeader, b []byte) []byte {
	h.Self = h.sum()
	b = bytes.Clone(b)
	copy(b, h.bytes())
	return b
}

// What was made elsewhere is refused with both sides' names.
func TestSnapshotFromElsewhere(t *testing.T) {
	b := fakeSnapshot(t)
	for _, c := range []struct {
		change func(*snapshotHeader)
		says   string
	}{
		{func(h *snapshotHeader) { h.Format = 9 }, "format 9, this pvrun reads format 2"},
		{func(h *snapshotHeader) { h.ABI = 77 }, "ABI version 77, this pvrun speaks version"},
		{func(h *snapshotHeader) { h.Mode = uint32(hypercall.ModeTrap) }, "mode trap, this pvrun resumes pv"},
		{func(h *snapshotHeader) { h.CPU = [64]byte{'Z', '8', '0'} }, `the processor "Z80", this one is "`},
		{func(h *snapshotHeader) { h.Magic[0]++ }, "not a snapshot"},
	} {
		h := header(t, b)
		c.change(&h)
		if got := refused(t, signed(h, b)); !strings.Contains(got, c.says) {
			t.Errorf("got %q, want %q", got, c.says)
		}
	}
	if got := refused(t, []byte("hello")); !strings.HasSuffix(got, "not a snapshot") {
		t.Errorf("got %q", got)
	}
}

// forge gives a file another description and pages, and right hashes.
func forge(t testing.TB, b []byte, change func(r *rest, page func(frame) []byte)) []byte {
	t.Helper()
	h := header(t, b)
	var r rest
	if err := json.Unmarshal(b[pageSize:pageSize+h.Text], &r); err != nil {
		t.Fatal(err)
	}
	first := (pageSize + h.Text + h.Pages*hashSize + pageSize - 1) &^ (pageSize - 1)
	pages := bytes.Clone(b[first:])
	extents := append([]extent(nil), r.Extents...)
	change(&r, func(f frame) []byte {
		at := 0
		for _, x := range extents {
			if f >= x.First && f < x.end() {
				return pages[(at+int(f-x.First))<<pageShift:][:pageSize]
			}
			at += x.Pages
		}
		return make([]byte, pageSize)
	})
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	h.Text, h.Pages = uint64(len(text)), uint64(len(pages)>>pageShift)
	for i := range int(h.Pages) {
		text = binary.LittleEndian.AppendUint64(text, xxhash.Sum64(pages[i<<pageShift:][:pageSize]))
	}
	h.Hash = xxhash.Sum64(text)
	out := append(signed(h, make([]byte, pageSize)), text...)
	return append(append(out, make([]byte, -len(out)&(pageSize-1))...), pages...)
}

// A file with right hashes is believed nothing: each of these would have the host reach
// beyond the machine's memory, or the guest reach its own page tables or change its text.
func TestSnapshotForged(t *testing.T) {
	b := fakeSnapshot(t)
	if s, err := openBytes(t, forge(t, b, func(*rest, func(frame) []byte) {})); err != nil {
		t.Fatal(err)
	} else {
		s.Close()
	}
	// leaf is the table of an address, root the first.
	entryOf := func(r *rest, page func(frame) []byte, a uint64) []byte {
		at := r.Root
		for shift := 39; ; shift -= 9 {
			e := page(at)[a>>shift&511*8:][:8]
			if shift == 12 {
				return e
			}
			at = entry(binary.LittleEndian.Uint64(e)).frame()
		}
	}
	le := binary.LittleEndian
	tables := map[string]func(r *rest, e []byte, page func(frame) []byte){
		"beyond memory": func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)+1<<30) },
		"below memory":  func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)&^uint64(pteAddr)|pageSize) },
		"a page table": func(r *rest, e []byte, _ func(frame) []byte) {
			le.PutUint64(e, le.Uint64(e)&^uint64(pteAddr)|uint64(r.Root.gpa()))
		},
		"executable":   func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)&^uint64(pteNX)) },
		"supervisor's": func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)&^uint64(pteUser)) },
		"a file's":     func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)|uint64(pteFile)) },
		"a large page": func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, le.Uint64(e)|1<<7) },
		"of nothing":   func(r *rest, e []byte, _ func(frame) []byte) { le.PutUint64(e, uint64(pteUser)) },
		"writable text": func(r *rest, e []byte, page func(frame) []byte) {
			text := le.Uint64(entryOf(r, page, testText))
			le.PutUint64(e, le.Uint64(e)&^uint64(pteAddr)|text&uint64(pteAddr))
		},
		"a system page": func(r *rest, e []byte, page func(frame) []byte) {
			system := le.Uint64(entryOf(r, page, 0xffff_8000_0000_0000))
			le.PutUint64(e, le.Uint64(e)&^uint64(pteAddr)|system&uint64(pteAddr))
		},
	}
	for name, change := range tables {
		t.Run(name, func(t *testing.T) {
			refused(t, forge(t, b, func(r *rest, page func(frame) []byte) { change(r, entryOf(r, page, testData), page) }))
		})
	}
	for name, change := range map[string]func(*rest){
		"no memory":       func(r *rest) { r.Memory = 0 },
		"much memory":     func(r *rest) { r.Memory = 1 << 60 },
		"negative memory": func(r *rest) { r.Memory = -pageSize },
		"odd memory":      func(r *rest) { r.Memory += 5 },
		"root":            func(r *rest) { r.Root = 1 << 30 },
		"another root":    func(r *rest) { r.Root += 5 },
		"extents":         func(r *rest) { r.Extents[0].First = 1 << 31 },
		"overlapping":     func(r *rest) { r.Extents = append(r.Extents, r.Extents[0]) },
		"negative extent": func(r *rest) { r.Extents[0].Pages = -1 },
		"fewer extents":   func(r *rest) { r.Extents = r.Extents[:len(r.Extents)-1] },
		"rip":             func(r *rest) { r.Regs.RIP = 1 << 63 },
		"gs":              func(r *rest) { r.GS = 1 << 47 },
		"upcall":          func(r *rest) { r.Upcall.Entry = 1 << 50 },
		"clock":           func(r *rest) { r.Clock = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, forge(t, b, func(r *rest, _ func(frame) []byte) { change(r) }))
		})
	}
}

// FuzzSnapshot opens files with right hashes and anything inside, and does with what opens
// what a host and its guest do. Each place that is changed is 5 bytes of the input: a
// frame, which 16 bits of it, and what they become.
func FuzzSnapshot(f *testing.F) {
	vm := newTestVM(f, 700)
	vm.cfg.Messages = true
	if err := vm.loadMessages(); err != nil {
		f.Fatal(err)
	}
	loadFakeNICs(f, vm, 1)
	b := fileOf(f, vm, func(r *rest) { r.Messages, r.NICs = true, 1 })
	f.Add([]byte("{}"), []byte{})
	f.Add([]byte{}, []byte{1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, text, changes []byte) {
		le := binary.LittleEndian
		s, err := openBytes(t, forge(t, b, func(r *rest, page func(frame) []byte) {
			_ = json.Unmarshal(text, r)
			r.Memory = min(r.Memory, 1<<30) // more takes long, and is no other
			for ; len(changes) >= 5; changes = changes[5:] {
				p := page(frame(changes[0]))
				le.PutUint16(p[le.Uint16(changes[1:])%(pageSize/2)*2:], le.Uint16(changes[3:]))
			}
		}))
		if err != nil {
			return
		}
		defer s.Close()
		live(t, s)
	})
}

// live does with a snapshot what needs no processor.
func live(t *testing.T, s *Snapshot) {
	vm := &VM{from: s, engine: snapshotEngine, cfg: Config{Memory: s.state.Memory, Messages: s.state.Messages, Hostname: "a"}}
	var err error
	if vm.mem, err = s.memory(true); err != nil {
		return
	}
	defer vm.mem.close()
	vm.mem.frames, vm.mem.notTables = s.seen.frames.clone(), s.seen.used()
	vm.tables = &pageTables{mem: vm.mem, root: s.state.Root, seen: make([]uint64, len(s.seen.free))}
	vm.space = guestMemory{vm.tables}
	if vm.cfg.NICs, err = s.cloneNICs(nil); err != nil {
		t.Fatal(err)
	}
	vm.findPages()
	kvm.HypercallPage(vm.mem.run(s.seen.system, kvm.SystemPages)) // as a processor's are made
	_ = vm.newLife()
	if err := vm.connectNICs(s.pages.rings); err != nil {
		t.Fatal(err)
	}
	defer vm.net.close()
	if m := vm.messages; m != nil {
		*m = messages{vm: vm, frame: m.frame, queue: vm.mem.messageQueue(m.frame), prod: s.state.Prod}
		vm.streams.reset(s.state.Last)
		_, _ = m.put(make([]byte, 20*pageSize), 0)
		m.respond(callArgs{s.state.Last + 1, 0, testData, 8})
		if c, err := vm.streams.open(80); err == nil {
			c.Write([]byte("x"))
			m.bring()
			vm.streams.call(callArgs{c.id, uint64(hypercall.StreamEnd), testData, 8})
		}
	}
	for i, a := range nasty {
		for _, call := range []hypercall.Call{
			hypercall.CallMap, hypercall.CallProtect, hypercall.CallAlias, hypercall.CallDiscard, hypercall.CallUnmap,
		} {
			vm.dispatch(call, callArgs{a, 4 * pageSize, uint64(i % 4), scratch})
		}
		vm.tables.faultIn(a, faultWrite, new(readAhead))
		vm.space.copyOut(a, []byte{1})
	}
	if acc, err := newAccount(vm.mem, s.state.Root); err != nil {
		t.Error(err)
	} else if acc.left != vm.mem.left || acc.owed != vm.mem.owed {
		t.Errorf("%d frames are left and %d owed, the tables say %d and %d", vm.mem.left, vm.mem.owed, acc.left, acc.owed)
	}
	r := rewind{vm: vm, t: vm.tables, s: s, keep: true}
	if err := r.do(); err != nil && err != errTables {
		t.Error(err)
	}
}
