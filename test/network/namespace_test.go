package network

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace makes a network namespace with its loopback up, and takes it away after
// the test.
func namespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	tool(t, "ip")
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	ns := newName()
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: there can be no network namespaces: %s", out) // a container without the right to
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	shell(t, "ip", "-n", ns, "link", "set", "lo", "up")
	return ns
}

// shell runs a command that must not fail, and returns what it wrote.
func shell(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// within is a command in a namespace; "" is where the test is.
func within(ns string, args ...string) *exec.Cmd {
	if ns != "" {
		args = append([]string{"ip", "netns", "exec", ns}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// inside calls f on a thread that is in a namespace: sockets belong to that of the
// thread that makes them.
func inside(ns string, f func() error) error {
	if ns == "" {
		return f()
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		file, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			file.Close()
		}
		if err == nil {
			err = f()
		}
		failed <- err
	}()
	return <-failed
}

// dial connects from a namespace to an address.
func dial(ns, address string) (c net.Conn, err error) {
	err = inside(ns, func() (err error) {
		c, err = net.DialTimeout("tcp", address, 10*time.Second)
		return err
	})
	return c, err
}

// listen listens in a namespace.
func listen(ns, address string) (l net.Listener, err error) {
	err = inside(ns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// browser is an HTTP client in a namespace that believes any certificate.
func browser(t *testing.T, ns string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) { return dial(ns, address) }
	transport.TLSClientConfig.InsecureSkipVerify = true
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute}
}

// tool finds a program of the host's, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT TESTED: %s is not there", name)
	}
	return path
}

// onTap are the flags for a machine at 10.77.0.2 on a TAP of its own, which the host's
// side of is 10.77.0.1.
func onTap(flags ...string) []string {
	return append(strings.Fields("--net tap:pv0 --ip 10.77.0.2/24 --gateway 10.77.0.1"), flags...)
}
