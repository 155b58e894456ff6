// Package volume has the volumes of the host's user: files with a file system of
// package vol in them, which programs see by their names.
package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
	"github.com/pvrun/pvrun/hv/disk"
)

const suffix = ".vol"

// name is compiled when it is needed: every run of a program would pay for it.
var name = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`) })

// Dir is where volumes with a name are.
func Dir() (string, error) {
	dir := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(dir) { // relative ones are to be ignored, says the XDG Base Directory Specification
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the folder of volumes: %w", err)
		}
		dir = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(dir, "pvrun", "volumes"), nil
}

// Path is the file of a volume: what has a slash in it is a path already.
func Path(s string) (string, error) {
	if strings.Contains(s, "/") {
		return s, nil
	}
	if !IsName(s) {
		return "", fmt.Errorf("volume %q: a name has letters, digits, - _ and ., and a path has a slash", s)
	}
	dir, err := Dir()
	return filepath.Join(dir, s+suffix), err
}

// IsName is whether a volume can be called so.
func IsName(s string) bool { return name().MatchString(s) && len(s) < 200 }

// Volume is an open one. It is locked: nobody else has it, or all only read.
type Volume struct {
	*vol.FS
	backend disk.Backend
}

// device shows a disk to package vol.
type device struct{ disk.Backend }

func (d device) ReadAt(b []byte, off int64) error  { return d.Backend.ReadAt([][]byte{b}, off, false) }
func (d device) WriteAt(b []byte, off int64) error { return d.Backend.WriteAt([][]byte{b}, off) }
func (d device) Discard(off, n int64) error {
	if !d.CanDiscard() {
		return nil
	}
	return d.Backend.Discard(off, n)
}

func now() int64 { return time.Now().UnixNano() }

// open opens the disk of a volume.
func open(s string, readOnly bool) (device, error) {
	path, err := Path(s)
	if err != nil {
		return device{}, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return device{}, wrap(s, errors.New("there is none; 'pvrun volume create' makes one"))
	}
	b, err := disk.Open(path, readOnly)
	if err != nil {
		var d *disk.Error
		if errors.As(err, &d) {
			err = d.Err
		}
		return device{}, wrap(s, err)
	}
	return device{b}, nil
}

func wrap(s string, err error) error { return fmt.Errorf("volume %s: %w", s, err) }

// Open opens a volume by its name or path.
func Open(s string, readOnly bool) (*Volume, error) {
	d, err := open(s, readOnly)
	if err != nil {
		return nil, err
	}
	v, err := vol.Mount(d, vol.Options{ReadOnly: readOnly, Now: now, Dirty: 32 << 20})
	if err != nil {
		d.Close()
		return nil, wrap(s, err)
	}
	return &Volume{v, d.Backend}, nil
}

// Disk opens the disk of a volume for a machine, which mounts it.
func Disk(s string, readOnly bool) (disk.Backend, error) {
	d, err := open(s, readOnly)
	if err != nil {
		return nil, err
	}
	if _, err := vol.ReadFacts(d); err != nil {
		d.Close()
		return nil, wrap(s, err)
	}
	return d.Backend, nil
}

// Close makes what was written durable.
func (v *Volume) Close() error {
	return errors.Join(v.Commit(), v.backend.Close())
}

// Create makes a volume, and fills it from a folder unless that is "". Nothing is
// there under its name before all is.
func Create(s string, size int64, from string) (err error) {
	path, err := Path(s)
	if err != nil {
		return err
	}
	if IsName(s) { // its folder is pvrun's own
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return wrap(s, err)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		return wrap(s, errors.New("there is one already"))
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return wrap(s, err)
	}
	defer os.Remove(f.Name())
	err = errors.Join(f.Truncate(size), f.Close())
	if err == nil {
		err = fill(f.Name(), from)
	}
	if err == nil {
		err = publish(f.Name(), path)
	}
	if err != nil {
		return wrap(s, err)
	}
	return nil
}

// publish gives a file its name, and does not replace one that came meanwhile.
func publish(from, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system cannot do it
		err = os.Link(from, path)
	}
	if err == unix.EEXIST {
		return errors.New("there is one already")
	}
	return err
}

// fill makes the file system in a file, and copies a folder into it.
func fill(path, from string) error {
	b, err := disk.Open(path, false)
	if err != nil {
		return err
	}
	o := vol.FormatOptions{Now: now()}
	rand.Read(o.UUID[:])
	v, err := (*vol.FS)(nil), vol.Format(device{b}, o)
	if err == nil {
		v, err = vol.Mount(device{b}, vol.Options{Now: now, Dirty: 32 << 20})
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	all := &Volume{v, b}
	if from != "" {
		err = all.copyIn(from, ".")
	}
	return errors.Join(err, all.Close())
}

// Remove removes a volume that nobody uses.
func Remove(s string) error {
	d, err := open(s, false)
	if err != nil {
		return err
	}
	defer d.Close()
	path, err := Path(s)
	if err == nil {
		_, err = vol.ReadFacts(d)
	}
	if errors.Is(err, vol.ErrNotVolume) && strings.Contains(s, "/") {
		return wrap(s, err) // a path to something else, which is not ours to remove
	}
	if err := os.Remove(path); err != nil {
		return wrap(s, err)
	}
	return nil
}

// Check is fsck.
func Check(s string, repair bool, report func(string)) (vol.Result, error) {
	d, err := open(s, !repair)
	if err != nil {
		return vol.Result{}, err
	}
	r, err := vol.Check(d, vol.CheckOptions{Repair: repair, Now: now, Report: report})
	if err == nil && r.Repaired {
		var again vol.Result
		again, err = vol.Check(d, vol.CheckOptions{Now: now})
		r.Repaired = again.Damage == 0
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return r, wrap(s, err)
	}
	return r, nil
}

// Info is a volume as ls shows it.
type Info struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Used  int64  `json:"used"`
	Path  string `json:"path"`
	Error string `json:"error,omitempty"`
}

// List is all volumes with a name, in use or not.
func List() ([]Info, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	list := []Info{}
	for _, f := range files {
		if n, ok := strings.CutSuffix(f.Name(), suffix); ok && IsName(n) {
			list = append(list, inspect(n, filepath.Join(dir, f.Name())))
		}
	}
	return list, nil
}

// inspect looks at a volume without its lock, so that one in use shows too: a
// superblock is never half written.
func inspect(name, path string) Info {
	i := Info{Name: name, Path: path}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		i.Error = err.Error()
		return i
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		i.Size = st.Size()
	}
	facts, err := vol.ReadFacts(plain{f, i.Size})
	if err != nil {
		i.Error = err.Error()
	}
	i.Used = facts.Used
	return i
}

// plain is a file as a device that is only looked at.
type plain struct {
	f    *os.File
	size int64
}

func (p plain) Size() int64 { return p.size }
func (p plain) ReadAt(b []byte, off int64) error {
	_, err := p.f.ReadAt(b, off)
	return err
}
func (p plain) WriteAt([]byte, int64) error { return syscall.EROFS }
func (p plain) Flush() error                { return nil }
func (p plain) Discard(int64, int64) error  { return nil }

// failed is an errno of the volume's as an error.
func failed(op, path string, e fs.Errno) error {
	if e == 0 {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: syscall.Errno(e)}
}
