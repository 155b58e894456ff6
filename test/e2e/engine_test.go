package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guests are the processes that a process of the host's runs guest code in.
func guests(pid string) (list []string) {
	files, _ := filepath.Glob("/proc/" + pid + "/task/*/children")
	for _, name := range files {
		text, _ := os.ReadFile(name)
		list = append(list, strings.Fields(string(text))...)
	}
	return list
}

// TestHostKilled: a guest's process does not outlive the host's.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	cmd := command("run", "--engine", "proc", built(t, primes.image), "4000000000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var list []string
	for begin := time.Now(); len(list) == 0 && time.Since(begin) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		list = guests(strconv.Itoa(cmd.Process.Pid))
	}
	if len(list) != 1 {
		t.Fatalf("processes %v", list)
	}
	time.Sleep(50 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		status, err := os.ReadFile("/proc/" + list[0] + "/stat")
		if err != nil || bytes.Contains(status, []byte(") Z ")) { // for init to wait for
			return
		}
	}
	t.Error("the guest's process goes on")
}

// TestGuestKilled: when the guest's process is killed, that is said.
func TestGuestKilled(t *testing.T) {
	t.Parallel()
	cmd := command("run", "--engine", "proc", built(t, primes.image), "4000000000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		if list := guests(strconv.Itoa(cmd.Process.Pid)); len(list) == 1 {
			exec.Command("kill", "-9", list[0]).Run()
			break
		}
	}
	cmd.Wait()
	if code := shellCode(cmd.ProcessState); code != 126 && code != 125 || !strings.Contains(stderr.String(), "killed") {
		t.Errorf("code %d, %q", code, stderr.String())
	}
}

// TestPoorHosts: what the host lacks is done without, or told in one line.
func TestPoorHosts(t *testing.T) {
	t.Parallel()
	image := built(t, hello.image)
	for _, test := range []struct {
		name, prepare, want string
		code                int
	}{
		{"no user namespaces", "echo 0 > /proc/sys/user/max_user_namespaces", "", 0},
		{"no /proc", "mount -t tmpfs none /proc", "/proc has to be mounted", 125},
		{"no descriptors", "ulimit -n 9", "too many open files", 125},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command("/bin/sh", "-c", test.prepare+` && exec "$0" "$@"`, pvrun, "run", "--engine", "proc", image)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil || strings.Contains(stderr.String(), "sh:") || strings.Contains(stderr.String(), "mount:") {
				t.Skipf("this takes a user namespace: %v %s", err, stderr.String())
			}
			got := outcome{stdout.String(), stderr.String(), shellCode(cmd.ProcessState)}
			if test.code == 0 {
				wants(t, got, 0, "hello from a unikernel\n", test.want)
				return
			}
			oneLine(t, test.name, got, test.code)
			if !strings.Contains(got.stderr, test.want) {
				t.Errorf("got %q, want %q in it", got.stderr, test.want)
			}
		})
	}
}
