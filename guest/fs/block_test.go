package fs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// fakeDisk is a disk in memory. A sector in bad can be neither read nor written.
type fakeDisk struct {
	t       *testing.T
	b       []byte
	bad     uint64
	flushes int
}

const noneBad = 1 << 40

func (d *fakeDisk) Sectors() uint64 { return uint64(len(d.b)) / sectorSize }

func (d *fakeDisk) part(b []byte, first uint64) ([]byte, bool) {
	n := uint64(len(b)) / sectorSize
	if len(b)%sectorSize != 0 || n == 0 || n > DiskMost || first+n > d.Sectors() {
		d.t.Fatalf("%d bytes at sector %d of %d", len(b), first, d.Sectors())
	}
	return d.b[first*sectorSize:][:len(b)], d.bad < first || d.bad >= first+n
}

func (d *fakeDisk) Read(b []byte, first uint64) bool {
	part, ok := d.part(b, first)
	copy(b, part)
	return ok
}

func (d *fakeDisk) Write(b []byte, first uint64) bool {
	part, ok := d.part(b, first)
	if ok {
		copy(part, b)
	}
	return ok
}

func (d *fakeDisk) Flush() bool { d.flushes++; return d.bad == noneBad }

// openDisk is a file system with a disk of some sectors, opened.
func openDisk(t *testing.T, sectors, flags int) (*FS, *fakeDisk, int) {
	t.Helper()
	d := &fakeDisk{t: t, b: make([]byte, sectors*sectorSize), bad: noneBad}
	h := new(fakeHost).host()
	h.Disk = func() Disk { return d }
	fs := New(h)
	fd, e := fs.Open(AT_FDCWD, "/dev/hda", flags, 0)
	if e != 0 {
		t.Fatal(e)
	}
	return fs, d, fd
}

// TestDiskModel reads and writes any ranges and compares with a plain slice.
func TestDiskModel(t *testing.T) {
	const sectors = 3*DiskMost + 5
	fs, d, fd := openDisk(t, sectors, O_RDWR)
	model := make([]byte, sectors*sectorSize)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range model {
		model[i] = byte(r.Uint32())
	}
	copy(d.b, model)
	for range 3000 {
		off := r.IntN(len(model))
		n := 1 + r.IntN([]int{20, 2000, len(model)}[r.IntN(3)])
		fits := min(n, len(model)-off)
		b := make([]byte, n)
		if r.IntN(2) == 0 {
			if got, e := fs.Pread(fd, b, int64(off)); got != fits || e != 0 || !bytes.Equal(b[:got], model[off:off+fits]) {
				t.Fatalf("read of %d at %d: %d, %v, or other bytes", n, off, got, e)
			}
			continue
		}
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		copy(model[off:], b)
		if got, e := fs.Pwrite(fd, b, int64(off)); got != fits || e != 0 {
			t.Fatalf("write of %d at %d: %d, %v", n, off, got, e)
		}
		if !bytes.Equal(d.b, model) {
			t.Fatalf("after a write of %d at %d the disk has other bytes", n, off)
		}
	}
}

func TestDiskFile(t *testing.T) {
	fs, d, fd := openDisk(t, 10, O_RDWR)
	st, e := fs.Fstat(fd)
	if e != 0 || st.Mode != S_IFBLK|0o660 || st.Rdev != makedev(3, 0) || st.Size != 0 {
		t.Errorf("stat: %+v, %v", st, e)
	}
	for name, c := range map[string][2]any{
		"size":          {valueOf(fs.Seek(fd, 0, SEEK_END)), int64(10 * sectorSize)},
		"data":          {valueOf(fs.Seek(fd, 700, SEEK_DATA)), int64(700)},
		"hole":          {valueOf(fs.Seek(fd, 700, SEEK_HOLE)), int64(10 * sectorSize)},
		"past the end":  {valueOf(fs.Pread(fd, make([]byte, 1), 10*sectorSize)), 0},
		"write there":   {errorOf(fs.Pwrite(fd, make([]byte, 1), 10*sectorSize)), ENOSPC},
		"truncate":      {fs.Ftruncate(fd, 0), EINVAL},
		"allocate":      {fs.Fallocate(fd, 0, 0, 1), ENODEV},
		"sync":          {fs.Fsync(fd), Errno(0)},
		"below":         {errorOf(fs.Open(AT_FDCWD, "/dev/hda/x", O_RDONLY, 0)), ENOTDIR},
		"size, no disk": {errorOf(New(new(fakeHost).host()).Open(AT_FDCWD, "/dev/hda", O_RDONLY, 0)), ENOENT},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if d.flushes != 1 {
		t.Errorf("%d flushes", d.flushes)
	}
	d.bad = 5
	b := make([]byte, 100)
	for name, c := range map[string][2]any{
		"read":  {errorOf(fs.Pread(fd, b, 5*sectorSize+7)), EIO},
		"write": {errorOf(fs.Pwrite(fd, b, 5*sectorSize+7)), EIO},
		"sync":  {fs.Fsync(fd), EIO},
		"other": {valueOf(fs.Pread(fd, b, 6*sectorSize)), 100},
	} {
		if c[0] != c[1] {
			t.Errorf("bad sector, %s: %v, want %v", name, c[0], c[1])
		}
	}
}

func valueOf[T any](v T, _ Errno) T     { return v }
func errorOf[T any](_ T, e Errno) Errno { return e }
