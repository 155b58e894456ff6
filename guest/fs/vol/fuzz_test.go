package vol

import (
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// mutate changes bytes of an image, and makes checksums right again where it
// can, so that what is behind them is reached. Four bytes of what are one
// change: where, which byte there, and to what.
func mutate(image, what []byte) []byte {
	image = append([]byte(nil), image...)
	blocks := uint64(len(image) / BlockSize)
	for ; len(what) >= 4; what = what[4:] {
		// Most blocks are empty: take those at the front more often.
		at := uint64(what[0]) % min(24, blocks)
		image[at*BlockSize+uint64(what[1])|uint64(what[2]&15)<<8] = what[3]
	}
	for i := range uint64(Supers) {
		b := image[i*BlockSize:][:SuperSize]
		put32(b[superHeight:], get32(b[superHeight:])%8)
		mend(image, getPointer(b[superTable:]), b[superTable:], int(get32(b[superHeight:])), 0)
		put32(b[superChecksum:], Checksum(b[:superChecksum]))
	}
	return image
}

// mend makes checksums right from a pointer down; depth bounds it.
func mend(image []byte, p pointer, at []byte, height, depth int) {
	if p.block >= uint64(len(image)/BlockSize) || p.block < Supers || depth > 3 {
		return
	}
	b := (*block)(image[p.block*BlockSize:])
	if height > 0 {
		for i := range uint64(NodePointers) {
			mend(image, getPointer(b.slot(i)), b.slot(i), height-1, depth+1)
		}
	} else if depth < 2 {
		for i := range uint64(BlockInodes) {
			r := b.record(i)
			mend(image, getPointer(r[inodeRoot:]), r[inodeRoot:], int(get32(r[inodeHeight:])), depth+2)
		}
	}
	put32(at[pointerChecksum:], Checksum(b[:]))
}

func seeds(f *testing.F) []byte {
	image := startImage(f, 1<<20)
	f.Add([]byte{})
	for i := range byte(24) {
		f.Add([]byte{i, 0, 0, 1, i, 64, 1, 77})
		f.Add([]byte{i, 16, 0, i, i, 80, 1, 4, i, 65, 2, 0})
	}
	return image
}

// FuzzMount uses a volume that is not right.
func FuzzMount(f *testing.F) {
	image := seeds(f)
	f.Fuzz(func(t *testing.T, what []byte) {
		m := &memory{data: mutate(image, what)}
		if v, err := Mount(m, Options{ReadOnly: true}); err == nil {
			stroll(v, ".", 0)
		}
		if v, err := Mount(m, Options{}); err == nil {
			stroll(v, ".", 0)
			work(v)
		}
	})
}

// stroll reads all there is, to some depth: folders may be in themselves.
func stroll(v *FS, path string, depth int) {
	b := make([]byte, 10_000)
	h, _, e := v.Open(path, 0, 0)
	if e != 0 {
		v.Readlink(path)
		return
	}
	defer v.Close(h)
	v.Read(h, b, 0)
	v.Seek(h, 0, false)
	list, _ := v.List(h)
	for i, entry := range list {
		if depth < 3 && i < 20 {
			stroll(v, path+"/"+entry.Name, depth+1)
		}
	}
}

// FuzzCheck checks a volume that is not right, and repairs it: then it is clean,
// and can be used.
func FuzzCheck(f *testing.F) {
	image := seeds(f)
	f.Fuzz(func(t *testing.T, what []byte) {
		m := &memory{data: mutate(image, what)}
		before, _, err := check(m, false)
		if err != nil {
			return
		}
		r, told, err := check(m, true)
		if err != nil {
			return
		}
		if before.Damage == 0 && r.Damage > 0 {
			t.Fatalf("found only when repairing: %q", told)
		}
		if after, lines, err := check(m, false); err != nil || after.Damage > 0 {
			t.Fatalf("damaged after the repair: %v %q\nbefore: %q", err, lines, told)
		}
		v, err := Mount(m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		writeFile(v, "after", "text", 0, fs.O_CREAT)
		if syncAll(v) == 0 {
			clean(t, m)
		}
	})
}
