package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/build"
)

// TestSortTestArgs checks what goes to go test, what to pvrun exec, and what is
// refused.
func TestSortTestArgs(t *testing.T) {
	for _, test := range []struct{ args, own, rest, other, fail string }{
		{args: "-v -run X ./...", rest: "-v -run X ./..."},
		{args: "-m 1g --writable -v .", own: "--memory=1g --writable", rest: "-v ."},
		{args: "--memory=512m . -args -m 3", own: "--memory=512m", rest: ". -args -m 3"},
		{args: "-gcflags -m .", rest: "-gcflags -m -gcflags=pvrun/...= ."},
		{args: "-tags a,b . -tags=c", rest: "-tags=pvrun,a,b . -tags=pvrun,c"},
		{args: "-run -race .", rest: "-run -race ."},
		{args: "-C sub -count=1", rest: "-count=1", other: "C sub"},
		{args: "-c -o out/ .", rest: ".", other: "c o out/"},
		{args: "-o x.test .", rest: "-o=x.test .", other: "o x.test"},
		{args: "-race=false -asan=0 -fuzz= .", rest: "-race=false -asan=0 -fuzz= ."},
		{args: "-race .", fail: "-race is not supported"},
		{args: "--race=true .", fail: "-race is not supported"},
		{args: "-msan .", fail: "-msan is not supported"},
		{args: "-asan .", fail: "-asan is not supported"},
		{args: "-fuzz FuzzX .", fail: "-fuzz is not supported"},
		{args: "-exec x .", fail: "-exec is not supported"},
		{args: "-memory", fail: "flag needs an argument: -memory"},
		{args: ". -run", fail: "flag needs an argument: -run"},
	} {
		got, err := sortTestArgs(strings.Fields(test.args))
		if test.fail != "" {
			if err == nil || !strings.HasPrefix(err.Error(), test.fail) {
				t.Errorf("%s: got error %v, want %s", test.args, err, test.fail)
			}
			continue
		}
		var other []string
		if got.dir != "" {
			other = append(other, "C", got.dir)
		}
		if got.compile {
			other = append(other, "c")
		}
		if got.output != "" {
			other = append(other, "o", got.output)
		}
		if err != nil || strings.Join(got.own, " ") != test.own || strings.Join(got.rest, " ") != test.rest || strings.Join(other, " ") != test.other {
			t.Errorf("%s: got %+v, %v", test.args, got, err)
		}
	}
}

// TestRefusedInEnv sets a refused flag the other way.
func TestRefusedInEnv(t *testing.T) {
	t.Setenv("GOFLAGS", "-mod=mod -race")
	if _, err := sortTestArgs([]string{"."}); err == nil || !strings.HasPrefix(err.Error(), "GOFLAGS=-race is not supported") {
		t.Errorf("got %v", err)
	}
}

// TestTestCommand checks what the go command is asked, and what pvrun answers
// itself.
func TestTestCommand(t *testing.T) {
	var tools build.Toolchain
	var asked []string
	defer func(old func(build.Toolchain, []string) error) { becomeGo = old }(becomeGo)
	becomeGo = func(tc build.Toolchain, args []string) error { tools, asked = tc, args; return nil }
	code, stdout, stderr := pvrunCommand(t, "test", "-C", ".", "-m", "2g", "-short", "errors")
	want := append(append([]string{"test", "-C=.", "-tags=pvrun"}, tools.FileNames()...), asked[len(asked)-3], "-short", "errors")
	if code != 0 || stdout != "" || stderr != "" || !slices.Equal(asked, want) {
		t.Errorf("exit code %d, %s%s, asked %q", code, stdout, stderr, asked)
	}
	if run := asked[len(asked)-3]; !strings.HasPrefix(run, "-exec=") || !strings.HasSuffix(run, " exec --memory=2g --mode=pv") {
		t.Errorf("got %s", run)
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	pvrunCommand(t, "test", "--volume", "./testdata::ro", "--volume=./testdata:/x", "--writable")
	if run := asked[len(asked)-1]; !strings.HasSuffix(run, " exec --memory=4g --mode=pv --volume="+here+":"+here+":ro --volume="+here+":/x --writable") {
		t.Errorf("a test runs in another folder: got %s", run)
	}
	for args, want := range map[string]string{
		"-volume x:y .": "y: where the program sees it must be an absolute path",
		"-m 12x .":      "invalid argument \"12x\" for \"-m, --memory\" flag",
		"-race .":       "-race is not supported: ",
		"-C none .":     "no such file or directory",
	} {
		code, _, stderr := pvrunCommand(t, append([]string{"test"}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", args, code, stderr)
		}
	}
}

// TestGoEnv checks that what the user has set does not stand before what the go
// command needs.
func TestGoEnv(t *testing.T) {
	t.Setenv("GOROOT", "/usr/local/go")
	t.Setenv("CGO_ENABLED", "1")
	env := goEnv(build.Toolchain{Env: []string{"GOROOT=/derived", "CGO_ENABLED=0"}})
	for _, want := range []string{"GOROOT=/derived", "CGO_ENABLED=0"} {
		name, _, _ := strings.Cut(want, "=")
		isIt := func(kv string) bool { return strings.HasPrefix(kv, name+"=") }
		if i := slices.IndexFunc(env, isIt); i < 0 || env[i] != want || slices.ContainsFunc(env[i+1:], isIt) {
			t.Errorf("%s: not there, or not once", want)
		}
	}
}

// TestQuote checks words against how the go command splits them.
func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a=b": "a=b", "a b": "'a b'", "it's": `"it's"`, `say "x"`: `'say "x"'`} {
		if got, err := quote(in); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	if _, err := quote(`'"`); err == nil {
		t.Error("both quotes are accepted")
	}
}

// TestPlaces checks what a test binary sees of the host.
func TestPlaces(t *testing.T) {
	top := t.TempDir()
	dir := func(name string) string {
		d := filepath.Join(top, name)
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
		return d
	}
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	pkg, origin, derived := dir("mod/pkg"), dir("go/src/strings"), dir("derived/src/strings")
	tmp, work, cover := dir("tmp"), dir("work/b001"), dir("cover")
	file("mod/go.mod", "module m\n")
	file("derived/pvrun-origin", filepath.Join(top, "go"))
	env := []string{"PATH=/bin:rel:/usr/bin/", "HOME=/home/x", "TMPDIR=" + tmp, "GOROOT=" + filepath.Join(top, "derived"), "PWD=/x", "GOCOVERDIR=../../cover"}

	p := newPlaces(pkg, env)
	p.program(filepath.Join(work, "x.test"), true)
	want := []mountFlag{
		{source: filepath.Join(top, "go"), guest: filepath.Join(top, "go"), readOnly: true},
		{source: filepath.Join(top, "derived"), guest: filepath.Join(top, "derived"), readOnly: true},
		{source: tmp, guest: tmp}, {source: cover, guest: cover}, {source: work, guest: work, readOnly: true},
		{source: filepath.Join(top, "mod"), guest: filepath.Join(top, "mod")},
	}
	if !slices.Equal(p.shared, want) || p.dir != pkg || !slices.Equal(p.folders, []string{"/bin", "/usr/bin", "/home/x"}) {
		t.Errorf("got %+v", p)
	}
	if got := p.getenv("GOROOT"); got != filepath.Join(top, "go") {
		t.Errorf("GOROOT is %s", got)
	}
	p = newPlaces(pkg, []string{"TMPDIR=" + pkg + "//", "GOCOVERDIR=" + pkg, "HOME=/"})
	if p.share("//", true); !slices.Equal(p.shared, []mountFlag{{source: pkg, guest: pkg}}) {
		t.Errorf("spelt differently: %+v", p.shared)
	}
	if p = newPlaces(derived, env); p.dir != origin || p.getenv("PWD") != origin {
		t.Errorf("in the derived tree: %s, PWD=%s", p.dir, p.getenv("PWD"))
	}
}

// TestOutbox leads profiles to an outbox and delivers them.
func TestOutbox(t *testing.T) {
	dir := t.TempDir()
	p := newPlaces(dir, nil)
	args := []string{"-test.v", "-test.cpuprofile=cpu.out", "--test.memprofile", "sub/mem.out", "-test.trace=/dev/stdout", "-test.coverprofile=", "--", "-test.mutexprofile=x"}
	if _, err := p.outputs(args); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Fatalf("a folder is missing: got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	o, err := p.outputs(args)
	if err != nil {
		t.Fatal(err)
	}
	defer o.remove()
	want := []string{"-test.v", "-test.cpuprofile=" + o.dir + "/cpuprofile", "--test.memprofile", o.dir + "/memprofile", "-test.trace=/dev/stdout", "-test.coverprofile=", "--", "-test.mutexprofile=x"}
	if !slices.Equal(o.args, want) {
		t.Errorf("got %q, want %q", o.args, want)
	}
	if last := p.shared[len(p.shared)-1]; last != (mountFlag{source: o.dir, guest: o.dir}) {
		t.Errorf("shared %+v", last)
	}
	if err := os.WriteFile(filepath.Join(o.dir, "memprofile"), []byte("mem"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := o.deliver(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "sub/mem.out")); string(got) != "mem" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "cpu.out")); err == nil {
		t.Error("a profile that was not written is there")
	}
	o, err = p.outputs([]string{"-test.cpuprofile=c", "-test.outputdir", filepath.Join(dir, "sub"), "-test.artifacts"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.remove()
	if len(o.files) != 1 || o.files[0].to != filepath.Join(dir, "sub/c") {
		t.Errorf("got %+v", o.files)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub/_artifacts")); err != nil {
		t.Error(err)
	}
}

// TestOutboxLinks delivers after a test that has put links in its place: what
// they lead to is neither read nor written.
func TestOutboxLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	secret := filepath.Join(elsewhere, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	link := func(old, new string) {
		t.Helper()
		os.RemoveAll(new)
		if err := os.Symlink(old, new); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(elsewhere, "mine"), filepath.Join(dir, "mine"))
	if err := os.WriteFile(filepath.Join(elsewhere, "mine"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(o *outbox){
		"in the outbox":        func(o *outbox) { link(secret, filepath.Join(o.dir, "cpuprofile")) },
		"of the outbox":        func(o *outbox) { os.RemoveAll(o.dir); link(elsewhere, o.dir) },
		"a FIFO":               func(o *outbox) { unix.Mkfifo(filepath.Join(o.dir, "cpuprofile"), 0o666) },
		"where the file goes":  func(o *outbox) { write(t, o, "evil"); link(secret, filepath.Join(dir, "sub/c")) },
		"of the file's folder": func(o *outbox) { write(t, o, "evil"); link(elsewhere, filepath.Join(dir, "sub")) },
	} {
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o777); err != nil {
			t.Fatal(err)
		}
		o, err := newPlaces(dir, nil).outputs([]string{"-test.cpuprofile=sub/c"})
		if err != nil {
			t.Fatal(err)
		}
		plant(o)
		err = o.deliver()
		o.remove()
		got, _ := os.ReadFile(filepath.Join(dir, "sub/c"))
		left, _ := os.ReadFile(secret)
		entries, _ := os.ReadDir(elsewhere)
		if string(left) != "secret" || len(entries) != 2 || name != "where the file goes" && string(got) == "secret" {
			t.Errorf("a link %s: delivered %q, left %q and %v (%v)", name, got, left, entries, err)
		}
		os.RemoveAll(filepath.Join(dir, "sub"))
	}
	t.Chdir(dir)
	t.Setenv("TMPDIR", ".")
	// A link of the user's own is followed.
	o, err := newPlaces(dir, nil).outputs([]string{"-test.cpuprofile=mine"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.remove()
	if !filepath.IsAbs(o.dir) {
		t.Errorf("the machine is to show %s", o.dir)
	}
	write(t, o, "mine")
	if err := o.deliver(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(elsewhere, "mine")); string(got) != "mine" {
		t.Errorf("got %q", got)
	}
}

// TestOutboxHoles delivers a file that is nearly all hole: it takes no more room
// than what is in it.
func TestOutboxHoles(t *testing.T) {
	dir := t.TempDir()
	o, err := newPlaces(dir, nil).outputs([]string{"-test.cpuprofile=c"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.remove()
	const size, at = 1 << 30, 300<<20 + 5
	write(t, o, "begin")
	f, err := os.OpenFile(filepath.Join(o.dir, "cpuprofile"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("middle"), at)
	if err := errors.Join(f.Truncate(size), f.Close(), o.deliver()); err != nil {
		t.Fatal(err)
	}
	out, err := os.Open(filepath.Join(dir, "c"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	info, _ := out.Stat()
	b := make([]byte, 11)
	out.ReadAt(b[:5], 0)
	out.ReadAt(b[5:], at)
	if st := info.Sys().(*syscall.Stat_t); st.Size != size || st.Blocks > 1<<10 || string(b) != "beginmiddle" {
		t.Errorf("%d bytes in %d blocks, %q", st.Size, st.Blocks, b)
	}
}

// write writes the CPU profile of an outbox.
func write(t *testing.T, o *outbox, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, "cpuprofile"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestArtifactsLink puts a link where the folder of artifacts belongs.
func TestArtifactsLink(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, "_artifacts")); err != nil {
		t.Fatal(err)
	}
	p := newPlaces(dir, nil)
	if _, err := p.outputs([]string{"-test.artifacts"}); err == nil || len(p.shared) != 0 {
		t.Errorf("shared %+v, %v", p.shared, err)
	}
}

// TestHideOwnWork: the test does not see the GOTMPDIR that pvrun test chose, but
// the user's own.
func TestHideOwnWork(t *testing.T) {
	own, err := ownWork()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ has, want string }{{own, ""}, {"/mine", "/mine"}} {
		p := newPlaces(t.TempDir(), []string{"GOTMPDIR=" + test.has})
		if got := p.getenv("GOTMPDIR"); got != test.want {
			t.Errorf("GOTMPDIR=%s: the test has %q, want %q", test.has, got, test.want)
		}
	}
}

// TestWorkFolder: where tests have TMPDIR the go command works elsewhere.
func TestWorkFolder(t *testing.T) {
	for _, test := range []struct{ tmp, gotmp, want string }{{"", "", ""}, {"/x", "", "/pvrun/tmp"}, {"/x", "/y", ""}} {
		t.Setenv("TMPDIR", test.tmp)
		t.Setenv("GOTMPDIR", test.gotmp)
		tools, err := toolchain(t.Context(), ".")
		if err != nil {
			t.Fatal(err)
		}
		last := tools.Env[len(tools.Env)-1]
		if got := strings.HasPrefix(last, "GOTMPDIR="); got != (test.want != "") || !strings.HasSuffix(last, test.want) {
			t.Errorf("%+v: got %s", test, last)
		}
	}
}
