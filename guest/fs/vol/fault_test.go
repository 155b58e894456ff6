package vol

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// work does some of everything and returns the first error.
func work(v *FS) (first fs.Errno) {
	for _, f := range []func() fs.Errno{
		func() fs.Errno { return v.Mkdir("w", 0o755) },
		func() fs.Errno { return writeFile(v, "w/a", strings.Repeat("x", 20_000), 0, fs.O_CREAT) },
		func() fs.Errno { return syncAll(v) },
		func() fs.Errno { return v.Rename("w/a", "b") },
		func() fs.Errno { return writeFile(v, "b", "y", 5000, 0) },
		func() fs.Errno { return v.Symlink("b", "s") },
		func() fs.Errno { return syncAll(v) },
		func() fs.Errno { return v.Remove("w") },
		func() fs.Errno { return syncAll(v) },
	} {
		if e := f(); first == 0 {
			first = e
		}
	}
	return first
}

// TestFailedCalls fails each write and flush in turn, and then all after it:
// nothing succeeds later, and what was committed stays.
func TestFailedCalls(t *testing.T) {
	image := startImage(t, 1<<20)
	for at, failed := 1, true; failed; at++ {
		m := &memory{data: append([]byte(nil), image...)}
		v := mount(t, m, false)
		m.failAt = m.calls + at
		e := work(v)
		if failed = m.failed; !failed {
			want(t, "work", e, 0)
			break
		}
		want(t, "work with a broken device", e, fs.EIO)
		want(t, "sync after a failure", syncAll(v), fs.EIO)
		want(t, "write after a failure", writeFile(v, "new", "", 0, fs.O_CREAT), fs.EIO)
		if text, e := readFile(v, "d/b"); e == 0 && text != "text" {
			t.Errorf("read after a failure: %q", text)
		}
		m.failed, m.failAt = false, 0
		want(t, "sync with the device whole again", syncAll(v), fs.EIO)
		clean(t, m)
	}
}

// TestFailedReads fails each read: what is told may be an error, and never
// something wrong, and the volume stays clean.
func TestFailedReads(t *testing.T) {
	image := startImage(t, 1<<20)
	for at := 1; ; at++ {
		m := &memory{data: append([]byte(nil), image...), reads: true}
		v, err := Mount(m, Options{Cache: 1})
		if err != nil {
			t.Fatal(err)
		}
		m.failAt = m.calls + at
		if text, e := readFile(v, "d/b"); e == 0 && text != "text" || e != 0 && e != fs.EIO {
			t.Fatalf("call %d: %q, errno %d", at, text, e)
		}
		writeFile(v, "a", "y", 5000, 0)
		v.Remove("d/b")
		if !m.failed {
			return
		}
		m.failed, m.reads = false, false
		syncAll(v)
		if r, lines, _ := check(m, false); r.Damage > 0 {
			t.Fatalf("call %d: %s", at, strings.Join(lines, "\n"))
		}
	}
}

// TestFull fills volumes in several ways. All that was accepted is there, and
// everything can be removed.
func TestFull(t *testing.T) {
	for name, fill := range map[string]func(v *FS, i int) fs.Errno{
		"small files": func(v *FS, i int) fs.Errno { return writeFile(v, fmt.Sprint("f", i), "x", 0, fs.O_CREAT) },
		"one file": func(v *FS, i int) fs.Errno {
			return writeFile(v, "f0", strings.Repeat("x", BlockSize), int64(i)*BlockSize, fs.O_CREAT)
		},
		"sparse":  func(v *FS, i int) fs.Errno { return writeFile(v, "f0", "x", int64(i)<<19, fs.O_CREAT) },
		"folders": func(v *FS, i int) fs.Errno { return v.Mkdir(fmt.Sprint("f", i), 0o755) },
		"links":   func(v *FS, i int) fs.Errno { return v.Symlink(strings.Repeat("x", 4000), fmt.Sprint("f", i)) },
	} {
		for _, often := range []bool{false, true} {
			t.Run(fmt.Sprint(name, often), func(t *testing.T) { fillUp(t, fill, often) })
		}
	}
}

func fillUp(t *testing.T, fill func(v *FS, i int) fs.Errno, often bool) {
	v, m := fresh(t, 2<<20)
	n := 0
	e := fs.Errno(0)
	for ; e == 0 && n < 10_000; n++ {
		if e = fill(v, n); often && e == 0 {
			want(t, "sync", syncAll(v), 0)
		}
	}
	want(t, "fill", e, fs.ENOSPC)
	want(t, "sync", syncAll(v), 0)
	before := dump(v)
	clean(t, m)
	v = mount(t, m, false)
	if got := dump(v); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	if st, _ := v.Statfs(fs.TreeRef{Path: "."}); st.Bfree > opMost {
		t.Errorf("%d blocks are free", st.Bfree)
	}
	for i := n; i >= 0; i-- {
		v.Remove(fmt.Sprint("f", i))
	}
	want(t, "sync", syncAll(v), 0)
	if r := clean(t, m); r.Files+r.Folders != 1 {
		t.Errorf("%+v", r)
	}
}

// TestOverwriteFull: a full volume takes writes to what is there already.
func TestOverwriteFull(t *testing.T) {
	v, m := fresh(t, 2<<20)
	for i := 0; writeFile(v, "f", strings.Repeat("x", BlockSize), int64(i)*BlockSize, fs.O_CREAT) == 0; i++ {
	}
	a, _ := v.Stat(fs.TreeRef{Path: "f"})
	text := strings.Repeat("y", int(a.Size))
	want(t, "overwrite", writeFile(v, "f", text, 0, 0), 0)
	want(t, "sync", syncAll(v), 0)
	clean(t, m)
	if got, _ := readFile(mount(t, m, true), "f"); got != text {
		t.Error("the file is not as it was written")
	}
}

// TestConcurrent has many goroutines do what they like.
func TestConcurrent(t *testing.T) {
	v, m := fresh(t, 8<<20)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			dir := fmt.Sprint("d", g%4)
			v.Mkdir(dir, 0o755)
			for i := range 60 {
				path := fmt.Sprintf("%s/%d", dir, i%7)
				writeFile(v, path, strings.Repeat(fmt.Sprint(g), 9000), int64(i)*100, fs.O_CREAT)
				readFile(v, path)
				v.Rename(path, fmt.Sprintf("%s/%d", dir, i%5))
				if h, _, e := v.Open(path, fs.O_RDWR|fs.O_APPEND, 0); e == 0 {
					v.Remove(path)
					v.Write(h, []byte("end"), 0)
					v.Sync(h, true)
					v.Close(h)
				}
			}
		})
	}
	all.Wait()
	want(t, "sync", syncAll(v), 0)
	clean(t, m)
}
