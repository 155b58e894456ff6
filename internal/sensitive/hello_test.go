package sensitive_test

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/sensitive"
	"github.com/pvrun/pvrun/internal/vmtest"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// TestHello finds in an image what there must be, and nothing that no door is
// known for: the runtime saves the flags when it preempts, and crashes by INT 3.
func TestHello(t *testing.T) {
	f, err := os.Open(vmtest.Image(t, "../../images/hello"))
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
		t.Fatal(err)
	}
	symbols, err := e.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	text := e.Section(".text")
	code, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for s := range sensitive.Sites(code, text.Addr, sensitive.Functions(f, st.Size())) {
		if name := function(symbols, s.Addr); !strings.HasPrefix(name, "pvrun/guest.") {
			got[fmt.Sprintf("%v %s in %s", s.Class, s.Name, name)] = true
		}
	}
	for _, want := range []string{
		"sensitive-unprivileged PUSHFQ in runtime.asyncPreempt", "sensitive-unprivileged POPFQ in runtime.asyncPreempt",
		"other CPUID in runtime.rt0_go", "other CPUID in internal/cpu.cpuid", "other XGETBV in internal/cpu.xgetbv",
	} {
		if !slices.ContainsFunc(keys(got), func(s string) bool { return s == want || s == want+".abi0" }) {
			t.Errorf("no %s in %q", want, keys(got))
		}
		delete(got, want)
		delete(got, want+".abi0")
	}
	for site := range got {
		if !strings.HasPrefix(site, "other ") && !strings.HasPrefix(site, "sensitive-unprivileged INT in runtime.") {
			t.Errorf("unexpected: %s", site)
		}
	}
}

func keys(m map[string]bool) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// function names the function that addr is in.
func function(symbols []elf.Symbol, addr uint64) string {
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && addr >= s.Value && addr-s.Value < s.Size {
			return s.Name
		}
	}
	return ""
}
