package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseShare(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for text, want := range map[string]string{
		"x":           "x:" + dir + "/x",
		".":           ".:" + dir,
		"/a":          "/a:/a",
		"/a:":         "/a:/a",
		"/a::rw":      "/a:/a:rw",
		"/a/../b":     "/a/../b:/b",
		"x:/y":        "x:/y",
		"x:/y//z/:rw": "x:/y/z:rw",
		"x:/y:ro":     "x:/y",

		"":           "must be HOST[:GUEST[:rw]]",
		":/y":        "must be HOST[:GUEST[:rw]]",
		"x:/y:w":     "must be HOST[:GUEST[:rw]]; a path with a colon cannot be given",
		"x:/y:rw:":   "must be HOST[:GUEST[:rw]]; a path with a colon cannot be given",
		"x:rw":       "rw: where the program sees it must be an absolute path",
		"x:../y":     "../y: where the program sees it must be an absolute path",
		"x:/":        "the program cannot see it as /: give a folder",
		"/":          "the program cannot see it as /: give a folder",
		"x:/a/..:rw": "the program cannot see it as /: give a folder",
	} {
		f, err := parseShare(text)
		got := f.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestRunShares(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := pvrunCommand(t, "run", "--share", dir, "--share", dir+":/out:rw", imageFile(t))
	if code != 0 || len(m.cfg.Shares) != 2 {
		t.Fatalf("exit code %d, %s, %v", code, stderr, m.cfg.Shares)
	}
	if s := m.cfg.Shares[0]; s.Guest != dir || s.Writable || s.Root.Name() != dir {
		t.Errorf("first: %+v", s)
	}
	if s := m.cfg.Shares[1]; s.Guest != "/out" || !s.Writable || s.Root.Name() != dir {
		t.Errorf("second: %+v", s)
	}
	for _, s := range m.cfg.Shares {
		if _, err := s.Root.Stat("f"); err == nil {
			t.Errorf("%s is still open", s.Guest)
		}
	}
	for text, want := range map[string]string{
		"none":                  "pvrun: share none: no such file or directory\n",
		filepath.Join(dir, "f"): "pvrun: share " + dir + "/f: not a directory\n",
		"x:y":                   `pvrun: invalid argument "x:y" for "--share" flag: y: where the program sees it must be an absolute path (see 'pvrun run --help')` + "\n",
		"x:/out":                `pvrun: invalid argument "x:/out" for "--share" flag: ` + dir + ` is shown at /out already (see 'pvrun run --help')` + "\n",
	} {
		code, stdout, stderr := pvrunCommand(t, "run", "--share", dir+":/out", "--share", text, imageFile(t))
		if code != exitHost || stdout != "" || stderr != want {
			t.Errorf("%s: exit code %d, %q, want %q", text, code, stderr, want)
		}
	}
}
