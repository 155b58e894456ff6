package network

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	if _, err := os.Stat(TUNDevice); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

var (
	tapPrefix  = netip.MustParsePrefix("10.78.0.2/24")
	tapGateway = netip.MustParseAddr("10.78.0.1")
)

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// refused is what Open says, which must be an error.
func refused(t *testing.T, c Config, want string) {
	t.Helper()
	l, err := Open(c)
	if err == nil {
		l.Close()
	}
	if err == nil || err.Error() != want {
		t.Errorf("%v: got %v, want %s", c.Target, err, want)
	}
}

// A TAP that is made has the gateway's address on the host's side, works, and goes.
func TestTAPMade(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		c := Config{Target: Target{TAP, "tap0"}, Address: tapPrefix, Gateway: tapGateway, MTU: 9000, DNS: []netip.Addr{tapGateway}}
		l, err := Open(c)
		if err != nil {
			t.Error(err)
			return
		}
		if !l.Offload || l.MTU != 9000 || l.Address != "10.78.0.2/24" || l.Gateway != "10.78.0.1" || l.DNS != "10.78.0.1" || l.DHCP {
			t.Errorf("got %+v", l)
		}
		link, err := netlink.LinkByName("tap0")
		if err != nil || link.Attrs().MTU != 9000 || link.Attrs().Flags&net.FlagUp == 0 {
			t.Errorf("got %+v, %v", link, err)
		}
		if got := arp(t, l).String(); link != nil && got != link.Attrs().HardwareAddr.String() {
			t.Errorf("the host's side is %s", got)
		}
		refused(t, c, "TAP tap0 is in use by another program")
		l.Close()
		if exists("tap0") {
			t.Error("it is still there")
		}
	})
}

// One that was there stays, and is used as it is, with one queue or several.
func TestTAPThere(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for name, flags := range map[string]netlink.TuntapFlag{"one": 0, "many": netlink.TUNTAP_MULTI_QUEUE} {
			there := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TAP, Flags: flags | netlink.TUNTAP_NO_PI}
			if flags != 0 {
				there.Queues = 1
			}
			if err := netlink.LinkAdd(there); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, f := range there.Fds {
				f.Close()
			}
			for range 2 {
				l, err := Open(Config{Target: Target{TAP, name}})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if !l.DHCP || l.MTU != 1500 || l.Address != "" {
					t.Errorf("%s: got %+v", name, l)
				}
				l.Close()
			}
			if !exists(name) {
				t.Errorf("%s has gone", name)
			}
		}
		refused(t, Config{Target: Target{TAP, "lo"}}, "lo is not a TAP device: give the name of one, or of none to have it made")
	})
}

func TestBridge(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		c := Config{Target: Target{Bridge, "br0"}}
		refused(t, c, "there is no bridge br0: sudo ip link add br0 type bridge && sudo ip link set br0 up")
		refused(t, Config{Target: Target{Bridge, "lo"}}, "lo is not a bridge")
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", MTU: 9000}}
		if err := netlink.LinkAdd(bridge); err != nil {
			t.Error(err)
			return
		}
		refused(t, c, "bridge br0 is down: sudo ip link set br0 up")
		netlink.LinkSetUp(bridge)
		a, err := Open(c)
		if err != nil {
			t.Error(err)
			return
		}
		defer a.Close()
		b, err := Open(c)
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range []string{"pvrun0", "pvrun1"} {
			link, err := netlink.LinkByName(name)
			if err != nil || link.Attrs().MasterIndex != bridge.Index || link.Attrs().Flags&net.FlagUp == 0 {
				t.Errorf("%s: %+v, %v", name, link, err)
			}
		}
		if a.MTU != 9000 || !a.DHCP {
			t.Errorf("got %+v", a)
		}
		b.Close()
		if exists("pvrun1") {
			t.Error("it is still there")
		}
	})
}

// Without privileges pvrun says what to run.
func TestTAPPermission(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			t.Error(err)
			return
		}
		br, _ := netlink.LinkByName("br0")
		netlink.LinkSetUp(br)
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&head, &none[0]); err != nil { // this thread's
			t.Error(err)
			return
		}
		refused(t, Config{Target: Target{TAP, "tap0"}},
			"no permission to make TAP tap0: sudo ip tuntap add tap0 mode tap user $USER && sudo ip link set tap0 up")
		refused(t, Config{Target: Target{Bridge, "br0"}},
			"no permission to make a TAP device: run pvrun with CAP_NET_ADMIN (sudo), or put a TAP of your own into the bridge and use --net tap:NAME")
	})
}

func TestExplainDevice(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOENT: "/dev/net/tun is missing: sudo modprobe tun (in a container, start it with --device /dev/net/tun)",
		unix.EACCES: "no permission for /dev/net/tun: sudo chmod a+rw /dev/net/tun",
		unix.EMFILE: "open /dev/net/tun: too many open files",
	} {
		if got := explainDevice(err); got.Error() != want || err == unix.EMFILE && !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// A pvrun that is killed leaves no TAP.
func TestTAPKilled(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		cmd := exec.Command(os.Args[0], "tap:tap0")
		cmd.Env = append(os.Environ(), envChild+"=none")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, 100)
		n, err := io.ReadAtLeast(out, b, 1)
		if err != nil || strings.TrimSpace(string(b[:n])) != "open" || !exists("tap0") {
			t.Errorf("child: %q, %v", b[:n], err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if exists("tap0") {
			t.Error("it is still there")
		}
	})
}
