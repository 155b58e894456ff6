package logs

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// What the clones of a function may write.
const (
	MaxLine = 8 << 10   // bytes; what is beyond is cut
	PerSec  = 256 << 10 // bytes a second, of all clones together
	burst   = 1 << 20   // bytes
	perLine = 128       // bytes that a line takes beside its own
)

// Program logs what the clones of a function write, by line.
type Program struct {
	log  *slog.Logger
	rate *rate.Limiter

	mu    sync.Mutex
	said  Dropped // of those below
	total Dropped
}

// Dropped is what was not logged.
type Dropped struct{ Lines, Bytes uint64 }

// NewProgram logs to log.
func NewProgram(log *slog.Logger) *Program {
	return &Program{log: log, rate: rate.NewLimiter(PerSec, burst)}
}

// Output is for one clone.
func (p *Program) Output() pool.Output {
	return &output{stdout: stream{program: p, name: "stdout"}, stderr: stream{program: p, name: "stderr"}}
}

// Dropped is what was not logged since the start.
func (p *Program) Dropped() Dropped {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Tell logs what was not logged since it was told last.
func (p *Program) Tell() {
	p.mu.Lock()
	d := Dropped{p.total.Lines - p.said.Lines, p.total.Bytes - p.said.Bytes}
	p.said = p.total
	p.mu.Unlock()
	if d != (Dropped{}) {
		p.log.Warn("output dropped: the function writes too much", "lines", d.Lines, "bytes", d.Bytes)
	}
}

func (p *Program) drop(lines, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total.Lines += uint64(lines)
	p.total.Bytes += uint64(bytes)
}

// output is what one clone writes.
type output struct{ stdout, stderr stream }

func (o *output) Stdout() io.Writer { return &o.stdout }
func (o *output) Stderr() io.Writer { return &o.stderr }

func (o *output) Begin(id string) {
	o.stdout.begin(id)
	o.stderr.begin(id)
}

func (o *output) End() {
	o.stdout.flush()
	o.stderr.flush()
}

// stream makes lines of what is written.
type stream struct {
	program *Program
	name    string

	mu   sync.Mutex // an invocation may begin while a program writes
	id   string
	line []byte // what has come of it
	cut  int    // bytes of it that are not in line
}

func (s *stream) begin(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
}

// Write never fails, and never waits.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			s.add(b)
			break
		}
		s.add(b[:i])
		s.end()
		b = b[i+1:]
	}
	return n, nil
}

func (s *stream) add(b []byte) {
	room := min(len(b), MaxLine-len(s.line))
	s.line = append(s.line, b[:room]...)
	s.cut += len(b) - room
}

// flush ends a line that has begun.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.line) > 0 {
		s.end()
	}
}

func (s *stream) end() {
	p := s.program
	if !p.rate.AllowN(time.Now(), len(s.line)+perLine) {
		p.drop(1, len(s.line)+s.cut)
	} else {
		if s.cut > 0 {
			p.drop(0, s.cut)
		}
		p.log.Info(string(bytes.TrimSuffix(s.line, []byte{'\r'})), "invocation", s.id, "stream", s.name)
	}
	if s.line, s.cut = s.line[:0], 0; cap(s.line) > 1<<10 {
		s.line = nil // most lines are short, and there are many clones
	}
}
