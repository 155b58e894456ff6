package network

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

// pvrunFails runs a command, which pvrun ends in, and wants it to fail soon, with code
// 125 and one line that has words in it.
func pvrunFails(t *testing.T, cmd *exec.Cmd, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	bounded := exec.CommandContext(ctx, cmd.Args[0], cmd.Args[1:]...)
	bounded.Env = cmd.Env
	var stderr bytes.Buffer
	bounded.Stderr = &stderr
	bounded.Run()
	text := stderr.String()
	if code := bounded.ProcessState.ExitCode(); code != 125 || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "pvrun: ") {
		t.Errorf("%q: exit code %d, wants 125 and one line:\n%s", cmd.Args, code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q: %q is not in %q", cmd.Args, w, text)
		}
	}
}

// What cannot be had is named in one line, with what to do.
func TestRefused(t *testing.T) {
	need.KVM(t)
	img, ns := image(t, "httpd"), namespace(t)
	run := func(ns string, flags ...string) *exec.Cmd {
		return within(ns, append(append([]string{pvrun, "run"}, flags...), img)...)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	pvrunFails(t, run("", "--net", "user", "-p", port+":8080"), "-p 127.0.0.1:"+port+":8080", "already in use")
	pvrunFails(t, run("", "--net", "user:"+newName(), "-p", port+":8080"), port, "already in use")
	pvrunFails(t, run("", "--net", "user", "-p", "192.0.2.1:"+port+":8080"), "192.0.2.1", "the host has no address")
	pvrunFails(t, run(ns, "--net", "bridge:none0"), "bridge none0", "sudo ip link add none0 type bridge")
	pvrunFails(t, run(ns, "--net", "bridge:lo"), "lo is not a bridge")
	pvrunFails(t, run(ns, "--net", "tap:lo"), "lo is not a TAP device")
	start(t, ns, onTap(), "httpd").says(t, "https://")
	pvrunFails(t, run(ns, "--net", "tap:pv0"), "TAP pv0 is in use by another program")

	alone := filepath.Join(t.TempDir(), "pvrun")
	if err := os.Link(pvrun, alone); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(alone, "run", "--net", "user", img)
	cmd.Env = append(os.Environ(), "PATH=/nowhere")
	pvrunFails(t, cmd, "pvrun-net", "go install", "--net none")
}

// Somebody who may not is told how it is done.
func TestPermission(t *testing.T) {
	need.KVM(t)
	tool(t, "unshare")
	tool(t, "setpriv")
	img, ns := image(t, "httpd"), namespace(t)
	shell(t, "ip", "-n", ns, "tuntap", "add", "roots0", "mode", "tap", "user", "root")
	shell(t, "ip", "-n", ns, "link", "add", "br0", "type", "bridge")
	// The device has a folder of its own, as nobody sees it.
	as := func(mode string, flags ...string) *exec.Cmd {
		script := `mount -t tmpfs none /dev/net && mknod -m ` + mode + ` /dev/net/tun c 10 200 &&
			mount -t tmpfs none "$1" && cp "$2" "$3" "$1" && cd "$1" && chmod -R a+rX . && shift 3 &&
			exec setpriv --reuid 65534 --regid 65534 --clear-groups ./pvrun run --engine kvm "$@" ./httpd.img`
		where := t.TempDir()
		return within(ns, append([]string{"unshare", "-m", "sh", "-c", script, "sh", where, pvrun, img}, flags...)...)
	}
	pvrunFails(t, as("600", "--net", "tap:pv0"), "no permission for /dev/net/tun", "sudo chmod a+rw /dev/net/tun")
	pvrunFails(t, as("666", "--net", "tap:pv0"), "TAP pv0", "no permission", "sudo ip tuntap add pv0 mode tap user")
	pvrunFails(t, as("666", "--net", "tap:roots0"), "TAP roots0", "sudo ip")
	pvrunFails(t, as("666", "--net", "bridge:br0"), "bridge br0 is down", "sudo ip link set br0 up")
	shell(t, "ip", "-n", ns, "link", "set", "br0", "up")
	pvrunFails(t, as("666", "--net", "bridge:br0"), "no permission to make a TAP device", "CAP_NET_ADMIN")
}

// A name that nobody knows is an error of the program's, and soon.
func TestUnknownName(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		ns, flags := "", []string{"--net", "user"}
		if network == "tap" {
			ns, flags = namespace(t), onTap("--dns", "10.77.0.9") // where nobody is
		}
		began := time.Now()
		m := start(t, ns, flags, "client", "-retries", "0", "-timeout", "5s", "http://nobody.invalid/")
		m.wait(t, 1)
		if text := m.stderr.text(); !strings.Contains(text, "nobody.invalid") || strings.Count(text, "\n") != 1 || time.Since(began) > 30*time.Second {
			t.Errorf("after %v: %s", time.Since(began), text)
		}
	})
}
