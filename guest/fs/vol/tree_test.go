package vol

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// fresh is a mounted new volume.
func fresh(t testing.TB, size int64) (*FS, *memory) {
	t.Helper()
	m := newMemory(size)
	if err := Format(m, FormatOptions{}); err != nil {
		t.Fatal(err)
	}
	return mount(t, m, false), m
}

func mount(t testing.TB, d Device, readOnly bool) *FS {
	t.Helper()
	v, err := Mount(d, Options{ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// clean checks that nothing is wrong with what was committed.
func clean(t testing.TB, d Device) Result {
	t.Helper()
	r, lines, err := check(d, false)
	if err != nil || r.Damage != 0 {
		t.Fatalf("not clean: %v %+v\n%s", err, r, strings.Join(lines, "\n"))
	}
	return r
}

func check(d Device, repair bool) (Result, []string, error) {
	var lines []string
	r, err := Check(d, CheckOptions{Repair: repair, Report: func(s string) { lines = append(lines, s) }})
	return r, lines, err
}

func want(t testing.TB, what string, got, want fs.Errno) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: errno %d, want %d", what, got, want)
	}
}

// writeFile makes a file or writes into one.
func writeFile(v *FS, path, text string, off int64, flags int) fs.Errno {
	h, _, e := v.Open(path, fs.O_RDWR|flags, 0o644)
	if e != 0 {
		return e
	}
	defer v.Close(h)
	n, e := v.Write(h, []byte(text), off)
	if e == 0 && n != len(text) {
		return fs.ENOSPC
	}
	return e
}

func readFile(v *FS, path string) (string, fs.Errno) {
	h, a, e := v.Open(path, fs.O_RDONLY, 0)
	if e != 0 {
		return "", e
	}
	defer v.Close(h)
	b := make([]byte, a.Size+1)
	n, e := v.Read(h, b, 0)
	return string(b[:n]), e
}

// sync commits everything by way of the root folder.
func syncAll(v *FS) fs.Errno {
	h, _, e := v.Open(".", fs.O_RDONLY|fs.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	defer v.Close(h)
	return v.Sync(h, false)
}

// dump is all there is in a volume, as text.
func dump(v *FS) string {
	var b bytes.Buffer
	dumpBelow(&b, v, ".")
	return b.String()
}

func dumpBelow(b *bytes.Buffer, v *FS, path string) {
	a, e := v.Stat(fs.TreeRef{Path: path})
	fmt.Fprintf(b, "%s %d %o %d %d.%d %d", path, e, a.Mode, a.Nlink, a.UID, a.GID, a.Mtime)
	switch a.Mode & fs.S_IFMT {
	case fs.S_IFREG:
		text, e := readFile(v, path)
		fmt.Fprintf(b, " %d %x %d\n", a.Size, crc32.ChecksumIEEE([]byte(text)), e)
	case fs.S_IFLNK:
		target, e := v.Readlink(path)
		fmt.Fprintf(b, " %x %d\n", crc32.ChecksumIEEE([]byte(target)), e)
	case fs.S_IFDIR:
		h, _, e := v.Open(path, fs.O_RDONLY|fs.O_DIRECTORY, 0)
		list, e2 := v.List(h)
		v.Close(h)
		fmt.Fprintf(b, " %d %d %d\n", len(list), e, e2)
		slices.SortFunc(list, func(a, b fs.TreeEntry) int { return strings.Compare(a.Name, b.Name) })
		for _, entry := range list {
			if path == "." {
				dumpBelow(b, v, entry.Name)
			} else {
				dumpBelow(b, v, path+"/"+entry.Name)
			}
		}
	}
}
