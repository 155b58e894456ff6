package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What programs do with files in memory they do in a folder of the host's, with
// the same results, and leave nothing behind.
func TestSameInShare(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"files", "folders", "links", "root", "locks", "many", "big", "errors", "unix"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := finish(t, nativeCommand(t, cases, name))
			eachMode(t, func(t *testing.T, mode string) {
				dir := t.TempDir()
				got := run(t, cases, in(mode, "-e", "TMPDIR=/host/tmp", "-v", dir+":/host/tmp"), name)
				wants(t, got, want.code, want.stdout, "")
				if left, _ := os.ReadDir(dir); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

// shareFolder is a folder with a large file, links and a folder in it.
func shareFolder(t *testing.T) string {
	t.Helper()
	dir := write(t, map[string]string{"big": strings.Repeat("xy", 1_500_000), "deep/er/f": "text", "é ü": "odd name"})
	for name, target := range map[string]string{"link": "big", "dangling": "none", "up": "../none"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(dir+"/big", dir+"/hard"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A program sees its folder under the folder's own name, and changes it as a
// native one does.
func TestShare(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		a, b := shareFolder(t), shareFolder(t)
		want := finish(t, nativeCommand(t, cases, "shared", a))
		got := run(t, cases, in(mode, "-v", b), "shared", b)
		wants(t, got, want.code, strings.ReplaceAll(want.stdout, a, b), "")
		if !strings.Contains(want.stdout, "deep/er/new -rw------- true\n") {
			t.Errorf("native: %s", want.stdout)
		}
		walk := func(dir string) string { return finish(t, nativeCommand(t, cases, "walk", dir)).stdout }
		same(t, "the folder afterwards", walk(b), walk(a))
	})
}

func TestShareReadOnly(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := write(t, map[string]string{"f": "text", "d/x": "x"})
		got := run(t, cases, in(mode, "-v", dir+":/ro:ro"), "unwritable", "/ro")
		wants(t, got, 0, got.stdout, "")
		golden(t, "unwritable", got.stdout)
		if text, err := os.ReadFile(dir + "/f"); string(text) != "text" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	})
}

// A writable folder in a read-only one, and where parents are missing.
func TestShareInShare(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		outer, inner := write(t, map[string]string{"f": "outer", "out/hidden": "x"}), write(t, map[string]string{"f": "inner", "here": "x"})
		flags := in(mode, "-v", outer+":/a/b:ro", "-v", inner+":/a/b/out")
		got := run(t, cases, flags, "walk", "/a")
		wants(t, got, 0, ". drwxr-xr-x true\nb drwxr-xr-x true\nb/f -rw-r--r-- true\nb/out drwxr-xr-x true\nb/out/f -rw-r--r-- true\nb/out/here -rw-r--r-- true\n", "")
		wants(t, run(t, cases, flags, "appends", "/a/b/out/log"), 0, "", "")
		wants(t, run(t, cases, flags, "appends", "/a/b/out/log"), 0, "", "")
		text, err := os.ReadFile(inner + "/log")
		if n := bytes.Count(text, []byte("line 99\n")); err != nil || n != 2 {
			t.Errorf("%v, %d ends", err, n)
		}
		got = run(t, cases, append(flags, "-w", "/a/b/out"), "where")
		wants(t, got, 0, "/a/b/out\n<nil>\nfolder true\n", "")
	})
}

// What the host changes while a program runs is what it sees.
func TestShareChanges(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := write(t, map[string]string{"d/f": "first"})
		cmd := runCommand(t, cases, in(mode, "-v", dir+":/s:ro"), "watch")
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer in.Close()
		lines := bufio.NewScanner(out)
		for _, step := range []struct {
			change func() error
			want   string
		}{
			{func() error { return nil }, `"first" <nil>`},
			{func() error { return os.WriteFile(dir+"/d/f", []byte("second"), 0o644) }, `"second" <nil>`},
			{func() error { return os.Rename(dir+"/d", dir+"/e") }, `"" open /s/d/f: no such file or directory`},
			{func() error { return os.CopyFS(dir+"/d", os.DirFS(dir+"/e")) }, `"second" <nil>`},
			{func() error { os.Remove(dir + "/d/f"); return os.Symlink("/etc/hostname", dir+"/d/f") }, `"pvrun\n" <nil>`},
		} {
			if err := step.change(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(in, "/s/d/f")
			if !lines.Scan() || lines.Text() != step.want {
				t.Errorf("got %s, want %s", lines.Text(), step.want)
			}
		}
	})
}

// The exits that a file costs, so that nobody adds one unseen.
func TestShareExits(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		calls := func(n int) uint64 {
			files := map[string]string{}
			for i := range n {
				files[fmt.Sprintf("a/b/c/%d", i)] = "x"
			}
			s, got := readStats(t, in(mode, "-v", write(t, files)+":/s:ro"), cases, "walk", "/s")
			if got.code != 0 {
				t.Fatalf("%+v", got)
			}
			return s.Exits.ByReason["hypercall.host_file"]
		}
		if few, many := calls(1), calls(101); many-few != 100 {
			t.Errorf("100 files more: %d calls more, want 100", many-few)
		}
	})
}
