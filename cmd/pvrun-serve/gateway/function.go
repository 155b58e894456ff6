package gateway

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// Function is one that is served.
type Function struct {
	Name string
	Path string // where it answers, beside hosts of its name
	Host string // likewise; "" for none

	Pool *pool.Function
	Logs *logs.Program

	*state
}

// state is what stays when a function answers somewhere else.
type state struct {
	trouble atomic.Pointer[string]
	window  window
	bodies  *semaphore.Weighted // bytes of messages that are held
}

// maxBodies is how many bytes of messages a function may have waiting.
const maxBodies = 128 << 20

// NewFunction makes one that is not in a Gateway yet.
func NewFunction(name, path, host string, p *pool.Function, l *logs.Program) *Function {
	return &Function{Name: name, Path: path, Host: host, Pool: p, Logs: l, state: &state{bodies: semaphore.NewWeighted(maxBodies)}}
}

// At is the same function at another place.
func (f *Function) At(path, host string) *Function {
	other := *f
	other.Path, other.Host = path, host
	return &other
}

// SetTrouble says why the function is not, or not as it should be; "" when it is.
func (f *Function) SetTrouble(text string) { f.trouble.Store(&text) }

// Trouble is what SetTrouble has said.
func (f *Function) Trouble() string {
	if text := f.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// table finds functions.
type table struct {
	all   []*Function
	paths map[string]*Function
	hosts map[string]*Function
	names map[string]*Function
}

func newTable(all []*Function) *table {
	t := &table{all, map[string]*Function{}, map[string]*Function{}, map[string]*Function{}}
	for _, f := range all {
		t.paths[f.Path], t.names[f.Name] = f, f
		if f.Host != "" {
			t.hosts[f.Host] = f
		}
	}
	return t
}

// find is the function that a request is for, and what of the path is not for its
// program. A host is a function's own, or begins with its name. Programs that serve HTTP
// have all paths of their hosts, and those below their path; others have one path.
func (t *table) find(host, path string) (f *Function, prefix string) {
	at := t.at(host)
	if at != nil && at.whole() {
		return at, ""
	}
	for p := path; p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if f := t.paths[p]; f != nil && (p == path || f.whole()) {
			return f, p
		}
		if !strings.Contains(p, "/") {
			break
		}
	}
	if path == "/" {
		return at, ""
	}
	return nil, ""
}

// at is the function of a host.
func (t *table) at(host string) *Function {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	if f := t.hosts[host]; f != nil {
		return f
	}
	name, _, more := strings.Cut(host, ".")
	if !more {
		return nil
	}
	return t.names[name]
}

// whole says whether all paths are the program's. It may be so as long as nobody knows.
func (f *Function) whole() bool {
	c, known := f.Pool.Contract()
	return !known || c == pool.HTTP
}
