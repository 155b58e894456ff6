package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sensitiveLines are an image's sensitive instructions without addresses,
// which change with every build of it.
func sensitiveLines(table string) string {
	table, _, _ = strings.Cut(table, "\nOnly in the byte scan")
	table = regexp.MustCompile(`0x[0-9a-f]+ *`).ReplaceAllString(table, "")
	return regexp.MustCompile(`:\d+|  +`).ReplaceAllString(table, " ")
}

// Ordinary programs have no sensitive instruction that nobody has foreseen;
// what the smallest one has is known by name.
func TestSensitive(t *testing.T) {
	t.Parallel()
	for _, p := range []*program{hello, markdown, script, syscalls} {
		got := finish(t, command("inspect", "--sensitive", "--strict", built(t, p.image)))
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%s: got %+v", p.name, got)
		}
		if p != hello {
			continue
		}
		text := sensitiveLines(got.stdout)
		for _, want := range []string{
			"PUSHFQ pv,trap preempt runtime.asyncPreempt", "POPFQ pv,trap preempt runtime.asyncPreempt",
			"INT pv,trap crash runtime.abort", "IRETQ pv,trap guest pvrun/guest.", "\nSystem calls\n none\n",
			"CPUID pv,trap any internal/cpu.cpuid",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", filepath.Base(p.name), want, text)
			}
		}
	}
}
