package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/build"
)

// places are what a program of `go test` sees of the host: folders at the same
// paths, and the environment.
type places struct {
	dir     string // working directory, in the guest
	host    string // the same, on the host
	env     []string
	folders []string // those that env speaks of: in the guest, empty and in memory
	shared  []shareFlag
}

// newPlaces begins with the environment. Inside a derived tree the program
// finds the installed one, which the derived one is a patched copy of.
func newPlaces(dir string, env []string) *places {
	p := &places{dir: dir, host: dir, env: slices.Clone(env)}
	if derived := p.getenv("GOROOT"); derived != "" && build.Origin(derived) != derived {
		origin := build.Origin(derived)
		p.setenv("GOROOT", origin)
		p.share(origin, false)
		p.share(derived, false)
		if rel, ok := within(derived, dir); ok {
			p.dir, p.host = filepath.Join(origin, rel), filepath.Join(origin, rel)
			p.setenv("PWD", p.dir)
		}
	}
	for _, dir := range append(filepath.SplitList(p.getenv("PATH")), p.getenv("HOME")) {
		if filepath.IsAbs(dir) {
			p.folders = append(p.folders, filepath.Clean(dir))
		}
	}
	if tmp := p.getenv("TMPDIR"); filepath.IsAbs(tmp) {
		p.share(tmp, true)
	}
	if cover := p.getenv("GOCOVERDIR"); cover != "" {
		p.share(absolute(dir, cover), true)
	}
	return p
}

// program adds what go test runs a binary for: its module, and itself.
func (p *places) program(file string, writable bool) {
	p.share(filepath.Dir(file), false)
	p.share(moduleRoot(p.host), writable)
}

// share shows a folder at its own path. Of two that are the same the writable
// one counts; folders that are not there are left out.
func (p *places) share(dir string, writable bool) {
	dir = filepath.Clean(dir)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || dir == "/" {
		return
	}
	for i := range p.shared {
		if p.shared[i].guest == dir {
			p.shared[i].writable = p.shared[i].writable || writable
			return
		}
	}
	p.shared = append(p.shared, shareFlag{dir, dir, writable})
}

// with is what is shared, and in its place what the command line shares there.
func (p *places) with(list []shareFlag) []shareFlag {
	all := slices.DeleteFunc(slices.Clone(p.shared), func(s shareFlag) bool {
		return slices.ContainsFunc(list, func(f shareFlag) bool { return f.guest == s.guest })
	})
	return append(all, list...)
}

func (p *places) getenv(name string) string {
	for _, kv := range slices.Backward(p.env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (p *places) setenv(name, value string) {
	p.env = append(slices.DeleteFunc(p.env, func(kv string) bool {
		return strings.HasPrefix(kv, name+"=")
	}), name+"="+value)
}

// Flags of a test binary that name a file to write, and a folder to write in.
var (
	outputFlags = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}
	folderFlags = []string{"gocoverdir"}
)

// outbox is a folder that a test binary writes its profiles to. Only they come
// out of the machine: the folder where they go is not the test's to write.
//
// What the test does to names must lead nowhere else, neither in the outbox nor,
// where that is the test's to write, in the folder where a file goes. So both
// are opened before it runs.
type outbox struct {
	args  []string
	dir   string
	root  *os.Root // of dir
	files []outFile
}

// outFile is one of them: its name in the outbox, and where it belongs.
type outFile struct {
	flag string
	to   string
	dir  *os.Root // of to
}

// outputs looks for flags that name files and leads them to an outbox.
func (p *places) outputs(args []string) (*outbox, error) {
	o := &outbox{args: slices.Clone(args)}
	values := testFlags(o.args)
	outDir := p.host
	if v := values["outputdir"]; v != nil {
		outDir = absolute(p.host, v.value())
	}
	for _, name := range folderFlags {
		if v := values[name]; v != nil {
			p.share(absolute(p.host, v.value()), true)
		}
	}
	if v := values["artifacts"]; v != nil && v.value() != "false" {
		dir := filepath.Join(outDir, "_artifacts")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		p.share(dir, true)
	}
	for _, name := range outputFlags {
		v := values[name]
		if v == nil || v.value() == "" || strings.HasPrefix(v.value(), "/dev/") {
			continue
		}
		if err := o.add(name, v, absolute(outDir, v.value())); err != nil {
			o.remove()
			return nil, err
		}
	}
	if o.dir != "" {
		p.share(o.dir, true)
	}
	return o, nil
}

// add leads one file to the outbox.
func (o *outbox) add(flag string, v *flagValue, to string) error {
	if real, err := filepath.EvalSymlinks(to); err == nil {
		to = real // a link that the user has made is followed
	}
	dir, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("-%s %s: %w", flag, to, errors.Unwrap(err))
	}
	o.files = append(o.files, outFile{flag, to, dir})
	if o.dir == "" {
		tmp, err := filepath.Abs(os.TempDir())
		if err != nil {
			return err
		}
		if o.dir, err = os.MkdirTemp(tmp, "pvrun-out-"); err != nil {
			return err
		}
		if o.root, err = os.OpenRoot(o.dir); err != nil {
			return err
		}
	}
	v.set(filepath.Join(o.dir, flag))
	return nil
}

// deliver copies what was written to where it belongs, over what is there.
func (o *outbox) deliver() error {
	for _, f := range o.files {
		if err := o.copy(f); err != nil {
			return fmt.Errorf("write %s: %w", f.to, cause(err))
		}
	}
	return nil
}

func (o *outbox) copy(f outFile) error {
	// O_NONBLOCK: what is no file must not hold pvrun up.
	in, err := o.root.OpenFile(f.flag, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the test did not come to it
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("the test has made something else of it"))
	}
	out, err := f.dir.Create(filepath.Base(f.to))
	if err != nil {
		return err
	}
	err = copyData(out, in, info.Size())
	return firstError(err, out.Close())
}

// copyData copies size bytes and leaves holes as they are: a test can make a file
// of terabytes that takes no room.
func copyData(out, in *os.File, size int64) error {
	if info, err := out.Stat(); err != nil || !info.Mode().IsRegular() {
		_, more := io.CopyN(out, in, size)
		return firstError(err, more)
	}
	for at := int64(0); at < size; {
		data, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(data, unix.SEEK_HOLE); err != nil {
			return err
		}
		part := io.NewSectionReader(in, data, min(at, size)-data)
		if _, err := io.Copy(io.NewOffsetWriter(out, data), part); err != nil {
			return err
		}
	}
	return out.Truncate(size)
}

func (o *outbox) remove() {
	for _, f := range o.files {
		f.dir.Close()
	}
	if o.root != nil {
		o.root.Close()
	}
	if o.dir != "" {
		os.RemoveAll(o.dir)
	}
}

// flagValue is where a flag's value stands among arguments.
type flagValue struct {
	arg    *string
	prefix int // bytes before the value
}

func (v *flagValue) value() string { return (*v.arg)[v.prefix:] }
func (v *flagValue) set(s string)  { *v.arg = (*v.arg)[:v.prefix] + s }

// testFlags finds the flags -test.NAME of a test binary, up to "--".
func testFlags(args []string) map[string]*flagValue {
	found := map[string]*flagValue{}
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		name, _, given := flagName(args[i])
		name, ok := strings.CutPrefix(name, "test.")
		if !ok {
			continue
		}
		wanted := name == "outputdir" || slices.Contains(outputFlags, name) || slices.Contains(folderFlags, name)
		switch {
		case given:
			found[name] = &flagValue{&args[i], strings.IndexByte(args[i], '=') + 1}
		case wanted && i+1 < len(args):
			found[name] = &flagValue{&args[i+1], 0}
			i++
		case name == "artifacts":
			yes := "true"
			found[name] = &flagValue{&yes, 0}
		}
	}
	return found
}
