package build

import (
	"debug/elf"
	"debug/gosym"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// kernelRoots are the Go functions that the guest kernel's assembly enters.
var kernelRoots = []string{
	"pvrun/guest.boot", "pvrun/guest.systemCall", "pvrun/guest.event", "pvrun/guest.events",
	"pvrun/guest.pageTouched", "pvrun/guest.trapFatal",
}

// kernelMayCall are the runtime functions that kernel code may reach: they
// touch no heap, take no lock and never grow a stack. The panics end the
// machine with a guest fault, since the kernel's g has no m.
func kernelMayCall(name string) bool {
	switch {
	case strings.HasPrefix(name, "pvrun/guest."), strings.HasPrefix(name, "pvrun/hypercall."):
		return true
	case strings.HasPrefix(name, "runtime.panic"), strings.HasPrefix(name, "runtime.goPanic"):
		return true
	}
	return slices.Contains([]string{
		"runtime.memmove", "runtime.memclrNoHeapPointers", "runtime.duffzero", "runtime.duffcopy",
		// The check at a function's head; the kernel's g has room (guest/frame.go).
		"runtime.morestack_noctxt", "runtime.morestack_noctxt.abi0",
		"runtime.unsafeslicelen1", "runtime.unsafeslicecheckptr",
		"runtime.panicunsafeslicelen1", "runtime.panicdivide",
	}, name)
}

// TestKernelCallGraph reads the machine code of the guest kernel in a linked
// program: the compiler does not check outside package runtime what may not
// happen there.
func TestKernelCallGraph(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program with the real guest")
	}
	cfg := testConfig(t, ".")
	cfg.sources = nil
	cfg.Dir = writeFiles(t, hello(nil))
	cfg.Output = filepath.Join(t.TempDir(), "hello.img")
	if _, err := Build(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := readProgram(f)
	if err != nil {
		t.Fatal(err)
	}
	w := walker{t: t, p: p, seen: map[string]bool{}}
	for _, root := range kernelRoots {
		fn, ok := p.lookup(root)
		if !ok {
			t.Fatalf("no function %s", root)
		}
		w.walk(fn, root)
	}
	if len(w.seen) < 50 {
		t.Errorf("walked %d functions, expected the whole kernel", len(w.seen))
	}
}

// walker follows direct calls and jumps.
type walker struct {
	t    *testing.T
	p    *program
	seen map[string]bool
}

func (w *walker) walk(fn *gosym.Func, path string) {
	if w.seen[fn.Name] {
		return
	}
	w.seen[fn.Name] = true
	if !strings.HasPrefix(fn.Name, "pvrun/") {
		return // allowed by name; what the runtime does inside is its own
	}
	for addr := fn.Entry; addr < fn.End; {
		inst, err := x86asm.Decode(w.p.bytes(addr), 64)
		if err != nil {
			addr += uint64(max(1, length(w.p.bytes(addr))))
			continue
		}
		next := addr + uint64(inst.Len)
		if to, ok := jumpTarget(inst, next); ok && (to < fn.Entry || to >= fn.End) {
			w.follow(to, path)
		}
		addr = next
	}
}

func (w *walker) follow(to uint64, path string) {
	fn := w.p.function(to)
	if fn == nil {
		w.t.Errorf("%s: jump to %#x, which is no function", path, to)
		return
	}
	if !kernelMayCall(fn.Name) {
		w.t.Errorf("%s → %s: kernel code must not get there", path, fn.Name)
		return
	}
	w.walk(fn, path+" → "+strings.TrimPrefix(fn.Name, "pvrun/guest."))
}

// jumpTarget is where a direct CALL or jump goes.
func jumpTarget(inst x86asm.Inst, next uint64) (uint64, bool) {
	rel, ok := inst.Args[0].(x86asm.Rel)
	if !ok {
		return 0, false
	}
	return next + uint64(int64(rel)), true
}
