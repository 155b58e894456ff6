package hv

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// callerImage is test/function/caller.
var callerImage = sync.OnceValues(func() (string, error) { return builtOnce("../test/function/caller") })

// firstMAC is the MAC of the machine that is booted; its address is 10.9.0.99.
var firstMAC = [6]byte{2, 0, 0, 0, 0, 99}

// caller is a snapshot of that program, made on a network.
func caller(t *testing.T, l *lan, args ...string) *Snapshot {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img, err := callerImage()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s, err := Boot(ctx, Config{
		Image: img, Args: append([]string{"caller"}, args...), Stderr: os.Stderr, Hostname: "first",
		Messages: true, Ready: hypercall.ReadyMessage,
		NICs: []NIC{{Link: l.plug(t), MAC: firstMAC, Address: "10.9.0.99/16", Gateway: "10.9.0.1", DNS: "10.9.0.1", Search: "first.example"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// card is the NIC of life n, at 10.9.1.n.
func card(t *testing.T, l *lan, n byte) NIC {
	return NIC{
		Link: l.plug(t), MAC: [6]byte{2, 0, 0, 0, 1, n}, Address: fmt.Sprintf("10.9.1.%d/16", n),
		Gateway: "10.9.0.1", DNS: fmt.Sprintf("10.9.2.%d", n), Search: "life.example",
	}
}

func cloneWith(t *testing.T, s *Snapshot, name string, cards ...NIC) *VM {
	t.Helper()
	need.Count(1)
	vm, err := s.New(Clone{Stderr: os.Stderr, Hostname: name, NICs: cards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	return vm
}

func answers(t *testing.T, vm *VM, message, text string) {
	t.Helper()
	if got := ask(t, vm, message); got != text {
		t.Errorf("%s: %q, want %q", message, got, text)
	}
}

// TestCloneNIC: a life has its own interface, and what was connected over that of before is
// reset, whether its address is another or the same.
func TestCloneNIC(t *testing.T) {
	l := newLAN(t)
	s := caller(t, l, "10.9.0.1:81")
	path := filepath.Join(t.TempDir(), "caller.snap")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	opened, err := OpenSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	same := card(t, l, 1)
	same.MAC, same.Address = firstMAC, "10.9.0.99/16"
	for i, s := range []*Snapshot{s, opened} {
		vm := cloneWith(t, s, "clone", card(t, l, byte(i+1)))
		lives(t, vm, fmt.Sprintf("10.9.1.%d", i+1), [6]byte{2, 0, 0, 0, 1, byte(i + 1)})
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		lives(t, vm, fmt.Sprintf("10.9.1.%d", i+1), [6]byte{2, 0, 0, 0, 1, byte(i + 1)})
	}
	vm := cloneWith(t, s, "clone", same)
	answers(t, vm, "old", "reset pipe reset invalid")
	answers(t, vm, "inside", "inside")
	if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasPrefix(got, "host to 10.9.0.99:") {
		t.Error(got)
	}
}

// lives has a life show what it knows of its network.
func lives(t *testing.T, vm *VM, addr string, mac [6]byte) {
	t.Helper()
	if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasPrefix(got, "host to "+addr+":") {
		t.Errorf("fetched %q", got)
	}
	answers(t, vm, "old", "reset pipe reset invalid")
	answers(t, vm, "inside", "inside")
	hw := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5])
	if got := ask(t, vm, "interface"); !strings.HasPrefix(got, hw+" 1500 true "+addr+"/16 fe80::") || strings.Count(got, "/") != 2 {
		t.Errorf("interface %q", got)
	}
	n := netip.MustParseAddr(addr).As4()[3]
	answers(t, vm, "files", fmt.Sprintf("nameserver 10.9.2.%d\nsearch life.example\n--\n127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\tclone\n--\nclone\n", n, addr))
}

// TestCloneNICDown: without NICs the program has its interface, and no link.
func TestCloneNICDown(t *testing.T) {
	l := newLAN(t)
	s := caller(t, l, "10.9.0.1:81")
	vm := cloneWith(t, s, "clone")
	if got := ask(t, vm, "interface"); !strings.Contains(got, " 1500 false fe80::") {
		t.Errorf("interface %q", got)
	}
	answers(t, vm, "old", "reset pipe reset invalid")
	if got := ask(t, vm, "fetch 10.9.0.1:80"); !strings.HasSuffix(got, "network is unreachable") {
		t.Error(got)
	}
	if err := vm.Rewind(); err != nil {
		t.Fatal(err)
	}
	answers(t, vm, "inside", "inside")
	two := []NIC{card(t, l, 1), card(t, l, 2)}
	if _, err := s.New(Clone{NICs: two}); err == nil || !strings.Contains(err.Error(), "2 NICs; the snapshot has 1") {
		t.Error(err)
	}
}
