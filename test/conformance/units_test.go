package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKey(t *testing.T) {
	base := func() (*lab, unit) {
		return &lab{version: "go1.26.8", hash: "aa", vm: []string{"-m", "2g"}}, unit{name: "x", inputs: "m@v1"}
	}
	l, u := base()
	first := map[side]string{native: l.key(u, native), here: l.key(u, here)}
	if first[native] == first[here] {
		t.Error("both sides have the same key")
	}
	for _, c := range []struct {
		what    string
		change  func(*lab, *unit)
		natives bool // it matters to the native side
	}{
		{"nothing of it", func(l *lab, u *unit) { l.rounds, u.group = 3, "g" }, false},
		{"Go", func(l *lab, u *unit) { l.version = "go1.26.9" }, true},
		{"flags", func(l *lab, u *unit) { l.flags = []string{"-short"} }, true},
		{"inputs", func(l *lab, u *unit) { u.inputs = "m@v2" }, true},
		{"pvrun", func(l *lab, u *unit) { l.hash = "bb" }, false},
		{"the machine", func(l *lab, u *unit) { l.vm = nil }, false},
	} {
		l, u := base()
		c.change(l, &u)
		if got := l.key(u, native) != first[native]; got != c.natives {
			t.Errorf("%s: native key changes: got %v, want %v", c.what, got, c.natives)
		}
		if got, want := l.key(u, here) != first[here], c.what != "nothing of it"; got != want {
			t.Errorf("%s: key changes: got %v, want %v", c.what, got, want)
		}
	}
}

func TestStore(t *testing.T) {
	l := &lab{out: t.TempDir(), version: "go1.26.8"}
	u := unit{section: "std", name: "a/b"}
	if r, err := l.fresh(u, native); r != nil || err != nil {
		t.Errorf("nothing stored: got %v, %v", r, err)
	}
	want := newResult()
	want.Key, want.Passed, want.Times["TestX"], want.Seconds = l.key(u, native), []string{"TestX", "TestX/y"}, 1.5, 2
	want.Other["TestZ"] = verdict{Status: down, Output: "x"}
	if err := l.store(u, native, want); err != nil {
		t.Fatal(err)
	}
	if got, err := l.fresh(u, native); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if r, _ := l.fresh(u, here); r != nil {
		t.Error("the other side has it too")
	}
	l.version = "go1.26.9"
	if r, _ := l.fresh(u, native); r != nil {
		t.Error("still fresh with another Go")
	}
	l.version = "go1.26.8"
	if err := os.WriteFile(l.file(u, native), []byte(`{"Key":`), 0o666); err != nil {
		t.Fatal(err)
	}
	if r, err := l.fresh(u, native); r != nil || err != nil {
		t.Errorf("half a file: got %v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(l.out, "*", "*", "*.tmp")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestLimit(t *testing.T) {
	n := &result{Seconds: 100, Times: map[string]float64{"A": 60, "B": 10, "C": 70}}
	for _, c := range []struct {
		native *result
		choice
		want time.Duration
	}{
		{nil, choice{}, time.Hour},
		{n, choice{}, 3*time.Minute + 400*time.Second},
		{n, choice{skip: []string{"A", "C"}}, 3*time.Minute + 40*time.Second},
		{n, choice{skip: []string{"B"}}, 3*time.Minute + 400*time.Second},
		{n, choice{run: "A"}, 3*time.Minute + 240*time.Second},
		{n, choice{run: "Z"}, 3 * time.Minute},
		{&result{Seconds: 1e6}, choice{}, time.Hour},
	} {
		if got := (budget{time.Hour, c.native}).limit(c.choice); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.choice, got, c.want)
		}
	}
}

func TestTestArgs(t *testing.T) {
	l := &lab{pvrun: "/bin/pvrun", vm: []string{"-m", "2g"}, flags: []string{"-short"}}
	for _, c := range []struct {
		side
		choice
		want string
	}{
		{native, choice{}, "go test -json -count=1 -vet=off -timeout=1m0s -short os"},
		{standin, choice{run: "TestX"}, "go test -json -count=1 -vet=off -timeout=1m0s -short -run=^(TestX)$ os"},
		{here, choice{skip: []string{"TestX", "TestY"}}, "/bin/pvrun test -m 2g -json -count=1 -vet=off -timeout=1m0s -short -skip=^(TestX|TestY)$ os"},
	} {
		if got := strings.Join(l.testArgs(c.side, "os", c.choice, time.Minute), " "); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestCommandIsGivenUp(t *testing.T) {
	begin := time.Now()
	var lines []string
	c := command{args: []string{"sh", "-c", "echo one; sleep 600 & sleep 600"}, limit: 500 * time.Millisecond}
	end, err := c.run(t.Context(), func(line []byte) { lines = append(lines, string(line)) })
	if err != nil || !end.expired || !strings.Contains(end.stderr, "given up after 500ms") {
		t.Errorf("got %+v, %v", end, err)
	}
	if !slices.Equal(lines, []string{"one\n"}) {
		t.Errorf("got lines %q", lines)
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("took %v: what the command had started was waited for", took)
	}
}

func TestCommandEnds(t *testing.T) {
	end, err := command{args: []string{"sh", "-c", "echo bad >&2; exit 3"}, limit: time.Minute}.run(t.Context(), nil)
	if want := (ending{code: 3, stderr: "bad\n"}); err != nil || end != want {
		t.Errorf("got %+v, %v; want %+v", end, err, want)
	}
	if _, err := (command{args: []string{"/no/such/command"}, limit: time.Minute}).run(t.Context(), nil); err == nil {
		t.Error("a command that is not there: got no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := (command{args: []string{"sleep", "600"}, limit: time.Minute}).run(ctx, nil); err != context.Canceled {
		t.Errorf("interrupted: got %v, want %v", err, context.Canceled)
	}
}

// What is interrupted stores nothing, and what has been stored is not run again.
func TestRunAllGoesOn(t *testing.T) {
	l := &lab{out: t.TempDir(), version: "go1.26.8"}
	var ran []string
	ctx, cancel := context.WithCancel(t.Context())
	units := func(stopAt string) (list []unit) {
		for _, name := range []string{"a", "b", "c"} {
			u := unit{section: "std", name: name}
			u.run = func(ctx context.Context, s side, _ budget) (*result, error) {
				if ran = append(ran, fmt.Sprint(name, " ", s)); name+" "+string(s) == stopAt {
					cancel()
					return nil, ctx.Err()
				}
				return newResult(), nil
			}
			list = append(list, u)
		}
		return list
	}
	o := &options{jobs: 1}
	var text strings.Builder
	if err := o.runAll(ctx, l, units("b here"), newProgress(&text)); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if err := o.runAll(t.Context(), l, units(""), newProgress(&text)); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprint(ran), "[a native a here b native b here b here c native c here]"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	if !strings.Contains(text.String(), "1 of 3 results were there already") {
		t.Errorf("progress: got %q", text.String())
	}
}
