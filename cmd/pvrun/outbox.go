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
)

// outputFlags are the flags of a test binary that name a file to write, and
// folderFlag names a folder to write in.
var outputFlags = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

const folderFlag = "gocoverdir"

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
	if v := values[folderFlag]; v != nil {
		dir := absolute(p.host, v.value())
		p.share(dir, true)
		p.coverage(dir)
	}
	if v := values["artifacts"]; v != nil && v.value() != "false" {
		if err := p.artifacts(outDir); err != nil {
			return nil, err
		}
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

// coverage shows the folder that the go command works in where a test's coverage
// is of other packages too: what there is to cover in them lies in theirs.
func (p *places) coverage(dir string) {
	const list = "metafiles.txt" // internal/coverage.MetaFilesFileName
	if work := filepath.Dir(filepath.Dir(dir)); strings.HasPrefix(filepath.Base(work), "go-build") {
		if _, err := os.Stat(filepath.Join(dir, list)); err == nil {
			p.share(work, false)
		}
	}
}

// artifacts shows the folder that t.ArtifactDir makes folders in. A link in its
// place leads nowhere else: a test of before may have made it.
func (p *places) artifacts(outDir string) error {
	const name = "_artifacts"
	out, err := os.OpenRoot(outDir)
	if err != nil {
		return fmt.Errorf("-outputdir %s: %w", outDir, cause(err))
	}
	defer out.Close()
	if err := out.Mkdir(name, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make %s: %w", filepath.Join(outDir, name), cause(err))
	}
	root, err := out.OpenRoot(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Join(outDir, name), cause(err))
	}
	dir := filepath.Join(outDir, name)
	p.shared = append(p.shared, mountFlag{source: dir, guest: dir, root: root})
	return nil
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
		tmp, err := filepath.Abs(workFolder())
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

// workFolder is where the go command works, which is not TMPDIR where the test
// has that.
func workFolder() string {
	if dir := os.Getenv("GOTMPDIR"); dir != "" {
		return dir
	}
	return os.TempDir()
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
		wanted := name == "outputdir" || name == folderFlag || slices.Contains(outputFlags, name)
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
