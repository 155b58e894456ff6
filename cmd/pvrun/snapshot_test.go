package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// fakeSnapshot makes fakeInstances.
type fakeSnapshot struct {
	boot    error // what booting comes to
	waits   bool  // the program is never ready
	newErr  error
	saveErr error
	info    hv.SnapshotInfo
	answer  func(vm *fakeInstance, request []byte) (hv.Response, error)
	rewind  error

	cfg hv.Config

	mu    sync.Mutex
	saved string
	made  []*fakeInstance
}

// use makes pvrun boot and open s in place of others.
func (s *fakeSnapshot) use(t *testing.T) {
	oldBoot, oldOpen, oldIs := bootSnapshot, openSnapshot, isSnapshot
	t.Cleanup(func() { bootSnapshot, openSnapshot, isSnapshot = oldBoot, oldOpen, oldIs })
	isSnapshot = func(path string) bool { return strings.HasSuffix(path, ".snap") }
	bootSnapshot = func(ctx context.Context, cfg hv.Config) (snapshot, error) {
		s.cfg = cfg
		if s.waits {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return s, s.boot
	}
	openSnapshot = func(path string, once bool) (snapshot, error) { return s, s.boot }
}

func (s *fakeSnapshot) New(c hv.Clone) (instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vm := &fakeInstance{snapshot: s, clone: c}
	vm.ends = true
	s.made = append(s.made, vm)
	return vm, s.newErr
}

func (s *fakeSnapshot) Info() hv.SnapshotInfo  { return s.info }
func (s *fakeSnapshot) Save(path string) error { s.saved = path; return s.saveErr }
func (s *fakeSnapshot) Close() error           { return nil }

// fakeInstance answers as its snapshot says.
type fakeInstance struct {
	fakeMachine
	snapshot                   *fakeSnapshot
	clone                      hv.Clone
	invoked, rewound, afterUse int // afterUse: invocations since the last rewind
	closed                     bool
}

func (vm *fakeInstance) Invoke(ctx context.Context, request []byte) (hv.Response, error) {
	vm.invoked++
	vm.afterUse++
	if ctx.Err() != nil {
		return hv.Response{}, context.Cause(ctx)
	}
	res, err := vm.snapshot.answer(vm, request)
	if errors.Is(err, errSpins) {
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	return res, err
}

// errSpins is the answer of a program that gives none.
var errSpins = errors.New("spins")

func (vm *fakeInstance) Rewind() error { vm.rewound++; vm.afterUse = 0; return vm.snapshot.rewind }
func (vm *fakeInstance) Close() error  { vm.closed = true; return nil }

func (vm *fakeInstance) Stats() hv.Stats {
	return hv.Stats{Mode: "pv", Exits: hv.ExitStats{Total: 3 * uint64(vm.invoked)}}
}

func TestSnapshotConfig(t *testing.T) {
	s := &fakeSnapshot{info: hv.SnapshotInfo{Stored: 1234 << 12}}
	s.use(t)
	image, out := imageFile(t), filepath.Join(t.TempDir(), "x.snap")
	code, stdout, stderr := pvrunCommand(t, "snapshot", "-m", "128m", "-w", "/tmp", "-e", "A=1", "--name", "web", "--rootfs", t.TempDir(),
		"--ready", "call,listen:80,connect:81", image, "-o", out, "--", "a", "--ready")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, out+": 1,234 pages, 4.8 MiB, ready after ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	c := s.cfg
	if s.saved != out || c.Image != image || !reflect.DeepEqual(c.Args, []string{"prog", "a", "--ready"}) {
		t.Errorf("saved %s of %s with %q", s.saved, c.Image, c.Args)
	}
	if c.Memory != 128<<20 || c.Dir != "/tmp" || c.Hostname != "web" || c.Env[2] != "A=1" || c.RootFS == nil {
		t.Errorf("got %+v", c)
	}
	if !c.Messages || c.Ready != hypercall.ReadyCall|hypercall.ReadyListen|hypercall.ReadyConnect || c.ReadyPort != 80 || c.ServicePort != 81 {
		t.Errorf("ready: %v at %v, ports %d and %d", c.Messages, c.Ready, c.ReadyPort, c.ServicePort)
	}
}

// By default a program is ready with its first message, and its snapshot is in the
// current folder.
func TestSnapshotDefaults(t *testing.T) {
	s := &fakeSnapshot{}
	s.use(t)
	image := imageFile(t)
	t.Chdir(t.TempDir())
	if code, _, stderr := pvrunCommand(t, "snapshot", image); code != 0 {
		t.Fatal(stderr)
	}
	if s.saved != "prog.snap" || s.cfg.Ready != hypercall.ReadyMessage || s.cfg.Memory != hv.DefaultMemory {
		t.Errorf("saved %s, %+v", s.saved, s.cfg)
	}
}

func TestSnapshotErrors(t *testing.T) {
	tests := []struct {
		name   string
		s      *fakeSnapshot
		flags  []string
		code   int
		stderr string
	}{
		{"ended", &fakeSnapshot{boot: &hv.NotReadyError{Exit: hv.Exit{Code: 3}}}, nil, 123,
			"pvrun: the program ended with exit code 3 before it was ready: it has not asked for a message, as function.Handle does\n"},
		{"killed", &fakeSnapshot{boot: &hv.NotReadyError{Exit: hv.Exit{Signal: 11}}}, []string{"--ready=call"}, 123,
			"pvrun: the program was killed by signal 11 before it was ready: it has not called function.Ready\n"},
		{"time-out", &fakeSnapshot{waits: true}, []string{"--timeout=10ms", "--ready=listen:80"}, 124,
			"pvrun: the program was not ready after 10ms: it does not listen on TCP port 80 (--timeout allows more time)\n"},
		{"fault", &fakeSnapshot{boot: &hv.GuestFault{Reason: "jumped"}}, nil, 126, "pvrun: guest fault: jumped\n"},
		{"no image", &fakeSnapshot{boot: &hv.ImageError{Path: "x", Err: fs.ErrNotExist}}, nil, 127, "pvrun: x: file does not exist\n"},
		{"save", &fakeSnapshot{saveErr: &hv.HostError{Op: "write x", Err: syscall.ENOSPC}}, nil, 125, "pvrun: write x: no space left on device\n"},
	}
	for _, test := range tests {
		test.s.use(t)
		out := filepath.Join(t.TempDir(), "out")
		code, stdout, stderr := pvrunCommand(t, append([]string{"snapshot", imageFile(t), "-o", out}, test.flags...)...)
		if code != test.code || stdout != "" || stderr != test.stderr {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", test.name, code, stdout, stderr, test.code, test.stderr)
		}
	}
}

// snapshotFile is a file that goes for a snapshot where a fakeSnapshot is used.
func snapshotFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "prog.snap")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSnapshotOfSnapshot(t *testing.T) {
	(&fakeSnapshot{}).use(t)
	file := snapshotFile(t)
	code, _, stderr := pvrunCommand(t, "snapshot", file, "-o", t.TempDir()+"/x")
	if want := "pvrun: " + file + " is a snapshot already (see 'pvrun snapshot --help')\n"; code != 125 || stderr != want {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestRunSnapshot(t *testing.T) {
	s := &fakeSnapshot{}
	s.use(t)
	code, _, stderr := pvrunCommand(t, "run", "--name", "web", "--timeout", "1m", "--stats", "-", snapshotFile(t))
	if code != 0 || !strings.HasPrefix(stderr, "mode ") || len(s.made) != 1 {
		t.Fatalf("exit code %d, %q, %d machines", code, stderr, len(s.made))
	}
	if c := s.made[0].clone; c.Hostname != "web" || !c.CollectKVMStats || c.Stdin == nil || c.Stdout == nil || c.Stderr == nil {
		t.Errorf("got %+v", c)
	}
}

func TestRunSnapshotNote(t *testing.T) {
	s := &fakeSnapshot{info: hv.SnapshotInfo{Moment: hypercall.ReadyMessage}}
	s.use(t)
	if _, _, stderr := pvrunCommand(t, "run", snapshotFile(t)); !strings.Contains(stderr, "waits for messages: 'pvrun invoke'") {
		t.Errorf("got %q", stderr)
	}
}

// What a snapshot has already cannot be given, to whatever takes one.
func TestSnapshotRefusesFlags(t *testing.T) {
	s := &fakeSnapshot{info: hv.SnapshotInfo{Messages: true}}
	s.use(t)
	file := snapshotFile(t)
	after := ": " + file + " is a snapshot, whose program has begun already"
	for _, test := range []struct {
		want string
		args []string
	}{
		{"--memory", []string{"run", "-m", "64m", file}},
		{"--env", []string{"run", "-e", "A=1", file}},
		{"--workdir", []string{"run", "-w", "/", file}},
		{"--rootfs", []string{"run", "--rootfs", ".", file}},
		{"--volume", []string{"run", "-v", ".:/x", file}},
		{"--disk", []string{"run", "--disk", "x", file}},
		{"--mode", []string{"run", "--mode", "trap", file}},
		{`argument "x"`, []string{"run", file, "x"}},
		{"--memory", []string{"invoke", "-m", "64m", file}},
		{"--env-file", []string{"invoke", file, "--env-file", "x"}},
		{`argument "x"`, []string{"invoke", file, "--", "x"}},
	} {
		code, _, stderr := pvrunCommand(t, test.args...)
		want := "pvrun: " + test.want + after + " (see 'pvrun " + test.args[0] + " --help')\n"
		if code != 125 || stderr != want || len(s.made) > 0 {
			t.Errorf("%q: exit code %d, %q, want %q", test.args, code, stderr, want)
		}
	}
}

func TestSnapshotCannotBeRead(t *testing.T) {
	for err, code := range map[error]int{fs.ErrNotExist: 127, errors.New("cut off"): 125} {
		s := &fakeSnapshot{boot: &hv.SnapshotError{Path: "x", Err: err}}
		s.use(t)
		for _, verb := range []string{"run", "invoke"} {
			got, _, stderr := pvrunCommand(t, verb, snapshotFile(t))
			if got != code || stderr != "pvrun: x: "+err.Error()+"\n" {
				t.Errorf("%s: exit code %d, %q", verb, got, stderr)
			}
		}
	}
}
