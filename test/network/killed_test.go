package network

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// networksOf are the processes of pvrun-net that have word among their arguments, or
// that parent has started, if word is "".
func networksOf(t *testing.T, parent int, word string) (pids []int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range list {
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !strings.HasPrefix(string(line), pvrun+"-net\x00") {
			continue
		}
		status, err := os.ReadFile(dir + "/status")
		if err != nil || word == "" && !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) || !strings.Contains(string(line), word) {
			continue
		}
		var pid int
		fmt.Sscan(filepath.Base(dir), &pid)
		pids = append(pids, pid)
	}
	return pids
}

// soon waits until something is so.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not %s", what)
			return
		}
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// Of a pvrun that is killed nothing is left.
func TestKilled(t *testing.T) {
	for _, shared := range []bool{false, true} {
		name, network, word := newName(), "user", ""
		if shared {
			network, word = "user:"+name, name+".sock"
		}
		address := freePort(t)
		_, port, _ := net.SplitHostPort(address)
		m := start(t, "", []string{"--net", network, "-p", port + ":8080"}, "httpd")
		m.says(t, "https://")
		pids := networksOf(t, m.cmd.Process.Pid, word)
		if len(pids) != 1 {
			t.Fatalf("%s: processes %v", network, pids)
		}
		m.cmd.Process.Kill()
		soon(t, "without the network's process", func() bool { return gone(pids[0]) })
		soon(t, "without the port", func() bool {
			l, err := net.Listen("tcp", address)
			if err == nil {
				l.Close()
			}
			return err == nil
		})
		left, _ := filepath.Glob(filepath.Join(scratch, "run", "pvrun", "net", name+"*"))
		if len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	}
	ns := namespace(t)
	shell(t, "ip", "-n", ns, "link", "add", "br0", "type", "bridge")
	shell(t, "ip", "-n", ns, "link", "set", "br0", "up")
	for _, network := range []string{"tap:pv0", "bridge:br0"} {
		m := start(t, ns, []string{"--net", network, "--ip", "10.77.0.2/24"}, "httpd")
		m.says(t, "https://")
		if out := shell(t, "ip", "-n", ns, "-o", "link"); !strings.Contains(out, "pv0") && !strings.Contains(out, "master br0") {
			t.Errorf("%s: %s", network, out)
		}
		m.cmd.Process.Kill()
		soon(t, "without the TAP", func() bool {
			out, _ := exec.Command("ip", "-n", ns, "-o", "link").Output()
			return strings.Count(string(out), "\n") == 2
		})
	}
}

// A machine whose network is killed is told in one line, and goes on.
func TestNetworkKilled(t *testing.T) {
	for _, shared := range []bool{false, true} {
		network, word := "user", ""
		if shared {
			word = newName()
			network = "user:" + word
		}
		m := start(t, "", []string{"--net", network}, "httpd")
		m.says(t, "https://")
		pids := networksOf(t, m.cmd.Process.Pid, word)
		if len(pids) != 1 {
			t.Fatalf("%s: processes %v", network, pids)
		}
		before := m.stderr.text()
		syscall.Kill(pids[0], syscall.SIGKILL)
		m.says(t, "pvrun-net has ended")
		resting(t, m.cmd.Process.Pid, 300<<20)
		if more := strings.TrimPrefix(m.stderr.text(), before); strings.Count(more, "\n") != 1 {
			t.Errorf("%s: %q", network, more)
		}
		if shared { // what is left of it is in nobody's way
			start(t, "", []string{"--net", network}, "httpd").says(t, "https://")
		}
		m.stop()
		if code := m.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s: exit code %d", network, code)
		}
	}
}

// A network that has no descriptors left takes no machine, and keeps those it has.
func TestNetworkFull(t *testing.T) {
	word, address := newName(), freePort(t)
	_, port, _ := net.SplitHostPort(address)
	s := &server{http: address}
	s.machine = start(t, "", []string{"--net", "user:" + word, "--name", "old", "-p", port + ":8080"}, "httpd", "-tls", "")
	s.says(t, "http://")
	s.answers(t, nil, "nothing")
	pids := networksOf(t, 0, word)
	if len(pids) != 1 {
		t.Fatalf("processes %v", pids)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pids[0], unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 3, Max: before.Max} // fewer than it has
	if err := unix.Prlimit(pids[0], unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	m := start(t, "", []string{"--net", "user:" + word}, "client", "http://old:8080/")
	m.wait(t, 125)
	if text := m.stderr.text(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "pvrun-net does not answer") {
		t.Errorf("%q", text)
	}
	if err := unix.Prlimit(pids[0], unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	s.answers(t, nil, "a machine that was not taken")
	start(t, "", []string{"--net", "user:" + word}, "client", "http://old:8080/").wait(t, 0)
	s.stop()
	soon(t, "without the network's process", func() bool { return gone(pids[0]) })
}
