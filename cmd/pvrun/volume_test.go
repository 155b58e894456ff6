package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
	"github.com/pvrun/pvrun/internal/volume"
)

// volumes runs `pvrun volume` with its own folder of volumes.
func volumes(t *testing.T) (dir string, run func(want int, args ...string) (stdout, stderr string)) {
	t.Helper()
	dir = t.TempDir()
	dir = filepath.Join(dir, "[a-b]*") // which is no pattern
	t.Setenv("XDG_DATA_HOME", dir)
	return filepath.Join(dir, "pvrun", "volumes"), func(want int, args ...string) (string, string) {
		t.Helper()
		code, stdout, stderr := pvrunCommand(t, append([]string{"volume"}, args...)...)
		if code != want || strings.Count(stderr, "\n") > 1 {
			t.Fatalf("%q: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
}

// folder makes one with some of everything.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	for _, d := range []string{"", "empty", "sub/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sparse := append(make([]byte, 3<<20), "end"...)
	for name, data := range map[string][]byte{"a": []byte("text"), "sub/b": sparse, "sub/deep/none": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("/nowhere", filepath.Join(dir, "link"))
	os.Chmod(filepath.Join(dir, "sub/b"), 0o541)
	os.Chtimes(filepath.Join(dir, "sub"), time.Unix(1, 2), time.Unix(1e9, 5))
	return dir
}

// listing is all there is in a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, _ := d.Info()
		rel, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&b, "%s %v", rel, info.Mode())
		switch info.Mode().Type() {
		case 0:
			data, _ := os.ReadFile(p)
			fmt.Fprintf(&b, " %v %x", info.ModTime(), vol.Checksum(data))
		case os.ModeSymlink:
			target, _ := os.Readlink(p)
			b.WriteString(" " + target)
		default:
			fmt.Fprint(&b, " ", info.ModTime())
		}
		b.WriteByte('\n')
		return nil
	})
	return b.String()
}

func TestVolumeCopies(t *testing.T) {
	_, run := volumes(t)
	src, dst := folder(t), t.TempDir()
	want := listing(t, src)
	run(0, "create", "v", "--size", "16m", "--from", src)
	run(0, "cp", "v:/", filepath.Join(dst, "all"))
	run(0, "cp", src, "v:/")
	run(0, "cp", "v:/tree", dst)
	run(0, "cp", src+"/.", "v:/tree/empty")
	run(0, "cp", "v:/tree/empty", filepath.Join(dst, "third"))
	for _, name := range []string{"all", "tree", "third"} {
		if got := listing(t, filepath.Join(dst, name)); got != want {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
	if out, _ := run(0, "fsck", "v"); !strings.HasPrefix(out, "v: clean, 12 files, ") {
		t.Error(out)
	}
	if _, errs := run(1, "cp", "v:/none", dst); errs != "pvrun: volume v: stat /none: no such file or directory\n" {
		t.Error(errs)
	}
}

// TestVolumeLinks: a file with many names comes out of a volume once, or a small one
// could fill the host's disk.
func TestVolumeLinks(t *testing.T) {
	_, run := volumes(t)
	run(0, "create", "v", "--size", "4m")
	v, err := volume.Open("v", false)
	if err != nil {
		t.Fatal(err)
	}
	h, _, e := v.FS.Open("f", fs.O_WRONLY|fs.O_CREAT, 0o600)
	if _, e2 := v.Write(h, bytes.Repeat([]byte("text"), 1<<18), 0); e != 0 || e2 != 0 {
		t.Fatal(e, e2)
	}
	v.FS.Close(h)
	for i := range 20 {
		if e := v.Link("f", fmt.Sprint(i)); e != 0 {
			t.Fatal(e)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "out")
	for range 2 { // the second time over the first
		run(0, "cp", "v:/", dst)
		a, err := os.Stat(filepath.Join(dst, "f"))
		b, err2 := os.Stat(filepath.Join(dst, "7"))
		if err != nil || err2 != nil || !os.SameFile(a, b) || a.Size() != 1<<20 {
			t.Errorf("%v, %v; %v and %v", err, err2, a, b)
		}
	}
}

func TestVolumeNames(t *testing.T) {
	dir, run := volumes(t)
	if out, _ := run(0, "ls"); out != "NAME  SIZE  USED  PATH\n" {
		t.Error(out)
	}
	run(0, "create", "one", "--size", "1m")
	image := filepath.Join(t.TempDir(), "image")
	run(0, "create", image, "--size", "1m")
	run(0, "fsck", image)
	out, _ := run(0, "ls")
	golden(t, "volume-ls", strings.ReplaceAll(out, dir, "DIR"))
	out, _ = run(0, "ls", "-o", "json")
	golden(t, "volume-ls-json", strings.ReplaceAll(out, dir, "DIR"))
	run(0, "rm", "one", image)
	if out, _ := run(0, "ls"); strings.Count(out, "\n") != 1 {
		t.Error(out)
	}
}

func TestVolumeErrors(t *testing.T) {
	dir, run := volumes(t)
	run(0, "create", "v", "--size", "1m")
	text := filepath.Join(dir, "text.vol")
	os.WriteFile(text, bytes.Repeat([]byte("text"), 1024), 0o600)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"create", "v", "--size", "1m"}, 1, "volume v: there is one already"},
		{[]string{"create", "w"}, 2, "needs --size, such as --size 1g (see 'pvrun volume create --help')"},
		{[]string{"create", "../w", "--size", "1m", "--from", text}, 1, "--from " + text + ": it is not a folder"},
		{[]string{"create", "a b", "--size", "1m"}, 1, `volume "a b": a name has letters, digits, - _ and ., and a path has a slash`},
		{[]string{"rm", "w"}, 1, "volume w: there is none; 'pvrun volume create' makes one"},
		{[]string{"rm"}, 2, "needs a name (see 'pvrun volume rm --help')"},
		{[]string{"rm", text}, 1, "volume " + text + ": not a volume of pvrun"},
		{[]string{"fsck", text}, 1, "volume " + text + ": check the volume: not a volume of pvrun"},
		{[]string{"cp", "x", "y"}, 2, "one of SRC and DST must be NAME:/PATH, and only one (see 'pvrun volume cp --help')"},
		{[]string{"cp", "x"}, 2, "needs SRC and DST (see 'pvrun volume cp --help')"},
		{[]string{"frob"}, 2, `unknown command "frob" for "pvrun volume" (see 'pvrun volume --help')`},
	} {
		if _, got := run(test.code, test.args...); got != "pvrun: "+test.want+"\n" {
			t.Errorf("%q: got %s, want %s", test.args, got, test.want)
		}
	}
}

// TestVolumeInUse: whoever has a volume has it alone.
func TestVolumeInUse(t *testing.T) {
	_, run := volumes(t)
	run(0, "create", "v", "--size", "1m")
	v, err := volume.Open("v", false)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, args := range [][]string{{"fsck", "v"}, {"rm", "v"}, {"cp", "v:/", t.TempDir()}, {"cp", t.TempDir(), "v:/"}} {
		if _, got := run(1, args...); got != "pvrun: volume v: another pvrun uses it\n" {
			t.Errorf("%q: %s", args, got)
		}
	}
	if out, _ := run(0, "ls"); !strings.Contains(out, "v     1m    ") {
		t.Error(out)
	}
}

// TestVolumeRepair damages a file, and the newer superblock.
func TestVolumeRepair(t *testing.T) {
	dir, run := volumes(t)
	src := t.TempDir()
	os.WriteFile(filepath.Join(src, "f"), bytes.Repeat([]byte("text"), 4096), 0o600)
	run(0, "create", "v", "--size", "1m", "--from", src)
	path := filepath.Join(dir, "v.vol")
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(image, []byte("texttext"))
	image[at+5000]++
	os.WriteFile(path, image, 0o600)
	out, _ := run(1, "fsck", "v")
	golden(t, "volume-fsck", out)
	out, _ = run(0, "fsck", "v", "--repair")
	golden(t, "volume-fsck-repair", out)
	run(0, "fsck", "v")
}
