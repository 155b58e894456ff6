package sensitive

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// corpus is the text of a Go program with its functions.
type corpus struct {
	name  string
	addr  uint64
	text  []byte
	table *gosym.Table
	entry []uint64
}

// corpora are big programs that are there: this test, and the Go tools.
func corpora(t *testing.T) (list []corpus) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{self}
	for _, pattern := range []string{"bin/*", "pkg/tool/linux_amd64/compile"} {
		more, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), filepath.FromSlash(pattern)))
		names = append(names, more...)
	}
	for _, name := range names {
		if c, ok := readCorpus(t, name); ok {
			list = append(list, c)
		}
	}
	return list
}

func readCorpus(t *testing.T, name string) (c corpus, ok bool) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	e, err := elf.NewFile(f)
	if err != nil {
		t.Logf("%s: %v", name, err)
		return c, false
	}
	text := e.Section(".text")
	lines, err := e.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	c = corpus{name: filepath.Base(name), addr: text.Addr, entry: Functions(f, st.Size())}
	if c.text, err = text.Data(); err != nil {
		t.Fatal(err)
	}
	if c.table, err = gosym.NewTable(nil, gosym.NewLineTable(lines, text.Addr)); err != nil {
		t.Fatal(err)
	}
	return c, true
}

// isData names functions that hold bytes which they jump over.
func isData(f *gosym.Func) bool {
	return f == nil || strings.HasPrefix(f.Name, "crypto/internal/boring/sig.")
}

// TestCorpusFunctions compares Functions with debug/gosym.
func TestCorpusFunctions(t *testing.T) {
	for _, c := range corpora(t) {
		if len(c.entry) == 0 || len(c.entry) > len(c.table.Funcs) {
			t.Errorf("%s: %d functions, of %d", c.name, len(c.entry), len(c.table.Funcs))
		}
		at := map[uint64]bool{}
		for _, a := range c.entry {
			at[a] = true
		}
		for i := range c.table.Funcs {
			if f := &c.table.Funcs[i]; !at[f.Entry] {
				t.Errorf("%s: no %s at %#x", c.name, f.Name, f.Entry)
			}
		}
	}
}

// TestCorpusLengths decodes whole programs: every function decodes to its end,
// and x86asm says the same of each instruction that it knows.
func TestCorpusLengths(t *testing.T) {
	for _, c := range corpora(t) {
		n, compared := 0, 0
		for at, in := range instructions(c.text, c.addr, c.entry) {
			n++
			code := c.text[at : at+max(in.length, 1)]
			if in.length == 0 {
				if f := c.table.PCToFunc(c.addr + uint64(at)); !isData(f) {
					t.Errorf("%s: %#x: no instruction", c.name, c.addr+uint64(at))
				}
				continue
			}
			inst, err := x86asm.Decode(code, 64)
			if err != nil || inst.Op == 0 || in.opMap == vector { // Op 0: a prefix by itself, for what it does not know
				continue
			}
			compared++
			if inst.Len != in.length {
				t.Errorf("%s: % x: x86asm decodes %d bytes of it", c.name, code, inst.Len)
			}
		}
		t.Logf("%s: %d instructions, %d compared", c.name, n, compared)
		if n < 100000 || compared < n*9/10 {
			t.Errorf("%s: %d instructions, %d compared", c.name, n, compared)
		}
	}
}

// TestCorpusUnaligned wants what TestCorpusLengths looks for to be found: a
// program decoded from the wrong places does not end with its functions.
func TestCorpusUnaligned(t *testing.T) {
	c := corpora(t)[0]
	shifted := make([]uint64, 0, len(c.entry))
	for _, a := range c.entry {
		shifted = append(shifted, a+2)
	}
	bad := 0
	for _, in := range instructions(c.text, c.addr, shifted) {
		if in.length == 0 {
			bad++
		}
	}
	if bad == 0 {
		t.Error("everything is an instruction")
	}
}

// TestCorpusClasses compares the classes with the names that x86asm has.
func TestCorpusClasses(t *testing.T) {
	ops := map[x86asm.Op]string{
		x86asm.PUSHFQ: "PUSHFQ", x86asm.POPFQ: "POPFQ", x86asm.SYSCALL: "SYSCALL", x86asm.CPUID: "CPUID",
		x86asm.RDTSC: "RDTSC", x86asm.RDTSCP: "RDTSCP", x86asm.XGETBV: "XGETBV", x86asm.INT: "INT", x86asm.IRETQ: "IRETQ",
		x86asm.HLT: "HLT", x86asm.CLI: "CLI", x86asm.STI: "STI", x86asm.IN: "IN", x86asm.OUT: "OUT", x86asm.RDMSR: "RDMSR",
	}
	for _, c := range corpora(t) {
		found := map[uint64]string{}
		for s := range Sites(c.text, c.addr, c.entry) {
			found[s.Addr] = s.Name
		}
		for at, in := range instructions(c.text, c.addr, c.entry) {
			inst, err := x86asm.Decode(c.text[at:at+in.length], 64)
			want, known := ops[inst.Op]
			if err != nil || !known || bytes.Equal(c.text[at:at+in.length], []byte{0xcc}) {
				continue
			}
			if got := found[c.addr+uint64(at)]; got != want {
				t.Errorf("%s: %#x: got %q, want %s", c.name, c.addr+uint64(at), got, want)
			}
		}
	}
}
