package fs

import (
	"bytes"
	"math/rand"
	"syscall"
	"testing"
	"unsafe"
)

// memPages is page memory of a memory file of Linux's, so that aliases are
// real mappings.
type memPages struct {
	t    *testing.T
	fd   int
	used int64 // pages of the file given out
	at   map[uintptr]int64
	live int

	aliased int // pages
}

func newMemPages(t *testing.T) *memPages {
	name := []byte("pages\x00")
	fd, _, e := syscall.Syscall(319, uintptr(unsafe.Pointer(&name[0])), 0, 0)
	if e != 0 {
		t.Skip("no memfd_create: ", e)
	}
	return &memPages{t: t, fd: int(fd), at: map[uintptr]int64{}}
}

// mmapAt maps n pages at an address, or anywhere for 0.
func (m *memPages) mmapAt(addr uintptr, n, prot, flags, fd int, off int64) uintptr {
	r, _, e := syscall.Syscall6(syscall.SYS_MMAP, addr, uintptr(n)*pageSize, uintptr(prot), uintptr(flags), uintptr(fd), uintptr(off))
	if e != 0 {
		m.t.Fatal(e)
	}
	return r
}

func (m *memPages) Alloc(n int) uintptr {
	off := m.used
	m.used += int64(n)
	syscall.Ftruncate(m.fd, m.used*pageSize)
	addr := m.mmapAt(0, n, protRead|protWrite, syscall.MAP_SHARED, m.fd, off*pageSize)
	for i := range n {
		m.at[addr+uintptr(i)*pageSize] = off + int64(i)
	}
	m.live += n
	return addr
}

func (m *memPages) Free(addr uintptr, n int) {
	m.live -= n
	syscall.Syscall(syscall.SYS_MUNMAP, addr, uintptr(n)*pageSize, 0)
}

func (m *memPages) Alias(dst, src uintptr, n, prot int) Errno {
	m.aliased += n
	for i := range uintptr(n) {
		off, known := m.at[src+i*pageSize]
		if !known {
			m.t.Errorf("alias of %#x, which is no page", src+i*pageSize)
			return EINVAL
		}
		m.mmapAt(dst+i*pageSize, 1, prot, syscall.MAP_SHARED|syscall.MAP_FIXED, m.fd, off*pageSize)
	}
	return 0
}

func (m *memPages) Protect(dst uintptr, n, prot int) Errno {
	_, _, e := syscall.Syscall(syscall.SYS_MPROTECT, dst, uintptr(n)*pageSize, uintptr(prot))
	return Errno(e)
}

func (m *memPages) Hide(dst uintptr, n int) Errno {
	m.mmapAt(dst, n, 0, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS|syscall.MAP_FIXED, -1, 0)
	return 0
}

// reserve is a range of n inaccessible pages, as memory for tests to look at.
func (m *memPages) reserve(n int) (uintptr, []byte) {
	addr := m.mmapAt(0, n, 0, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS, -1, 0)
	return addr, unsafe.Slice((*byte)(unsafe.Pointer(at(addr))), n*pageSize)
}

func newMapped(t *testing.T) (*FS, *memPages) {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	pages := newMemPages(t)
	host.Pages = pages
	return New(host), pages
}

func TestMapShared(t *testing.T) {
	fs, pages := newMapped(t)
	put(t, fs, "/f", "hello")
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	addr, mem := pages.reserve(8)
	ok(t, fs.Map(fd, addr, 8*pageSize, 0, protRead|protWrite))
	if string(mem[:5]) != "hello" {
		t.Errorf("mapped %q", mem[:5])
	}
	copy(mem, "HE")
	if s := get(t, fs, "/f"); s != "HEllo" {
		t.Errorf("read %q after a store", s)
	}
	fs.Pwrite(fd, []byte("grown"), 3*pageSize)
	if string(mem[3*pageSize:][:5]) != "grown" {
		t.Error("the mapping did not grow")
	}
	copy(mem[2*pageSize:], "hole")
	b := make([]byte, 4)
	fs.Pread(fd, b, 2*pageSize)
	if string(b) != "hole" {
		t.Errorf("read %q from a filled hole", b)
	}
	// Another mapping, of a part, sees the same.
	addr2, mem2 := pages.reserve(2)
	ok(t, fs.Map(fd, addr2, 2*pageSize, 2*pageSize, protRead))
	copy(mem[3*pageSize:], "twice")
	if string(mem2[pageSize:][:5]) != "twice" {
		t.Error("two mappings differ")
	}
	ok(t, fs.Close(fd))
	ok(t, fs.Unlink(AT_FDCWD, "/f", 0))
	copy(mem, "alive")
	if string(mem[:5]) != "alive" {
		t.Error("the mapping died with the name")
	}
	fs.Unmap(addr2, 2*pageSize)
	fs.Unmap(addr, 4*pageSize)
	if !fs.Shared(addr+4*pageSize, 1) || fs.Shared(addr, pageSize) {
		t.Error("half of the mapping should be left")
	}
	fs.Unmap(addr, 8*pageSize)
	if pages.live != 0 || fs.space.pages.Load() != 0 {
		t.Errorf("%d pages and %d bookings leaked", pages.live, fs.space.pages.Load())
	}
}

// A mapping costs what it shows, however many others there are; they lie in any
// order and see the same.
func TestMapManyTimes(t *testing.T) {
	fs, pages := newMapped(t)
	put(t, fs, "/f", string(make([]byte, 2*pageSize)))
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	const n = 50
	addr, mem := pages.reserve(2 * n)
	for k := range uintptr(n) {
		i := k * 7 % n
		ok(t, fs.Map(fd, addr+i*2*pageSize, 2*pageSize, 0, protRead|protWrite))
	}
	if pages.aliased != 2*n {
		t.Errorf("%d pages were shown, want %d", pages.aliased, 2*n)
	}
	mem[0] = 7
	for i := range n {
		if mem[i*2*pageSize] != 7 {
			t.Errorf("mapping %d shows something else", i)
		}
	}
	fs.Unmap(addr+pageSize, (2*n-2)*pageSize) // half of the first and of the last stay
	for i, want := range map[int]bool{0: true, 1: false, n: false, 2*n - 2: false, 2*n - 1: true} {
		if got := fs.Shared(addr+uintptr(i)*pageSize, pageSize); got != want {
			t.Errorf("page %d shared: got %v, want %v", i, got, want)
		}
	}
	ok(t, fs.Close(fd))
	ok(t, fs.Unlink(AT_FDCWD, "/f", 0))
	fs.Unmap(addr, 2*n*pageSize)
	if pages.live != 0 {
		t.Errorf("%d pages leaked", pages.live)
	}
}

func TestMapRefused(t *testing.T) {
	fs, pages := newMapped(t)
	put(t, fs, "/f", "x")
	addr, _ := pages.reserve(1)
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDONLY, 0)
	want(t, "writable mapping of a read-only file", fs.Map(fd, addr, 1, 0, protRead|protWrite), EACCES)
	fd, _ = fs.Open(AT_FDCWD, "/f", O_WRONLY, 0)
	want(t, "write-only file", fs.Map(fd, addr, 1, 0, protRead), EACCES)
	fd, _ = fs.Open(AT_FDCWD, "/proc/version", O_RDONLY, 0)
	want(t, "generated file", fs.Map(fd, addr, 1, 0, protRead), ENODEV)
	fd, _ = fs.Open(AT_FDCWD, "/dev/null", O_RDWR, 0)
	want(t, "device", fs.Map(fd, addr, 1, 0, protRead), ENODEV)
}

// TestMapBadRanges: nothing is shared in a range that no call may have.
func TestMapBadRanges(t *testing.T) {
	fs, pages := newMapped(t)
	put(t, fs, "/f", "hello")
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	addr, mem := pages.reserve(8)
	ok(t, fs.Map(fd, addr, 8*pageSize, 0, protRead|protWrite))
	for _, r := range [][2]uintptr{{addr + 10*pageSize, ^uintptr(0) - 5*pageSize}, {addr, ^uintptr(0)}, {addr, -addr}, {addr + 1, pageSize}, {addr, 0}} {
		if fs.Shared(r[0], uint64(r[1])) {
			t.Errorf("%#x bytes at %#x are shared", r[1], r[0])
		}
	}
	fs.Unmap(addr+1, 2*pageSize)
	if string(mem[:5]) != "hello" || !fs.Shared(addr, 1) {
		t.Error("the mapping is gone")
	}
}

// TestMapRandom stores through mappings and calls in random order and compares
// with a plain slice.
func TestMapRandom(t *testing.T) {
	for seed := range 30 {
		rnd := rand.New(rand.NewSource(int64(seed)))
		fs, pages := newMapped(t)
		fd, _ := fs.Open(AT_FDCWD, "/f", O_CREAT|O_RDWR, 0o644)
		const top = 100 * pageSize
		var model []byte
		type window struct {
			addr uintptr
			mem  []byte
			off  int
		}
		var windows []window
		for range 300 {
			off := rnd.Intn(top)
			b := make([]byte, rnd.Intn(3*pageSize)+1)
			rnd.Read(b)
			switch rnd.Intn(6) {
			case 0:
				n := rnd.Intn(20) + 1
				addr, mem := pages.reserve(n)
				off = off / pageSize * pageSize
				ok(t, fs.Map(fd, addr, uint64(n)*pageSize, int64(off), protRead|protWrite))
				windows = append(windows, window{addr, mem, off})
			case 1:
				if len(windows) > 3 {
					w := windows[0]
					windows = windows[1:]
					fs.Unmap(w.addr, uint64(len(w.mem)))
				}
			case 2:
				ok(t, fs.Ftruncate(fd, int64(off)))
				model = append(model[:min(off, len(model))], make([]byte, max(0, off-len(model)))...)
			case 3:
				if len(windows) == 0 {
					break
				}
				w := windows[rnd.Intn(len(windows))]
				if room := min(len(w.mem), len(model)-w.off); room > 0 {
					k := rnd.Intn(room)
					n := copy(w.mem[k:room], b)
					copy(model[w.off+k:], b[:n])
				}
			case 4:
				end := min(off+len(b), len(model))
				if off < end {
					ok(t, fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, int64(off), int64(end-off)))
					clear(model[off:end])
				}
			default:
				n, e := fs.Pwrite(fd, b, int64(off))
				ok(t, e)
				if off+n > len(model) {
					model = append(model, make([]byte, off+n-len(model))...)
				}
				copy(model[off:], b)
			}
			for _, w := range windows {
				if end := min(w.off+len(w.mem), len(model)); w.off < end && !bytes.Equal(w.mem[:end-w.off], model[w.off:end]) {
					t.Fatalf("seed %d: a mapping at %#x differs", seed, w.off)
				}
			}
		}
		if s := get(t, fs, "/f"); s != string(model) {
			t.Fatalf("seed %d: content differs", seed)
		}
		for _, w := range windows {
			fs.Unmap(w.addr, uint64(len(w.mem)))
		}
		fs.Close(fd)
		fs.Unlink(AT_FDCWD, "/f", 0)
		if pages.live != 0 || fs.space.pages.Load() != 0 {
			t.Fatalf("seed %d: %d pages and %d bookings leaked", seed, pages.live, fs.space.pages.Load())
		}
		syscall.Close(pages.fd)
	}
}
