package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines are the records of a log in JSON.
func lines(t *testing.T, b *bytes.Buffer) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, m)
	}
	return list
}

func newProgram() (*Program, *bytes.Buffer) {
	b := new(bytes.Buffer)
	return NewProgram(slog.New(slog.NewJSONHandler(b, nil)).With("function", "f")), b
}

func TestLines(t *testing.T) {
	p, b := newProgram()
	o := p.Output()
	o.Begin("one")
	io.WriteString(o.Stdout(), "a")
	io.WriteString(o.Stderr(), "error\r\n")
	io.WriteString(o.Stdout(), "b\n\nc")
	o.End()
	o.Begin("two")
	io.WriteString(o.Stdout(), "\xff\x00\n")
	o.End()
	want := []string{"error one stderr", "ab one stdout", " one stdout", "c one stdout", "\ufffd\x00 two stdout"}
	got := lines(t, b)
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i, m := range got {
		if text := fmt.Sprint(m["msg"], " ", m["invocation"], " ", m["stream"]); text != want[i] || m["function"] != "f" {
			t.Errorf("got %q, want %q", text, want[i])
		}
	}
}

func TestLongLine(t *testing.T) {
	p, b := newProgram()
	o := p.Output()
	for range 100 {
		io.WriteString(o.Stdout(), strings.Repeat("x", 1000))
	}
	o.End()
	p.Tell()
	got := lines(t, b)
	if len(got) != 2 || len(got[0]["msg"].(string)) != MaxLine || got[1]["bytes"] != float64(100_000-MaxLine) || got[1]["lines"] != 0.0 {
		t.Errorf("got %v", got)
	}
}

// What is too much is dropped, and said once.
func TestTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b := newProgram()
		o := p.Output()
		line := []byte(strings.Repeat("x", 99) + "\n")
		const count = 100_000
		for range count {
			o.Stdout().Write(line)
		}
		p.Tell()
		p.Tell()
		got := lines(t, b)
		last := got[len(got)-1]
		logged := len(got) - 1
		if d := p.Dropped(); logged != burst/(99+perLine) || d.Lines != uint64(count-logged) || d.Bytes != 99*d.Lines || last["lines"] != float64(d.Lines) {
			t.Errorf("%d lines, dropped %+v, told %v", logged, d, last)
		}
		b.Reset()
		time.Sleep(time.Minute)
		o.Stdout().Write(line)
		if got := lines(t, b); len(got) != 1 {
			t.Errorf("later: got %v", got)
		}
	})
}

// stuck is a file that nobody reads.
type stuck struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// Nobody waits for a log that is stuck, and what it has missed it is told.
func TestStuckLog(t *testing.T) {
	to := new(stuck)
	to.mu.Lock()
	q := NewQueue(slog.NewJSONHandler(to, nil))
	log := slog.New(q).With("a", 1)
	const count = 3 * depth
	for range count {
		log.Info("x")
	}
	q.Close(time.Millisecond) // does not wait either
	to.mu.Unlock()
	<-q.ended
	got := lines(t, &to.b)
	lost := 0.0
	for _, m := range got {
		if n, ok := m["records"]; ok {
			lost += n.(float64)
		} else if m["a"] != 1.0 {
			t.Errorf("got %v", m)
		}
	}
	told := 0
	for _, m := range got {
		if m["records"] != nil {
			told++
		}
	}
	if lost == 0 || len(got)-told+int(lost) != count {
		t.Errorf("%d records, %v lost, of %d", len(got)-told, lost, count)
	}
}
