package hv

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
)

// all is one extent with all frames of a machine's.
func all(vm *VM) []extent { return []extent{{0, vm.mem.total}} }

// outside is all of a machine's frames but its system pages, if they are in a row.
func outside(vm *VM) []extent {
	f := vm.tables.slot(engine.SystemGVA, false).load().frame()
	after := f + kvm.SystemPages
	return []extent{{0, int(f)}, {after, vm.mem.total - int(after)}}
}

// Each of these files has right hashes and tables that could be a machine's, and would
// have the host fail later, or the guest get what no call gives it.
func TestSnapshotTraps(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, vm *VM, r *rest){
		// The host takes a free frame for zero: it may become a page table.
		"free frame with contents": func(t *testing.T, vm *VM, r *rest) {
			vm.mem.page(frame(vm.mem.total - 1))[0] = 1
		},
		"system pages with contents": func(t *testing.T, vm *VM, r *rest) { r.Extents = all(vm) },
		// They are five frames in a row, of which the last are not there.
		"one system page": func(t *testing.T, vm *VM, r *rest) {
			for i := range kvm.SystemPages {
				vm.tables.slot(engine.SystemGVA+uint64(i)*pageSize, false).store(0)
			}
			vm.tables.slot(engine.SystemGVA, false).store(systemEntry(kvm.Engine, frame(vm.mem.total-1), 0))
			r.Extents = []extent{{0, vm.mem.total - 1}}
		},
		"no system pages": func(t *testing.T, vm *VM, r *rest) {
			for i := range kvm.SystemPages {
				vm.tables.slot(engine.SystemGVA+uint64(i)*pageSize, false).store(0)
			}
		},
		// The host writes a message where a page is mapped.
		"message data that waits": func(t *testing.T, vm *VM, r *rest) {
			vm.tables.slot(uint64(hypercall.MessageDataGVA), true).store(pteLazy | pteUser | pteUsed | pteNX)
		},
		"message data that is parked": func(t *testing.T, vm *VM, r *rest) {
			f, _ := vm.mem.take()
			vm.tables.slot(uint64(hypercall.MessageDataGVA), true).store(entry(f.gpa()) | pteParked | pteNX)
		},
		"message data that is text": func(t *testing.T, vm *VM, r *rest) {
			f, _ := vm.mem.take()
			vm.tables.slot(uint64(hypercall.MessageDataGVA), true).store(entry(f.gpa()) | ptePresent | pteUser | pteUsed | pteFinal)
		},
		// Calls change what is not final.
		"text that is not final": func(t *testing.T, vm *VM, r *rest) {
			e := vm.tables.slot(testText, false)
			e.store(e.load() &^ pteFinal)
		},
		"text with a second mapping": func(t *testing.T, vm *VM, r *rest) {
			text := vm.tables.slot(testText, false).load()
			vm.tables.slot(testData, false).store(text&pteAddr | ptePresent | pteUser | pteUsed | pteNX)
		},
		"waiting for the supervisor": func(t *testing.T, vm *VM, r *rest) {
			vm.tables.slot(testData+16*pageSize, true).store(pteLazy | pteWrite | pteNX)
		},
		"beyond 32 bits of frames": func(t *testing.T, vm *VM, r *rest) {
			e := vm.tables.slot(testData, false)
			e.store(e.load() + 1<<44)
		},
		"a table beyond 32 bits of frames": func(t *testing.T, vm *VM, r *rest) {
			e := &vm.mem.entries(vm.tables.root)[0]
			e.store(e.load() + 1<<44)
		},
	} {
		t.Run(name, func(t *testing.T) {
			vm := newTestVM(t, 256)
			list := outside(vm)
			refused(t, fileOf(t, vm, func(r *rest) {
				r.Extents = list
				spoil(t, vm, r)
			}))
		})
	}
}

// What becomes of the file after it was opened is nobody's concern: a page of it that is
// gone would be the host's end, and one that has changed was not checked.
func TestSnapshotFileLater(t *testing.T) {
	for name, spoil := range map[string]func(path string, size int64) error{
		"truncated": func(path string, _ int64) error { return os.Truncate(path, 0) },
		"written": func(path string, size int64) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xff}, int(size)), 0)
		},
	} {
		path := filepath.Join(t.TempDir(), "snap")
		b := fakeSnapshot(t)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := spoil(path, int64(len(b))); err != nil {
			t.Fatal(err)
		}
		mem, err := s.memory(true)
		if err != nil {
			t.Fatal(err)
		}
		defer mem.close()
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s: %v", name, r)
				}
			}()
			if _, err := newAccount(mem, s.state.Root); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}()
		path = filepath.Join(t.TempDir(), "again")
		if err := s.Save(path); err != nil {
			t.Fatal(err)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: saved again it is another, or %v", name, err)
		}
	}
}

// A FIFO has no end to wait for.
func TestSnapshotFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snap")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := OpenSnapshot(path); err == nil {
		s.Close()
		t.Error("it was opened")
	}
}

// A guest cannot use up the host process's mappings by what it writes, nor can a file.
func TestSnapshotScattered(t *testing.T) {
	vm := newTestVM(t, 300*(maxGap+2)+256)
	const scattered = 0x10_0000_0000
	n := uint64(300 * (maxGap + 2))
	if s := vm.tables.doMap(scattered, n*pageSize, hypercall.MapRead|hypercall.MapWrite|hypercall.MapLazy); s != 0 {
		t.Fatal(s)
	}
	for a := uint64(scattered); a < scattered+n*pageSize; a += pageSize {
		page, s := vm.tables.pageAt(a, true)
		if s != 0 {
			t.Fatal(s)
		}
		if a>>12%(maxGap+2) == 0 {
			page[0] = 1
		}
	}
	acc, err := newAccount(vm.mem, vm.tables.root)
	if err != nil {
		t.Fatal(err)
	}
	list := acc.extents()
	if n := len(list); n > maxExtents {
		t.Errorf("%d extents", n)
	}
	for f := range frame(vm.mem.total) {
		in := slices.ContainsFunc(list, func(x extent) bool { return x.First <= f && f < x.end() })
		if k := acc.kind[f]; in && k&frameSystem != 0 || !in && k != 0 && k&frameSystem == 0 && !isZero(vm.mem.page(f)) {
			t.Errorf("frame %#x, %d, stored: %v", f, k, in)
		}
	}
	s, err := openBytes(t, fileOf(t, vm, func(*rest) {}))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	refused(t, fileOf(t, vm, func(r *rest) {
		r.Extents = nil
		for f := range frame(maxExtents + 1) {
			r.Extents = append(r.Extents, extent{f * 2, 1})
		}
	}))
}
