package fs

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// fakeDisk is a disk in memory. Sectors from bad on can be neither read nor
// written, and with it flushes fail.
type fakeDisk struct {
	t        *testing.T
	sector   int
	readOnly bool
	plain    bool // cannot discard or write zeroes

	mu       sync.Mutex
	b        []byte
	bad      int
	flushes  int
	discards int
	left     byte          // by discards
	zeroed   int           // bytes that were written as zeroes
	largest  int           // most bytes of one transfer
	slow     chan struct{} // reads wait for a message each, when not nil
	inside   int           // calls under way
}

const noneBad = 1 << 40

func (d *fakeDisk) Size() int64     { return int64(len(d.b)) }
func (d *fakeDisk) SectorSize() int { return d.sector }
func (d *fakeDisk) ReadOnly() bool  { return d.readOnly }

// part is the range of a transfer, up to the first bad sector.
func (d *fakeDisk) part(n int, off int64) ([]byte, Errno) {
	if n == 0 || n%d.sector != 0 || off%int64(d.sector) != 0 || off < 0 || off+int64(n) > d.Size() {
		d.t.Errorf("%d bytes at %d of %d", n, off, d.Size())
		return nil, EINVAL
	}
	d.largest = max(d.largest, n)
	good := min(n, max(0, d.bad*d.sector-int(off)))
	e := Errno(0)
	if good < n {
		e = EIO
	}
	return d.b[off:][:good], e
}

func (d *fakeDisk) ReadAt(b []byte, off int64) (int, Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside++
	if d.slow != nil {
		d.mu.Unlock()
		<-d.slow
		d.mu.Lock()
	}
	d.inside--
	defer runtime.Gosched() // so that others come in between
	part, e := d.part(len(b), off)
	return copy(b, part), e
}

func (d *fakeDisk) WriteAt(b []byte, off int64) (int, Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	part, e := d.part(len(b), off)
	return copy(part, b), e
}

func (d *fakeDisk) Flush() Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
	if d.bad != noneBad {
		return EIO
	}
	return 0
}

func (d *fakeDisk) Discard(off, n int64) Errno {
	if d.plain {
		return ENOTSUP
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.discards++
	part, e := d.part(int(n), off)
	for i := range part {
		part[i] = d.left
	}
	return e
}

func (d *fakeDisk) WriteZeroes(off, n int64) Errno {
	if d.plain {
		return ENOTSUP
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.zeroed += int(n)
	part, e := d.part(int(n), off)
	clear(part)
	return e
}

func newFakeDisk(t *testing.T, size int) *fakeDisk {
	return &fakeDisk{t: t, sector: 512, b: make([]byte, size), bad: noneBad}
}

// openDisk is a file system with a disk, opened.
func openDisk(t *testing.T, d *fakeDisk, flags int) (*FS, int) {
	t.Helper()
	h := new(fakeHost).host()
	h.Disks = func() []MachineDisk { return []MachineDisk{{newFakeDisk(t, 512), "/mnt"}, {d, ""}} }
	fs := New(h)
	fd, e := fs.Open(AT_FDCWD, "/dev/vdb", flags, 0)
	if e != 0 {
		t.Fatal(e)
	}
	return fs, fd
}

// TestDiskModel reads and writes any ranges and compares with a plain slice.
func TestDiskModel(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		size := 5*edgeLen + 3*sector
		d := newFakeDisk(t, size)
		d.sector = sector
		fs, fd := openDisk(t, d, O_RDWR)
		model := make([]byte, size)
		r := rand.New(rand.NewPCG(1, 2))
		fill(r, model)
		copy(d.b, model)
		for range 700 {
			off := r.IntN(len(model))
			n := 1 + r.IntN([]int{20, 2000, 9000, len(model)}[r.IntN(4)])
			fits := min(n, len(model)-off)
			b := make([]byte, n)
			if r.IntN(2) == 0 {
				if got, e := fs.Pread(fd, b, int64(off)); got != fits || e != 0 || !bytes.Equal(b[:got], model[off:off+fits]) {
					t.Fatalf("read of %d at %d: %d, %v, or other bytes", n, off, got, e)
				}
				continue
			}
			fill(r, b)
			copy(model[off:], b)
			if got, e := fs.Pwrite(fd, b, int64(off)); got != fits || e != 0 {
				t.Fatalf("write of %d at %d: %d, %v", n, off, got, e)
			}
			if !bytes.Equal(d.b, model) {
				t.Fatalf("after a write of %d at %d the disk has other bytes", n, off)
			}
		}
		if d.largest < size/2 {
			t.Errorf("largest transfer: %d bytes of %d", d.largest, size)
		}
	}
}

func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// TestDiskFile expects what Linux does with a loop device.
func TestDiskFile(t *testing.T) {
	const size = 20 * 512
	d := newFakeDisk(t, size)
	fs, fd := openDisk(t, d, O_RDWR|O_APPEND)
	st, e := fs.Fstat(fd)
	if e != 0 || st.Mode != S_IFBLK|0o660 || st.Rdev != makedev(254, 16) || st.Size != 0 {
		t.Errorf("stat: %+v, %v", st, e)
	}
	const keep, hole, zero = FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE
	for name, c := range map[string][2]any{
		"size":              {valueOf(fs.Seek(fd, 0, SEEK_END)), int64(size)},
		"seek past it":      {errorOf(fs.Seek(fd, size+1, SEEK_SET)), EINVAL},
		"data":              {errorOf(fs.Seek(fd, 700, SEEK_DATA)), EINVAL},
		"hole":              {errorOf(fs.Seek(fd, 700, SEEK_HOLE)), EINVAL},
		"past the end":      {valueOf(fs.Pread(fd, make([]byte, 1), size)), 0},
		"write there":       {errorOf(fs.Pwrite(fd, make([]byte, 1), size)), ENOSPC},
		"write across":      {valueOf(fs.Pwrite(fd, make([]byte, 5), size-2)), 2},
		"truncate":          {fs.Ftruncate(fd, 0), EINVAL},
		"allocate":          {fs.Fallocate(fd, 0, 0, 512), ENOTSUP},
		"allocate across":   {fs.Fallocate(fd, 0, 512, size), EINVAL},
		"keep":              {fs.Fallocate(fd, keep, 0, 512), ENOTSUP},
		"punch":             {fs.Fallocate(fd, hole, 512, 512), Errno(0)},
		"punch across":      {fs.Fallocate(fd, hole, size-512, 1024), Errno(0)},
		"punch past":        {fs.Fallocate(fd, hole, size, 512), EINVAL},
		"punch odd":         {fs.Fallocate(fd, hole, 1, 5), EINVAL},
		"punch and grow":    {fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 512), ENOTSUP},
		"zero":              {fs.Fallocate(fd, zero, 512, 512), Errno(0)},
		"zero across":       {fs.Fallocate(fd, zero, size-512, 1024), EINVAL},
		"zero across, keep": {fs.Fallocate(fd, zero|keep, size-512, 1024), Errno(0)},
		"collapse":          {fs.Fallocate(fd, 8, 0, 512), ENOTSUP},
		"sync":              {fs.Fsync(fd, false), Errno(0)},
		"below":             {errorOf(fs.Open(AT_FDCWD, "/dev/vdb/x", O_RDONLY, 0)), ENOTDIR},
		"other disk":        {errorOf(fs.Open(AT_FDCWD, "/dev/vdc", O_RDONLY, 0)), ENOENT},
		"no disk":           {errorOf(New(new(fakeHost).host()).Open(AT_FDCWD, "/dev/vda", O_RDONLY, 0)), ENOENT},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if d.flushes != 1 {
		t.Errorf("%d flushes", d.flushes)
	}
}

// TestDiskErrors has what went well before an error count.
func TestDiskErrors(t *testing.T) {
	const size = 10 * 512
	d := newFakeDisk(t, size)
	fs, fd := openDisk(t, d, O_RDWR)
	d.bad = 5
	b := make([]byte, 2000)
	for name, c := range map[string][2]any{
		"read":         {errorOf(fs.Pread(fd, b[:100], 5*512+7)), EIO},
		"write":        {errorOf(fs.Pwrite(fd, b[:100], 5*512+7)), EIO},
		"sync":         {fs.Fsync(fd, false), EIO},
		"before it":    {valueOf(fs.Pread(fd, b[:100], 4*512)), 100},
		"into it":      {valueOf(fs.Pread(fd, b, 4*512)), 512},
		"write into":   {valueOf(fs.Pwrite(fd, b, 4*512)), 512},
		"edge into it": {errorOf(fs.Pread(fd, b, 4*512+1)), EIO},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
}

func TestDiskReadOnly(t *testing.T) {
	d := newFakeDisk(t, 4096)
	d.readOnly = true
	fs, fd := openDisk(t, d, O_RDWR)
	b := make([]byte, 512)
	for name, c := range map[string][2]any{
		"read":    {valueOf(fs.Pread(fd, b, 0)), 512},
		"write":   {errorOf(fs.Pwrite(fd, b, 0)), EPERM},
		"past":    {errorOf(fs.Pwrite(fd, b, 4096)), EPERM},
		"punch":   {fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 512), EPERM},
		"discard": {fs.BlockDiscard(fd, 0, 512, false), EPERM},
		"sync":    {fs.Fsync(fd, false), Errno(0)},
		"facts":   {valueOf(fs.BlockFacts(fd)), BlockFacts{4096, 512, true}},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
}

// TestDiskFlags are O_DIRECT and O_DSYNC.
func TestDiskFlags(t *testing.T) {
	d := newFakeDisk(t, 4096)
	fs, fd := openDisk(t, d, O_RDWR|O_DIRECT|O_DSYNC)
	b := make([]byte, 1024)
	for name, c := range map[string][2]any{
		"read":       {valueOf(fs.Pread(fd, b, 512)), 1024},
		"odd offset": {errorOf(fs.Pread(fd, b, 7)), EINVAL},
		"odd length": {errorOf(fs.Pread(fd, b[:100], 0)), EINVAL},
		"at the end": {valueOf(fs.Pread(fd, b, 4096+7)), 0},
		"odd write":  {errorOf(fs.Pwrite(fd, b[:100], 0)), EINVAL},
		"write":      {valueOf(fs.Pwrite(fd, b, 512)), 1024},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if d.flushes != 1 {
		t.Errorf("%d flushes, want one, of the write", d.flushes)
	}
	d.bad = 8
	if n, e := fs.Pwrite(fd, b, 0); n != 0 || e != EIO {
		t.Errorf("a write whose flush fails: %d, %v", n, e)
	}
}

// TestDiskControl are the requests of ioctl, on disks that can and one that cannot.
func TestDiskControl(t *testing.T) {
	for _, plain := range []bool{false, true} {
		d := newFakeDisk(t, 2*edgeLen)
		d.plain = plain
		fs, fd := openDisk(t, d, O_RDWR)
		ro, _ := fs.Open(AT_FDCWD, "/dev/vdb", O_RDONLY, 0)
		null, _ := fs.Open(AT_FDCWD, "/dev/null", O_RDWR, 0)
		fill(rand.New(rand.NewPCG(3, 4)), d.b)
		want := Errno(0)
		if plain {
			want = ENOTSUP
		}
		for name, c := range map[string][2]any{
			"discard":     {fs.BlockDiscard(fd, 0, 512, false), want},
			"zero out":    {fs.BlockDiscard(fd, 512, 2*edgeLen-1024, true), Errno(0)},
			"odd":         {fs.BlockDiscard(fd, 0, 7, true), EINVAL},
			"wrapping":    {fs.BlockDiscard(fd, 512, ^uint64(511), true), EINVAL},
			"past":        {fs.BlockDiscard(fd, 2*edgeLen, 512, true), EINVAL},
			"nothing":     {fs.BlockDiscard(fd, 0, 0, true), EINVAL},
			"not to read": {fs.BlockDiscard(ro, 0, 512, true), EBADF},
			"no disk":     {fs.BlockDiscard(null, 0, 512, true), ENOTTY},
			"flush":       {fs.BlockFlush(ro), Errno(0)},
		} {
			if c[0] != c[1] {
				t.Errorf("%s: %v, want %v", name, c[0], c[1])
			}
		}
		last := 2*edgeLen - 512
		if !bytes.Equal(d.b[512:last], make([]byte, last-512)) || bytes.Equal(d.b[last:], make([]byte, 512)) {
			t.Error("other bytes are zero than those asked for")
		}
	}
}

// TestDiskPunch: a hole reads as zero on any disk, and takes no space on good ones.
func TestDiskPunch(t *testing.T) {
	const size = 3 * edgeLen
	for _, c := range []struct {
		plain  bool
		left   byte
		zeroed int
	}{{false, 0, 0}, {false, 0xdd, size - 1024}, {true, 0, 0}} {
		d := newFakeDisk(t, size)
		d.plain, d.left = c.plain, c.left
		fs, fd := openDisk(t, d, O_RDWR)
		fill(rand.New(rand.NewPCG(5, 6)), d.b)
		before := bytes.Clone(d.b)
		clear(before[512 : size-512])
		e := fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 512, size-1024)
		if e != 0 || !bytes.Equal(d.b, before) || d.zeroed != c.zeroed {
			t.Errorf("%+v: %v, %d bytes of zeroes written, or other bytes", c, e, d.zeroed)
		}
	}
}

// TestDiskSlow: what one waits for holds nobody else.
func TestDiskSlow(t *testing.T) {
	d := newFakeDisk(t, 1<<20)
	fs, fd := openDisk(t, d, O_RDWR)
	d.slow = make(chan struct{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if n, e := fs.Pread(fd, make([]byte, 5000), int64(i)*4096); n != 5000 || e != 0 {
				t.Errorf("read: %d, %v", n, e)
			}
		})
	}
	for waiting := 0; waiting < 40; {
		d.mu.Lock()
		waiting = d.inside
		d.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	if n, e := fs.Pwrite(fd, make([]byte, 512), 512); n != 512 || e != 0 {
		t.Errorf("write beside: %d, %v", n, e)
	}
	close(d.slow)
	wg.Wait()
}

// TestDiskEdges has many write to parts of the same sectors at once.
func TestDiskEdges(t *testing.T) {
	const writers, part, rounds = 16, 96, 200
	d := newFakeDisk(t, 4096)
	fs, fd := openDisk(t, d, O_RDWR)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for round := range rounds {
				b := bytes.Repeat([]byte{byte(round)}, part)
				if n, e := fs.Pwrite(fd, b, int64(i*part)); n != part || e != 0 {
					t.Errorf("write: %d, %v", n, e)
				}
				if _, e := fs.Pread(fd, b, int64(i*part)); e != 0 || !bytes.Equal(b, bytes.Repeat([]byte{byte(round)}, part)) {
					t.Errorf("writer %d, round %d: somebody else's write has undone mine", i, round)
				}
			}
		})
	}
	wg.Go(func() { // whole sectors beside them
		for range rounds {
			fs.Pwrite(fd, make([]byte, 512), writers*part)
		}
	})
	wg.Wait()
}

// TestBlockDevice is what package vol sees of a disk.
func TestBlockDevice(t *testing.T) {
	disk := newFakeDisk(t, 8192)
	d := NewBlockDevice(disk)
	b := bytes.Repeat([]byte{7}, 1000)
	got := make([]byte, 1000)
	if err := d.WriteAt(b, 100); err != nil {
		t.Error(err)
	}
	if err := d.ReadAt(got, 100); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read: %v, or other bytes", err)
	}
	if err := d.Discard(500, 1400); err != nil || disk.discards != 1 || !bytes.Equal(disk.b[512:1536], make([]byte, 1024)) || disk.b[511] != 7 {
		t.Errorf("discard: %v, %d", err, disk.discards)
	}
	disk.bad = 8
	for name, err := range map[string]error{
		"write past the end": d.WriteAt(b, 8000),
		"read past the end":  d.ReadAt(b, 8000),
		"negative":           d.ReadAt(b, -1),
		"bad sector":         d.ReadAt(make([]byte, 2000), 3000),
		"flush":              d.Flush(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if d.Size() != 8192 {
		t.Errorf("size %d", d.Size())
	}
}

func valueOf[T any](v T, _ Errno) T     { return v }
func errorOf[T any](_ T, e Errno) Errno { return e }
