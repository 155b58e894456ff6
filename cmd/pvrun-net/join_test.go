package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func mac(i int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255) }

// The first address is what pvrun presumes; each is given once, and again when its
// machine has left.
func TestAddresses(t *testing.T) {
	n := testNetwork(t)
	a, _ := tryJoin(t, n, joinRequest{Name: "a", MAC: mac(1)})
	b, _ := tryJoin(t, n, joinRequest{Name: "b", MAC: mac(2), MTU: 1500})
	want := joined{"192.168.127.2/24", "192.168.127.1", "192.168.127.1", "pvrun.internal", 65520}
	if a.joined != want {
		t.Errorf("got %+v, want %+v", a.joined, want)
	}
	if b.Address != "192.168.127.3/24" || b.MTU != 1500 {
		t.Errorf("second: got %+v", b.joined)
	}
	a.leave()
	if c, text := tryJoin(t, n, joinRequest{Name: "a", MAC: mac(1)}); c.Address != want.Address {
		t.Errorf("after the first has left: got %+v, %s", c.joined, text)
	}
}

func TestFull(t *testing.T) {
	n := testNetwork(t)
	for i := range 252 {
		if _, text := tryJoin(t, n, joinRequest{MAC: mac(i)}); text != "" {
			t.Fatalf("machine %d: %s", i, text)
		}
	}
	if _, text := tryJoin(t, n, joinRequest{MAC: mac(252)}); text != "the network is full" {
		t.Errorf("got %q", text)
	}
}

func TestRefused(t *testing.T) {
	n := testNetwork(t)
	tryJoin(t, n, joinRequest{Name: "web", MAC: mac(1)})
	for _, test := range []struct {
		join joinRequest
		want string
	}{
		{joinRequest{Name: "Web", MAC: mac(2)}, "there is a machine named web on the network already"},
		{joinRequest{Name: "x", MAC: mac(1)}, "there is a machine with the MAC address 02:00:00:00:00:01 on the network already"},
		{joinRequest{Name: "x", MAC: gatewayMAC}, "there is a machine with the MAC address 5a:94:ef:e4:0c:ee on the network already"},
		{joinRequest{Name: "x", MAC: "01:00:00:00:00:00"}, `MAC address "01:00:00:00:00:00": not one of a machine`},
		{joinRequest{Name: "x", MAC: "x"}, `MAC address "x": not one of a machine`},
		{joinRequest{Name: "x", MAC: mac(3), MTU: 100}, "MTU 100: at least 1280"},
		{joinRequest{Name: "host", MAC: mac(3)}, "name host: it is another's on every network"},
		{joinRequest{Name: "a.b", MAC: mac(3)}, `name "a.b": must be lower-case letters, digits and -, 63 at the most`},
	} {
		if _, text := tryJoin(t, n, test.join); text != test.want {
			t.Errorf("%+v: got %q, want %q", test.join, text, test.want)
		}
	}
	for _, text := range []string{
		`{"version":2,"join":{"mac":"02:00:00:00:00:09"}}`, `{"join":{}}`, `{}`, `x`, strings.Repeat(" ", maxMessage+1),
		`{"version":1,"expose":{"network":"tcp","port":80}}`, `{"version":1,"join":{"mac":"02:00:00:00:00:09"}}`,
	} {
		ours, theirs := controlPair(t)
		go control{theirs}.serve(n)
		if r := ask(t, ours, text, nil); r.Error == "" || r.Joined != nil {
			t.Errorf("%.60s: got %+v", text, r)
		}
		ours.Close()
	}
	if len(*n.byMAC.Load()) != 1 {
		t.Errorf("%d machines", len(*n.byMAC.Load()))
	}
}

func TestOutside(t *testing.T) {
	for text, want := range map[string]string{
		"192.168.127.254": "127.0.0.1", "8.8.8.8": "8.8.8.8", "10.0.0.1": "10.0.0.1",
		"127.0.0.1": "", "0.0.0.0": "", "0.1.2.3": "", "224.0.0.1": "", "255.255.255.255": "", "240.0.0.1": "",
		"169.254.169.254": "", "192.168.127.1": "", "192.168.127.9": "", "192.168.127.255": "",
	} {
		to, ok := outside(netip.MustParseAddr(text))
		if ok != (want != "") || ok && to.String() != want {
			t.Errorf("%s: got %v, %v", text, to, ok)
		}
	}
}

// Whoever comes and goes leaves nothing behind.
func TestLeavesNothing(t *testing.T) {
	n := testNetwork(t)
	once := func() {
		g := join(t, n, joinRequest{Name: "x", MAC: mac(1)})
		in := exposed(t, g, 80)
		talk(t, g, in, 1)
		g.leave()
	}
	once()
	before, files := runtime.NumGoroutine(), descriptors(t)
	for range 20 {
		once()
	}
	for i := 0; runtime.NumGoroutine() > before+2 || descriptors(t) > files+2; i++ {
		if i > 300 {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before %d; %d descriptors, before %d\n%s", runtime.NumGoroutine(), before,
				descriptors(t), files, b[:runtime.Stack(b, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
