package network

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

// TestSnapshotNetwork: machines that are made of a snapshot are members of a network, each
// with its own MAC, and reach the host.
func TestSnapshotNetwork(t *testing.T) {
	need.KVM(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			fmt.Fprint(c, "the host")
			c.Close()
		}
	}()
	host := fmt.Sprint("192.168.127.254:", l.Addr().(*net.TCPAddr).Port)
	snap := filepath.Join(t.TempDir(), "caller.snap")
	do := func(args ...string) string {
		t.Helper()
		need.Count(1)
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		defer stop()
		cmd := exec.CommandContext(ctx, pvrun, args...)
		var text strings.Builder
		cmd.Stderr = &text
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("pvrun %q: %v\n%s", args, err, &text)
		}
		return string(out)
	}
	do("snapshot", "--net", "user", "-o", snap, "../function/caller", "--", host)
	if got := do("invoke", snap, "-d", "fetch "+host); got != "the host" {
		t.Errorf("fetched %q", got)
	}
	if got := do("invoke", snap, "--net", "none", "-d", "interface"); !strings.Contains(got, " 1500 false fe80:") {
		t.Errorf("without a network: %q", got)
	}
	const count = 12
	seen := map[string]bool{}
	for line := range strings.Lines(do("invoke", snap, "-n", fmt.Sprint(count), "-c", "4", "--fresh", "--print", "-d", "interface")) {
		mac, rest, _ := strings.Cut(line, " ")
		if seen[mac] = true; !strings.Contains(rest, " true 192.168.127.") {
			t.Errorf("interface %q", line)
		}
	}
	if len(seen) != count {
		t.Errorf("%d MACs of %d machines", len(seen), count)
	}
}
