package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// envChild has the test binary be a pvrun that is killed, for TestKilled.
const envChild = "NETWORK_CHILD"

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if path := os.Getenv(envChild); path != "" {
		Helper = func() (string, error) { return path, nil }
		return child()
	}
	dir, err := os.MkdirTemp("", "pvrun-network-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	path := filepath.Join(dir, helperName)
	cmd := exec.Command("go", "build", "-C", "../../cmd/pvrun-net", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: build pvrun-net: %v\n%s", err, out)
		return 1
	}
	Helper = func() (string, error) { return path, nil }
	return m.Run()
}

// child joins a network, with a port where it can, says so, and waits to be killed.
func child() int {
	target, err := ParseTarget(os.Args[1])
	if err != nil {
		panic(err)
	}
	c := Config{Target: target}
	if target.Kind == User {
		c.Ports = []Port{{Host: netip.MustParseAddrPort("127.0.0.1:0"), Guest: 80}}
	}
	l, err := Open(c)
	if err != nil {
		panic(err)
	}
	if target.Kind == User {
		fmt.Println(l.Ports[0].Host)
	} else {
		fmt.Println("open")
	}
	time.Sleep(time.Minute)
	return 0
}

func open(t *testing.T, c Config) *Link {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// helpers are the processes that pvrun-net of this test runs as.
func helpers(t *testing.T) (list []int) {
	t.Helper()
	path, _ := Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if exe, err := os.Readlink(dir + "/exe"); err == nil && exe == path {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			list = append(list, pid)
		}
	}
	return list
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not in five seconds: %s", what)
}

func noHelpers(t *testing.T) {
	t.Helper()
	eventually(t, "pvrun-net ends", func() bool { return len(helpers(t)) == 0 })
}

// arp asks the gateway for its hardware address, and returns who answers.
func arp(t testing.TB, l *Link) net.HardwareAddr {
	t.Helper()
	own := netip.MustParsePrefix(l.Address).Addr().As4()
	f := append(make([]byte, 10), 255, 255, 255, 255, 255, 255)
	f = append(append(f, l.MAC[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	f = append(append(append(f, l.MAC[:]...), own[:]...), 0, 0, 0, 0, 0, 0)
	gateway := netip.MustParseAddr(l.Gateway).As4()
	f = append(f, gateway[:]...)
	if _, err := unix.Write(l.FD, f); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		p := []unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLIN}}
		unix.Poll(p, 100)
		n, err := unix.Read(l.FD, b)
		if err == nil && n >= 52 && b[22] == 8 && b[23] == 6 && b[31] == 2 {
			return net.HardwareAddr(b[32:38])
		}
	}
	t.Fatal("the gateway does not answer")
	return nil
}

func TestPrivate(t *testing.T) {
	l := open(t, Config{Target: Target{Kind: User}, Gone: func(err error) { t.Error(err) }})
	if l.Address != "192.168.127.2/24" || l.MTU != 65520 || l.MAC[0]&3 != 2 || l.Search != "pvrun.internal" || l.DHCP || l.Offload {
		t.Errorf("got %+v", l)
	}
	if got := arp(t, l).String(); got != "5a:94:ef:e4:0c:ee" {
		t.Errorf("the gateway is %s", got)
	}
	l.Close()
	noHelpers(t)
	time.Sleep(50 * time.Millisecond) // for Gone, were it called
}

// What a network of its own is presumed to be it is, with another MTU too.
func TestPresumed(t *testing.T) {
	l := open(t, Config{Target: Target{Kind: User}, MTU: 9000, Machine: "Web-1", Gone: func(err error) { t.Error(err) }})
	arp(t, l)
	if l.MTU != 9000 {
		t.Errorf("MTU %d", l.MTU)
	}
}

// A port is taken when Open returns, and free when Close does.
func TestPorts(t *testing.T) {
	any := netip.MustParseAddrPort("127.0.0.1:0")
	c := Config{Target: Target{Kind: User}, Ports: []Port{{any, 80, false}, {any, 53, true}}}
	l := open(t, c)
	for i, p := range l.Ports {
		if p.Host.Port() == 0 || c.Ports[i].Host.Port() != 0 {
			t.Errorf("port %v", p)
		}
	}
	_, err := Open(Config{Target: Target{Kind: User}, Ports: l.Ports[:1]})
	if want := fmt.Sprintf("-p %v: port %d of 127.0.0.1 is already in use", l.Ports[0], l.Ports[0].Host.Port()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err = Open(Config{Target: Target{Kind: User}, Ports: l.Ports[1:]}); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("UDP: got %v", err)
	}
	_, err = Open(Config{Target: Target{Kind: User}, Ports: []Port{{netip.MustParseAddrPort("192.0.2.1:80"), 80, false}}})
	if want := "-p 192.0.2.1:80:80: the host has no address 192.0.2.1"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	l.Close()
	for _, p := range l.Ports {
		file, err := p.bind()
		if err != nil {
			t.Errorf("after Close: %v", err)
			continue
		}
		file.Close()
	}
}

func TestShared(t *testing.T) {
	target := Target{User, "test"}
	a := open(t, Config{Target: target, Machine: "a"})
	b := open(t, Config{Target: target, Machine: "b"})
	if a.Address != "192.168.127.2/24" || b.Address != "192.168.127.3/24" {
		t.Errorf("got %s and %s", a.Address, b.Address)
	}
	arp(t, b)
	_, err := Open(Config{Target: target, Machine: "a"})
	if want := "network test: there is a machine named a on the network already"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := len(helpers(t)); n != 1 {
		t.Errorf("%d processes", n)
	}
	dir, _ := Dir()
	if info, err := os.Stat(filepath.Join(dir, "test.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	a.Close()
	time.Sleep(20 * time.Millisecond)
	arp(t, b)
	b.Close()
	noHelpers(t)
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// Machines that come and go at the same time find a network, always one.
func TestSharedRace(t *testing.T) {
	target := Target{User, "race"}
	failed := make(chan error, 100)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 10 {
				l, err := Open(Config{Target: target})
				if err != nil {
					failed <- err
					return
				}
				l.Close()
			}
		}()
	}
	for range 8 {
		<-done
	}
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	noHelpers(t)
}

// The network's death is told, and what it leaves is in nobody's way.
func TestHelperKilled(t *testing.T) {
	for _, target := range []Target{{Kind: User}, {User, "killed"}} {
		gone := make(chan error, 1)
		arp(t, open(t, Config{Target: target, Gone: func(err error) { gone <- err }}))
		for _, pid := range helpers(t) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case err := <-gone:
			if !errors.Is(err, errHelperGone) {
				t.Errorf("%v: got %v", target, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%v: nothing is told", target)
		}
		l := open(t, Config{Target: target})
		arp(t, l)
		l.Close()
		noHelpers(t)
	}
}

// A pvrun that is killed leaves no process, no socket and no port.
func TestKilled(t *testing.T) {
	path, _ := Helper()
	for _, target := range []string{"user", "user:orphan"} {
		cmd := exec.Command(os.Args[0], target)
		cmd.Env = append(os.Environ(), envChild+"="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := io.ReadAtLeast(out, b, 1)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.MustParseAddrPort(strings.TrimSpace(string(b[:n])))
		cmd.Process.Kill()
		cmd.Wait()
		noHelpers(t)
		file, err := (&Port{Host: at, Guest: 80}).bind()
		if err != nil {
			t.Error(err)
			continue
		}
		file.Close()
		dir, _ := Dir()
		if list, _ := os.ReadDir(dir); len(list) > 0 {
			t.Errorf("left: %v", list)
		}
	}
}

func TestNoHelper(t *testing.T) {
	old := Helper
	defer func() { Helper = old }()
	Helper = func() (string, error) { return "/nowhere/pvrun-net", nil }
	gone := make(chan error, 1)
	open(t, Config{Target: Target{Kind: User}, Gone: func(err error) { gone <- err }})
	want := "network: start pvrun-net: fork/exec /nowhere/pvrun-net: no such file or directory; the machine's link is down"
	if err := <-gone; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Open(Config{Target: Target{User, "x"}}); err == nil || !strings.Contains(err.Error(), "start pvrun-net: ") {
		t.Errorf("shared: got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	Helper = find
	if _, err := Open(Config{Target: Target{Kind: User}}); !errors.Is(err, ErrNoHelper) {
		t.Errorf("got %v", err)
	}
}
