package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/load"
)

// echo answers with what it has got.
func echo(_ *fakeInstance, request []byte) (hv.Response, error) {
	return hv.Response{Data: append([]byte("got "), request...)}, nil
}

func TestInvokeOnce(t *testing.T) {
	s := &fakeSnapshot{answer: echo}
	s.use(t)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("a\x00file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{"": "got ", "text": "got text", "@" + file: "got a\x00file\n"} {
		code, stdout, stderr := pvrunCommand(t, "invoke", imageFile(t), "-m", "128m", "-d", data, "--", "arg")
		if code != 0 || stdout != want || stderr != "" {
			t.Errorf("-d %s: exit code %d, %q, %q", data, code, stdout, stderr)
		}
	}
	if c := s.cfg; c.Memory != 128<<20 || c.Args[1] != "arg" || !c.Messages || c.Ready != hypercall.ReadyMessage || c.Stdin != nil {
		t.Errorf("got %+v", c)
	}
}

func TestInvokeStdin(t *testing.T) {
	s := &fakeSnapshot{answer: echo}
	s.use(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { w.WriteString("from\nstdin"); w.Close() }()
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"invoke", imageFile(t), "-d", "-"}, r, &stdout, &stderr); code != 0 || stdout.String() != "got from\nstdin" {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}

func TestInvokeTooLong(t *testing.T) {
	s := &fakeSnapshot{answer: func(_ *fakeInstance, request []byte) (hv.Response, error) { return hv.Response{}, nil }}
	s.use(t)
	file := filepath.Join(t.TempDir(), "data")
	for more, code := range map[int]int{0: 0, 1: 125} {
		if err := os.WriteFile(file, make([]byte, hypercall.MaxMessage+more), 0o644); err != nil {
			t.Fatal(err)
		}
		got, _, stderr := pvrunCommand(t, "invoke", imageFile(t), "-d", "@"+file)
		if got != code || code != 0 && stderr != "pvrun: message "+file+": a message has 6291456 bytes at the most\n" {
			t.Errorf("%d bytes too many: exit code %d, %q", more, got, stderr)
		}
	}
}

// answers are what a machine can answer with, and what pvrun says to it.
var answers = []struct {
	name   string
	answer func(*fakeInstance, []byte) (hv.Response, error)
	code   int
	stderr string
	kind   string // in a report; "" ends it
}{
	{"failed", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{Data: []byte("no such key"), Failed: true}, nil
	}, 1, "the program's handler failed: no such key", "failed"},
	{"failed without a word", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{Failed: true}, nil
	}, 1, "the program's handler failed", "failed"},
	{"ended", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{}, &hv.EndedError{Exit: hv.Exit{Code: 2}}
	}, 123, "the program ended with exit code 2 in place of answering", "ended"},
	{"spins", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{}, errSpins
	}, 124, "time-out: no response after 20ms", "timed out"},
	{"fault", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{}, &hv.GuestFault{Reason: "no memory left"}
	}, 126, "guest fault: no memory left", "guest fault"},
	{"host", func(*fakeInstance, []byte) (hv.Response, error) {
		return hv.Response{}, &hv.HostError{Op: "run machine", Err: syscall.EIO}
	}, 125, "run machine: input/output error", ""},
}

func TestInvokeFailures(t *testing.T) {
	for _, test := range answers {
		s := &fakeSnapshot{answer: test.answer}
		s.use(t)
		stats := filepath.Join(t.TempDir(), "stats")
		code, stdout, stderr := pvrunCommand(t, "invoke", imageFile(t), "--timeout", "20ms", "--stats", stats)
		if code != test.code || stdout != "" || stderr != "pvrun: "+test.stderr+"\n" {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", test.name, code, stdout, stderr, test.code, test.stderr)
		}
		var got hv.Stats
		text, err := os.ReadFile(stats)
		if err != nil || json.Unmarshal(text, &got) != nil || got.Exits.Total != 3 || got.ExitCode != test.code {
			t.Errorf("%s: statistics: %v, %s", test.name, err, text)
		}
	}
}

// Of many messages each failure is counted, the first of a kind is told, and the
// machine is not used again unless it has answered.
func TestInvokeManyFailures(t *testing.T) {
	for _, test := range answers {
		s := &fakeSnapshot{answer: test.answer}
		s.use(t)
		code, stdout, stderr := pvrunCommand(t, "invoke", imageFile(t), "-n", "3", "-o", "json", "--timeout", "20ms")
		if test.kind == "" {
			if code != test.code || stdout != "" {
				t.Errorf("%s: exit code %d, %q, %q", test.name, code, stdout, stderr)
			}
			continue
		}
		var rep load.Report
		if err := json.Unmarshal([]byte(stdout), &rep); err != nil || rep.Count != 3 || rep.ByKind[test.kind] != 3 {
			t.Errorf("%s: %v, %s", test.name, err, stdout)
		}
		if want := "pvrun: " + test.kind + ", such as: " + test.stderr + "\n"; code != 1 || stderr != want {
			t.Errorf("%s: exit code %d, %q, want %q", test.name, code, stderr, want)
		}
		want := 3
		if test.kind == "failed" {
			want = 1
		}
		if len(s.made) != want {
			t.Errorf("%s: got %d machines, want %d", test.name, len(s.made), want)
		}
	}
}

func TestInvokeNotReady(t *testing.T) {
	s := &fakeSnapshot{waits: true}
	s.use(t)
	code, stdout, stderr := pvrunCommand(t, "invoke", imageFile(t), "--timeout", "10ms")
	want := "pvrun: the program was not ready after 10ms: it has not asked for a message, as function.Handle does (--timeout allows more time)\n"
	if code != 124 || stdout != "" || stderr != want {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestInvokeNoMessages(t *testing.T) {
	s := &fakeSnapshot{}
	s.use(t)
	file := snapshotFile(t)
	if code, _, stderr := pvrunCommand(t, "invoke", file); code != 125 || stderr != "pvrun: "+file+": its program gets no messages\n" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestInvokeConnects(t *testing.T) {
	s := &fakeSnapshot{info: hv.SnapshotInfo{Messages: true, Moment: hypercall.ReadyConnect, ServicePort: 9001}}
	s.use(t)
	file := snapshotFile(t)
	want := "pvrun: " + file + ": its program gets no messages: it asks for work itself, at port 9001 of the host's\n"
	if code, _, stderr := pvrunCommand(t, "invoke", file); code != 125 || stderr != want {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestIsolation checks which machine gets a message.
func TestIsolation(t *testing.T) {
	for _, test := range []struct {
		flags              []string
		machines, afterUse int
	}{
		{nil, 1, 1},
		{[]string{"--isolation", "invocation"}, 1, 1},
		{[]string{"--isolation", "instance"}, 1, 10},
		{[]string{"--fresh"}, 10, 1},
	} {
		most := 0
		s := &fakeSnapshot{info: hv.SnapshotInfo{Messages: true}}
		s.answer = func(vm *fakeInstance, b []byte) (hv.Response, error) {
			most = max(most, vm.afterUse)
			return echo(vm, b)
		}
		s.use(t)
		code, stdout, stderr := pvrunCommand(t, append([]string{"invoke", "-n", "10", snapshotFile(t)}, test.flags...)...)
		if code != 0 || !strings.Contains(stdout, "invocations              10\n") || !strings.Contains(stdout, "exits an invocation      3\n") {
			t.Errorf("%v: exit code %d, %s%s", test.flags, code, stdout, stderr)
		}
		if len(s.made) != test.machines || most != test.afterUse {
			t.Errorf("%v: got %d machines, at most %d messages of one; want %d, %d", test.flags, len(s.made), most, test.machines, test.afterUse)
		}
		for _, vm := range s.made {
			if !vm.closed {
				t.Errorf("%v: a machine is not closed", test.flags)
			}
		}
	}
}

// A machine that cannot be rewound makes way for another.
func TestRewindFails(t *testing.T) {
	s := &fakeSnapshot{answer: echo, rewind: errors.New("no")}
	s.use(t)
	if code, _, stderr := pvrunCommand(t, "invoke", "-n", "3", imageFile(t)); code != 0 || len(s.made) != 3 {
		t.Errorf("exit code %d, %s, %d machines", code, stderr, len(s.made))
	}
}

func TestNoMachine(t *testing.T) {
	s := &fakeSnapshot{answer: echo, newErr: &hv.HostError{Op: "create machine", Err: syscall.ENOMEM}}
	s.use(t)
	for _, n := range []string{"1", "5"} {
		code, stdout, stderr := pvrunCommand(t, "invoke", "-n", n, "-c", "2", imageFile(t))
		if code != 125 || stdout != "" || stderr != "pvrun: create machine: cannot allocate memory\n" {
			t.Errorf("-n %s: exit code %d, %q, %q", n, code, stdout, stderr)
		}
	}
}

func TestInvokePrint(t *testing.T) {
	s := &fakeSnapshot{answer: echo}
	s.use(t)
	code, stdout, stderr := pvrunCommand(t, "invoke", "-n", "3", "-c", "8", "-d", "x", "--print", imageFile(t))
	if code != 0 || stdout != "got x\ngot x\ngot x\n" || !strings.HasPrefix(stderr, "invocations  ") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if len(s.made) != 3 {
		t.Errorf("got %d machines for 3 messages", len(s.made))
	}
	// One message is reported too, if that is what is asked for.
	_, stdout, stderr = pvrunCommand(t, "invoke", "-o", "bench", imageFile(t))
	if !strings.Contains(stdout, "BenchmarkProg/isolation=invocation/workers=1\t1\t") {
		t.Errorf("got %q, %q", stdout, stderr)
	}
}

// A signal to pvrun ends it all, with a report of what there was.
func TestInvokeSignal(t *testing.T) {
	for _, n := range []string{"1", "1000"} {
		s := &fakeSnapshot{}
		s.answer = func(vm *fakeInstance, b []byte) (hv.Response, error) {
			if n != "1" && vm.invoked < 3 {
				return echo(vm, b)
			}
			syscall.Kill(os.Getpid(), syscall.SIGTERM)
			return hv.Response{}, errSpins
		}
		s.use(t)
		code, stdout, stderr := pvrunCommand(t, "invoke", "-n", n, "--isolation", "instance", imageFile(t))
		if code != 128+15 || stderr != "" || (n == "1") != (stdout == "") {
			t.Errorf("-n %s: exit code %d, %q, %q", n, code, stdout, stderr)
		}
		if n != "1" && !strings.HasPrefix(stdout, "invocations              2\n") {
			t.Errorf("got %s", stdout)
		}
	}
}
