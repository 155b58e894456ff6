package vol

import (
	"bytes"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// However much a call writes, memory keeps no more than it is to.
func TestCacheBounds(t *testing.T) {
	const most = 64
	_, m := fresh(t, 16<<20)
	v, err := Mount(m, Options{Dirty: most * BlockSize, Cache: most * BlockSize})
	if err != nil {
		t.Fatal(err)
	}
	h, _, e := v.Open("f", fs.O_CREAT|fs.O_RDWR, 0o644)
	want(t, "open", e, 0)
	for _, n := range []int{8 << 20, 1 << 20, 1 << 20, 1 << 20} {
		if k, e := v.Write(h, make([]byte, n), 0); k != n || e != 0 {
			t.Fatalf("wrote %d of %d, %v", k, n, e)
		}
		if got := len(v.cache.blocks); got > 2*most+opMost {
			t.Errorf("after a write of %d bytes memory has %d blocks: it is to keep %d, and %d dirty ones", n, got, most, most)
		}
	}
}

// meddler calls f before each read.
type meddler struct {
	Device
	f func()
}

func (m *meddler) ReadAt(b []byte, off int64) error {
	m.f()
	return m.Device.ReadAt(b, off)
}

// What a program does to the buffer of a read, too soon, does nothing to the file.
func TestReadMeddled(t *testing.T) {
	v, m := fresh(t, 1<<20)
	text := string(bytes.Repeat([]byte("sound"), 2*BlockSize/5+1)[:2*BlockSize])
	want(t, "write", writeFile(v, "f", text[BlockSize:], BlockSize, fs.O_CREAT), 0)
	want(t, "sync", syncAll(v), 0)
	want(t, "write", writeFile(v, "f", text[:BlockSize], 0, 0), 0) // does not lie before the other
	want(t, "sync", syncAll(v), 0)
	b := make([]byte, 2*BlockSize)
	d := &meddler{m, func() {}}
	v = mount(t, d, false)
	h, _, e := v.Open("f", fs.O_RDWR, 0)
	want(t, "open", e, 0)
	d.f = func() { clear(b) }
	if _, e := v.Read(h, b, 0); e != 0 {
		t.Fatal(e)
	}
	if got, e := readFile(v, "f"); got != text || e != 0 {
		t.Errorf("the file has other bytes, %v", e)
	}
}

// A block is read once, however small the pieces.
func TestSmallReads(t *testing.T) {
	v, m := fresh(t, 1<<20)
	want(t, "write", writeFile(v, "f", string(make([]byte, BlockSize)), 0, fs.O_CREAT), 0)
	want(t, "sync", syncAll(v), 0)
	reads := 0
	v = mount(t, &meddler{m, func() { reads++ }}, true)
	h, _, e := v.Open("f", fs.O_RDONLY, 0)
	want(t, "open", e, 0)
	reads = 0
	for off := range int64(BlockSize / 512) {
		if k, e := v.Read(h, make([]byte, 512), off*512); k != 512 || e != 0 {
			t.Fatal(k, e)
		}
	}
	if reads != 1 {
		t.Errorf("the block was read %d times", reads)
	}
}
