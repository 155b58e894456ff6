package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

// What programs do with shared mappings of a folder's files they do in a machine
// with the same results, down to the addresses of faults.
func TestMapShared(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mapfile", "mapgrows", "mapshrinks"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := finish(t, nativeCommand(t, cases, name, t.TempDir()))
			dir := t.TempDir()
			got := run(t, cases, in("pv", "-v", dir+":/s"), name, "/s")
			wants(t, got, want.code, want.stdout, "")
			if want.code != 0 || strings.Count(want.stdout, "fault at ") < 10 && name != "mapfile" {
				t.Errorf("native: %+v", want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// talk is a program that answers lines.
type talk struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func newTalk(t *testing.T, cmd *exec.Cmd) *talk {
	t.Helper()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &talk{t, cmd, in, bufio.NewScanner(out)}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	return k
}

func (k *talk) say(format string, args ...any) { fmt.Fprintf(k.in, format+"\n", args...) }

func (k *talk) hears(want string) {
	k.t.Helper()
	if !k.out.Scan() || k.out.Text() != want {
		k.t.Errorf("got %q, want %q", k.out.Text(), want)
	}
}

func (k *talk) ask(want, format string, args ...any) {
	k.t.Helper()
	k.say(format, args...)
	k.hears(want)
}

// Two machines and the host see each other's writes to a mapping at once, and what
// was written stays when a machine is killed.
func TestMapSeesOthers(t *testing.T) {
	t.Parallel()
	need.KVM(t) // files are not mapped into a process
	dir := write(t, map[string]string{"f": strings.Repeat("-", 100_000)})
	name := filepath.Join(dir, "f")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	host := func(at int64, text string) {
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	flags := in("pv", "-v", dir+":/s")
	a, b := newTalk(t, runCommand(t, cases, flags, "maptalk", "/s/f")), newTalk(t, runCommand(t, cases, flags, "maptalk", "/s/f"))
	n := newTalk(t, nativeCommand(t, cases, "maptalk", name))
	a.ask("-----", "5000 5")
	host(5000, "hello")
	for _, k := range []*talk{a, b, n} {
		k.ask("hello", "5000 5")
	}
	for i, k := range []*talk{a, n, b} {
		text := fmt.Sprintf("text%d", i)
		k.ask("none", "%d 0 %s", 70_000+i, text)
		for _, other := range []*talk{a, b, n} {
			other.ask(text, "%d 5", 70_000+i)
		}
	}
	if err := f.Truncate(60_000); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*talk{a, b, n} {
		k.ask("fault at 70000", "70000 5")
		k.ask("hello", "5000 5")
		k.ask("\x00", "60000 1")
	}
	host(70_000, "again")
	for _, k := range []*talk{b, a, n} {
		k.ask("again", "70000 5")
	}
	a.ask("none", "0 0 acknowledged")
	a.ask("none", "65000 0 this,too")
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.cmd.Wait()
	text, err := os.ReadFile(name)
	if err != nil || !bytes.HasPrefix(text, []byte("acknowledged")) || string(text[65000:65008]) != "this,too" {
		t.Errorf("%q, %v", text[:12], err)
	}
	b.ask("this,too", "65000 8")
}

// Locks exclude everybody: two machines, descriptors of one, and the host's own
// programs, and go with who had them.
func TestLocksExclude(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"f": "text"})
	flags := in("pv", "-v", dir+":/s")
	a, b := newTalk(t, runCommand(t, cases, flags, "lockline", "/s/f")), newTalk(t, runCommand(t, cases, flags, "lockline", "/s/f"))
	n := newTalk(t, nativeCommand(t, cases, "lockline", filepath.Join(dir, "f")))
	const taken = "resource temporarily unavailable"
	for _, k := range [][2]*talk{{a, b}, {a, n}, {n, a}, {a, a}, {n, n}} {
		x, y := k[0], k[1]
		x.ask("ok", "0 flock ex")
		y.ask(taken, "1 flock ex")
		y.ask(taken, "2 flock sh")
		x.ask("ok", "0 flock sh")
		y.ask("ok", "1 flock sh")
		x.ask(taken, "0 flock ex")
		y.ask("ok", "1 flock un")
		x.ask("ok", "0 flock ex")
		x.ask("ok", "0 flock un")

		x.ask("ok", "0 range w 10 10")
		y.ask(taken, "1 range w 19 5")
		y.ask("true", "1 get r 15 1")
		y.ask("ok", "1 range w 20 5")
		y.ask("false", "1 get w 0 10")
		x.ask("ok", "0 range r 10 5")
		y.ask("ok", "2 range r 12 1")
		x.ask(taken, "0 range w 10 5")
		y.ask(taken, "1 range w 15 1")
		x.ask("ok", "0 range u 0 0")
		y.ask("ok", "2 range u 0 0")
		y.ask("ok", "1 range w 0 0")
		x.ask("true", "0 get w 5 1")
		y.ask("ok", "1 range u 0 0")
	}
	// The process's locks go with any descriptor, and both kinds with the machine.
	a.ask("ok", "0 posix w 0 1")
	a.ask("ok", "1 posix w 5 1")
	a.ask("ok", "0 flock ex")
	b.ask(taken, "0 posix r 5 1")
	a.ask("ok", "2 close")
	b.ask("ok", "0 posix w 5 1")
	n.ask(taken, "0 posix w 5 1")
	b.ask(taken, "0 flock sh")
	a.ask("ok", "0 close")
	b.ask("ok", "0 flock ex")
	a.ask(taken, "1 flock sh")
	n.say("0 wait ex") // until b is killed
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.cmd.Wait()
	n.hears("ok")
	n.ask("ok", "0 posix w 5 1")
	a.say("1 wait sh")
	n.ask("ok", "0 flock un")
	a.hears("ok")
}

// A folder of many names is listed whole, and each is there once.
func TestManyNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 100_000
	for i := range n {
		f, err := os.Create(fmt.Sprintf("%s/a name of some length %06d", dir, i))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode, "-m", "256m", "-v", dir+":/s:ro"), "names", "/s")
		wants(t, got, 0, fmt.Sprintf("%d names, %d of them different\n", n, n), "")
	})
}

// A full file system is ENOSPC to calls and SIGBUS in a mapping of a hole; limits
// of the host's are errors, and never the machine's end.
func TestFullFolder(t *testing.T) {
	t.Parallel()
	need.KVM(t) // files are not mapped into a process
	dir := smallFolder(t)
	want := finish(t, nativeCommand(t, cases, "mapfull", dir))
	got := run(t, cases, in("pv", "-v", dir+":/s"), "mapfull", "/s")
	wants(t, got, 0, want.stdout, "")
	if want.stdout != "true true\ntrue true\ntrue fault at 33574912\nnone <nil>\n" {
		t.Errorf("native: %+v", want)
	}
}

func TestLimitsInFolder(t *testing.T) {
	t.Parallel()
	need.KVM(t) // a process's memory is a file, which ulimit -f is for, too
	eachMode(t, func(t *testing.T, mode string) {
		cmd := runCommand(t, cases, in(mode, "-v", t.TempDir()+":/s"), "limits", "/s")
		sh := exec.Command("/bin/sh", append([]string{"-c", `ulimit -f 16; ulimit -n 200; exec "$0" "$@"`}, cmd.Args...)...)
		sh.Env = cmd.Env
		wants(t, finish(t, sh), 0, "file too large, 8192 bytes or more: true\ntoo many open files true\n", "")
	})
}

// TestFolderOperationExits: what databases do most is one request each, so that
// nobody adds one unseen, and at most one exit: a request goes by a call, which is an
// exit, or by the ring. Then a guest with nothing else to do may have to block, but
// not while the host looks at the ring by itself.
func TestFolderOperationExits(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		each := map[string]uint64{"dsync": 2} // the others one
		for _, what := range []string{"pwrite", "pread", "append", "dsync", "fdatasync", "fsync", "end", "fstat", "stat", "truncate", "allocate", "lock", "flock", "map"} {
			if what == "map" && (mode == "trap" || need.Engine(t) == "proc") {
				continue
			}
			count := func(n int) (asked, exits uint64) {
				t.Helper()
				s, got := readStats(t, in(mode, "-v", t.TempDir()+":/s"), cases, "fileops", "/s/f", what, fmt.Sprint(n))
				wants(t, got, 0, fmt.Sprintln(n), "")
				calls := s.Exits.ByReason["hypercall.host_file"]
				return calls + s.Block.Requests, calls + s.Exits.ByReason["hypercall.block"]
			}
			few, _ := count(2)
			asked, exits := count(102)
			if got, want := asked-few, 100*max(each[what], 1); got != want {
				t.Errorf("100 times %s: the host was asked %d times, want %d", what, got, want)
			}
			if most := asked + asked/10; exits > most { // it may have been woken for something else
				t.Errorf("102 times %s: %d exits for %d requests, want at most %d", what, exits, asked, most)
			}
		}
	})
}
