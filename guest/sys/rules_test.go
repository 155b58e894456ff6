// Package sys_test checks what the compiler says of package sys. It does not
// import it: package runtime's part is there in an image only.
package sys_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestArgsStayOnStack: pointers into a goroutine's stack are adjusted only
// where the runtime looks for them, which is not the heap.
func TestArgsStayOnStack(t *testing.T) {
	for _, line := range strings.Split(run(t, "build", "-gcflags=-m", "."), "\n") {
		if strings.HasSuffix(line, "moved to heap: a") || strings.HasSuffix(line, "leaking param: a") {
			t.Error(line)
		}
	}
}

// TestImports: package syscall imports this one.
func TestImports(t *testing.T) {
	deps := strings.Fields(run(t, "list", "-deps", "."))
	for _, bad := range []string{"syscall", "os", "time", "fmt", "io/fs", "reflect"} {
		if slices.Contains(deps, bad) {
			t.Errorf("imports %s", bad)
		}
	}
}
