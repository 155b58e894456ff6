package e2e

import "testing"

// TestSockets has a program with sockets of unix(7) print the same as natively.
func TestSockets(t *testing.T) {
	t.Parallel()
	want := finish(t, nativeCommand(t, sockets))
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, sockets, in(mode, "--net", "none")), 0, want.stdout, "")
	})
}
