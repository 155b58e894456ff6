package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// fakeMachine ends as its fields say, or with its context.
type fakeMachine struct {
	cfg  hv.Config
	exit hv.Exit
	err  error
	ends bool // by itself

	mu      sync.Mutex
	signals []syscall.Signal
	taken   bool
}

func (m *fakeMachine) Run(ctx context.Context) (hv.Exit, error) {
	if m.ends {
		return m.exit, m.err
	}
	<-ctx.Done()
	return hv.Exit{}, context.Cause(ctx)
}

func (m *fakeMachine) Signal(s syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signals = append(m.signals, s)
}

func (m *fakeMachine) SignalTaken() bool { return m.taken }
func (m *fakeMachine) Stats() hv.Stats   { return hv.Stats{Mode: "pv", ExitCode: m.exit.Code} }

// use makes pvrun run m in place of virtual machines.
func (m *fakeMachine) use(t *testing.T) {
	old := newMachine
	t.Cleanup(func() { newMachine = old })
	newMachine = func(cfg hv.Config) (machine, error) { m.cfg = cfg; return m, nil }
}

// imageFile is a file for a fakeMachine to be started with.
func imageFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "prog.img")
	if err := os.WriteFile(name, []byte("\x7fELF"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunExit(t *testing.T) {
	fault := &hv.GuestFault{Reason: "jumped into the sea"}
	tests := []struct {
		name   string
		m      *fakeMachine
		flags  []string
		code   int
		stderr string
	}{
		{"success", &fakeMachine{ends: true}, nil, 0, ""},
		{"program's code", &fakeMachine{ends: true, exit: hv.Exit{Code: 3}}, nil, 3, ""},
		{"signal", &fakeMachine{ends: true, exit: hv.Exit{Signal: 15}}, nil, 143, ""},
		{"fault", &fakeMachine{ends: true, err: fault}, nil, 126, "pvrun: guest fault: jumped into the sea\nrip 0000000000000000"},
		{"host", &fakeMachine{ends: true, err: &hv.HostError{Op: "map", Err: syscall.ENOMEM}}, nil, 125, "pvrun: map: cannot allocate memory\n"},
		{"time-out", &fakeMachine{}, []string{"--timeout", "10ms"}, 124, "pvrun: time-out after 10ms\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.m.use(t)
			stats := filepath.Join(t.TempDir(), "stats.json")
			args := append(append([]string{"run", "--stats", stats}, test.flags...), imageFile(t))
			code, stdout, stderr := pvrunCommand(t, args...)
			if code != test.code || stdout != "" || !strings.HasPrefix(stderr, test.stderr) || test.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, %q, %q; want %d, %q", code, stdout, stderr, test.code, test.stderr)
			}
			text, err := os.ReadFile(stats)
			var s hv.Stats
			if err != nil || json.Unmarshal(text, &s) != nil || s.Mode != "pv" || s.ExitCode != test.code {
				t.Errorf("statistics: %v, %s", err, text)
			}
		})
	}
}

func TestRunConfig(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	t.Setenv("FROM_HOST", "host")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\nA=file\nB=file\nFROM_HOST\nMISSING_ONE\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := imageFile(t)
	code, _, stderr := pvrunCommand(t, "run", "-m", "128m", "-w", "/tmp", "-e", "A=flag", "-eC=", "--env-file", file,
		"--rootfs", t.TempDir(), image, "-m", "--", "x", "--help")
	if code != 0 {
		t.Fatal(stderr)
	}
	want := []string{"prog", "-m", "--", "x", "--help"}
	if !reflect.DeepEqual(m.cfg.Args, want) || m.cfg.Image != image {
		t.Errorf("args: got %q, want %q", m.cfg.Args, want)
	}
	if want := []string{"PATH=/bin", "HOME=/", "A=flag", "B=file", "FROM_HOST=host", "C="}; !reflect.DeepEqual(m.cfg.Env, want) {
		t.Errorf("env: got %q, want %q", m.cfg.Env, want)
	}
	if m.cfg.Memory != 128<<20 || m.cfg.Dir != "/tmp" || !strings.Contains(string(m.cfg.RootFS), "TRAILER!!!") {
		t.Errorf("config: %+v", m.cfg)
	}
}

func TestRunNoImage(t *testing.T) {
	m := &fakeMachine{}
	m.use(t)
	newMachine = func(cfg hv.Config) (machine, error) {
		return nil, &hv.ImageError{Path: cfg.Image, Err: fs.ErrNotExist}
	}
	if code, _, stderr := pvrunCommand(t, "run", imageFile(t)); code != 127 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestStatsTable(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	code, _, stderr := pvrunCommand(t, "run", "--stats", "-", imageFile(t))
	if code != 0 || !strings.HasPrefix(stderr, "mode ") || !strings.Contains(stderr, "\nexits.total ") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestForward checks when signals end the machine.
func TestForward(t *testing.T) {
	tests := []struct {
		name  string
		send  []os.Signal
		taken bool
		want  error
	}{
		{"passed on", []os.Signal{syscall.SIGHUP, syscall.SIGWINCH, syscall.SIGUSR1}, false, nil},
		{"taken", []os.Signal{syscall.SIGINT}, true, nil},
		{"second", []os.Signal{syscall.SIGINT, syscall.SIGUSR1, syscall.SIGTERM}, true, signalError{syscall.SIGTERM}},
		{"no answer", []os.Signal{syscall.SIGTERM}, false, signalError{syscall.SIGTERM}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			old := patience
			defer func() { patience = old }()
			patience = 20 * time.Millisecond
			m := &fakeMachine{taken: test.taken}
			ctx, cancel := context.WithCancelCause(context.Background())
			signals, done := make(chan os.Signal, 8), make(chan struct{})
			for _, s := range test.send {
				signals <- s
			}
			time.AfterFunc(5*patience, func() { close(done) })
			forward(m, signals, done, cancel)
			if got := context.Cause(ctx); !errors.Is(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if fmt.Sprint(m.signals) != fmt.Sprint(test.send) {
				t.Errorf("passed on %v, want %v", m.signals, test.send)
			}
		})
	}
}

func TestSplitArgs(t *testing.T) {
	for line, want := range map[string]string{
		"x.img a b":        "[x.img] [a b]",
		"./cmd/x -v":       "[./cmd/x] [-v]",
		"a.go b.go c d.go": "[a.go b.go] [c d.go]",
		"x a.go":           "[x] [a.go]",
	} {
		pkg, rest := splitArgs(strings.Fields(line))
		if got := fmt.Sprint(pkg, rest); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"64m": 64 << 20, "64M": 64 << 20, "64Mi": 64 << 20, "64MiB": 64 << 20, "1g": 1 << 30, "512k": 512 << 10,
		"4096": 4096, "4096b": 4096, "": -1, "m": -1, "-1m": -1, "1.5g": -1, "1t": 1 << 40, "99999999999g": -1, "1 m": -1,
	} {
		got, err := parseSize(s)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("parseSize(%q) = %d, want %d", s, got, want)
		}
	}
	for n, want := range map[sizeValue]string{64 << 20: "64m", 1 << 30: "1g", 1536 << 20: "1536m", 1 << 40: "1t", 1000: "1000", 0: "0"} {
		if got := n.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}

// heldMachine is one whose Run does not come back.
type heldMachine struct{ fakeMachine }

func (m *heldMachine) Run(context.Context) (hv.Exit, error) { select {} }

func TestHeldMachine(t *testing.T) {
	oldMachine, oldPatience := newMachine, patience
	t.Cleanup(func() { newMachine, patience = oldMachine, oldPatience })
	newMachine = func(hv.Config) (machine, error) { return &heldMachine{}, nil }
	patience = 10 * time.Millisecond
	code, _, stderr := pvrunCommand(t, "run", "--timeout", "10ms", imageFile(t))
	if code != exitTimeout || stderr != "pvrun: time-out after 10ms\n" {
		t.Errorf("code %d, %q", code, stderr)
	}
}
