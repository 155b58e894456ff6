package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pvrun/pvrun"
)

// The guest's TCP/IP stack comes from modules of others, in the versions and with the
// checksums of this module's go.mod and go.sum. What of them guest/socket needs lies
// below src/pvrun/mod in the derived tree, where package net can import it.

// isSocket says whether a file is of the guest's package that needs them.
func isSocket(s source) bool { return strings.HasPrefix(s.name, "guest/socket/") }

func hasSockets(sources []source) bool { return slices.ContainsFunc(sources, isSocket) }

// guestModules are the modules' paths.
var guestModules = []string{"gvisor.dev/gvisor", "github.com/google/btree", "golang.org/x/exp", "golang.org/x/time"}

// module is what go mod download tells of one.
type module struct {
	Path, Version, Dir, Sum, Error string
}

// pinned is the version and the checksum of a module in go.mod and go.sum.
func pinned(name string) (m module, err error) {
	version := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(name) + ` (\S+)`).FindStringSubmatch(pvrun.Modules)
	if version == nil {
		return m, fmt.Errorf("go.mod does not name %s", name)
	}
	sum := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name+" "+version[1]) + ` (h1:\S+)$`).FindStringSubmatch(pvrun.Sums)
	if sum == nil {
		return m, fmt.Errorf("go.sum does not name %s %s", name, version[1])
	}
	return module{Path: name, Version: version[1], Sum: sum[1]}, nil
}

// pinnedModules is all of them.
func pinnedModules() (list []module, err error) {
	for _, name := range guestModules {
		m, err := pinned(name)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// fetch finds the modules in the module cache, or has the go command download them.
// The checksums are compared here too, since the user's settings can do without.
func fetch(ctx context.Context, t tool, list []module) error {
	args := []string{"mod", "download", "-json"}
	for _, m := range list {
		args = append(args, m.Path+"@"+m.Version)
	}
	out, failed := t.with("GOFLAGS=-mod=mod", "GOWORK=off", "GO111MODULE=on").output(ctx, os.TempDir(), args...)
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var got module
		if err := dec.Decode(&got); err != nil {
			return fmt.Errorf("go mod download: %w", err)
		}
		i := slices.IndexFunc(list, func(m module) bool { return m.Path == got.Path })
		switch {
		case got.Error != "":
			line, _, _ := strings.Cut(strings.TrimSpace(got.Error), "\n")
			return errors.New(line)
		case i < 0:
			continue
		case got.Sum != list[i].Sum:
			return fmt.Errorf("%s %s has the checksum %s, not %s", got.Path, got.Version, got.Sum, list[i].Sum)
		}
		list[i].Dir = got.Dir
	}
	for _, m := range list {
		if m.Dir == "" {
			return firstError(failed, fmt.Errorf("go mod download tells nothing of %s", m.Path))
		}
	}
	return nil
}

// modulePatches are changes to the modules' files, which are named by import path.
var modulePatches = []patch{
	{"gvisor.dev/gvisor/pkg/tcpip/tcpip.go", "package net imports it", `^\t"net"\n`, "\n", 1},
	{"gvisor.dev/gvisor/pkg/tcpip/tcpip.go", "package net imports it", `\bnet\.HardwareAddr\b`, "[]byte", 1},
	{"gvisor.dev/gvisor/pkg/rand/rand.go", "it serves any system", `^//go:build !linux\n// \+build !linux$`, "\n", 1},
	{"gvisor.dev/gvisor/pkg/sync/locking/lockdep_norace.go", "a directive that the compiler refuses in the standard library",
		`^//(go:inline)$`, "// ${1}", 0},
	{"gvisor.dev/gvisor/pkg/tcpip/transport/tcp/protocol_state.go", "secrets are of one life of the machine",
		`^(// afterLoad is invoked by stateify\.)$`,
		"func (p *protocol) PvRenew(draw func() uint32) { for _, s := range [...]*[16]byte{&p.seqnumSecret, &p.tsOffsetSecret} { for i := range s { s[i] = byte(draw()) } } } ${1}", 1},
	{"gvisor.dev/gvisor/pkg/tcpip/transport/tcp/accept.go", "and with them the cookies of who listens already",
		`^(\tl\.hasher\.Write\(l\.nonce\[nonceIndex\]\[:\]\))$`, "${1}; l.hasher.Write(l.protocol.seqnumSecret[:])", 1},
	{"gvisor.dev/gvisor/pkg/tcpip/transport/tcp/endpoint.go", "a connection of another life of the machine ends, and nothing is sent",
		`^(// Abort implements stack\.TransportEndpoint\.Abort\.)`,
		"func (e *Endpoint) PvReset() { e.LockUser(); switch s := e.EndpointState(); { case s.connected(): e.resetConnectionLocked(&tcpip.ErrConnectionReset{}); case s.connecting(): e.handshakeFailed(&tcpip.ErrConnectionReset{}) }; e.UnlockUser(); e.drainClosingSegmentQueue(); e.waiterQueue.Notify(waiter.EventHUp | waiter.EventErr | waiter.ReadableEvents | waiter.WritableEvents) } ${1}", 1},
	{"gvisor.dev/gvisor/pkg/tcpip/transport/udp/endpoint.go", "and what is sent to one side alone learns of it",
		`^(// Abort implements stack\.TransportEndpoint\.)`,
		"func (e *endpoint) PvReset() { e.lastErrorMu.Lock(); e.lastError = &tcpip.ErrConnectionReset{}; e.lastErrorMu.Unlock(); e.waiterQueue.Notify(waiter.EventErr | waiter.ReadableEvents | waiter.WritableEvents) } ${1}", 1},
	// A window of some bytes is announced as 0 when it is rounded down. What a peer has
	// sent into it would be refused for ever, and each acknowledgment with it.
	{"gvisor.dev/gvisor/pkg/tcpip/transport/tcp/rcv.go", "the edge of a window stays where it was announced",
		`return (header\.Acceptable\(segSeq, segLen, r\.RcvNxt, )(r\.RcvNxt\.Add\(advertisedWindowSize\))\)`,
		"edge := ${2}\n\tif edge.LessThan(r.RcvAcc) {\n\t\tedge = r.RcvAcc\n\t}\n\treturn ${1}edge)", 1},
}

// leftOut are files of the modules that only programs on Linux need, and what they
// import with them.
var leftOut = []string{
	"gvisor.dev/gvisor/pkg/rand/rand_linux.go",
	"gvisor.dev/gvisor/pkg/tcpip/errors_linux.go",
	"gvisor.dev/gvisor/pkg/log/json.go",
	"gvisor.dev/gvisor/pkg/log/json_k8s.go",
}

// copier copies packages of the modules, and those that they import, into a tree.
type copier struct {
	modules []module
	to      string // src/pvrun/mod
	done    map[string]bool
}

// copyModules copies what the sources import of the modules to tree.
func copyModules(tree string, modules []module, sources []source) error {
	c := copier{modules: modules, to: filepath.Join(tree, "src", "pvrun", "mod"), done: map[string]bool{}}
	for _, s := range sources {
		if err := c.follow(s.text); err != nil {
			return err
		}
	}
	return nil
}

// imported finds import declarations in files that gofmt has been over.
var imported = regexp.MustCompile(`(?m)^(?:import |\t)(?:[\w.]+ )?"(?:pvrun/mod/)?([^"\s]+)"(?: //.*)?$`)

// follow copies the packages that a file imports.
func (c *copier) follow(text []byte) error {
	for _, found := range imported.FindAllSubmatch(text, -1) {
		p := string(found[1])
		i := slices.IndexFunc(c.modules, func(m module) bool { return strings.HasPrefix(p+"/", m.Path+"/") })
		if i < 0 || c.done[p] {
			continue
		}
		c.done[p] = true
		if err := c.copyPackage(c.modules[i], p); err != nil {
			return err
		}
	}
	return nil
}

// copyPackage copies a package with the files for any system: the go command
// chooses.
func (c *copier) copyPackage(m module, p string) error {
	files, err := packageSources(os.DirFS(filepath.Join(m.Dir, strings.TrimPrefix(p, m.Path))), p)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(s source) bool { return slices.Contains(leftOut, s.name) })
	for i := range files {
		f := &files[i]
		if f.text, err = patchModule(f.name, f.text); err != nil {
			return err
		}
		if err := c.follow(f.text); err != nil {
			return err
		}
	}
	return writeSources(c.to, files)
}

func patchModule(name string, text []byte) (_ []byte, err error) {
	for _, p := range modulePatches {
		if p.file == name && err == nil {
			text, err = p.apply(text)
		}
	}
	return text, err
}
