package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseMount(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const form = "must be DIR[:PATH[:ro]] or NAME:PATH[:ro]"
	for text, want := range map[string]string{
		"./x":           "./x:" + dir + "/x",
		".":             ".:" + dir,
		"..::ro":        "..:" + filepath.Dir(dir) + ":ro",
		"/a":            "/a:/a",
		"/a:":           "/a:/a",
		"/a::ro":        "/a:/a:ro",
		"/a::rw":        "/a:/a",
		"/a/../b":       "/a/../b:/b",
		"x/y:/y":        "x/y:/y",
		"./x:/y//z/:ro": "./x:/y/z:ro",
		"data:/y":       "data:/y",
		"data:/y:ro":    "data:/y:ro",

		"":           form,
		":/y":        form,
		"data":       form + "; a folder is written ./data",
		"data:":      form + "; a folder is written ./data",
		"./x:/y:w":   form + "; a path with a colon cannot be given",
		"./x:/y:rw:": form + "; a path with a colon cannot be given",
		"data:ro":    "ro: where the program sees it must be an absolute path",
		"./x:../y":   "../y: where the program sees it must be an absolute path",
		"./x:/":      "the program cannot see it as /: give a folder, or use --rootfs-disk",
		"/":          "the program cannot see it as /: give a folder, or use --rootfs-disk",
		"x:/a/..:ro": "the program cannot see it as /: give a folder, or use --rootfs-disk",
	} {
		f, err := parseMount(text)
		got := f.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestRunVolumes(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := pvrunCommand(t, "run", "-v", dir+"::ro", "--volume", dir+":/out", imageFile(t))
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
		"./none":                "pvrun: volume ./none: no such file or directory\n",
		filepath.Join(dir, "f"): "pvrun: volume " + dir + "/f: not a directory\n",
		"x:y":                   `pvrun: invalid argument "x:y" for "-v, --volume" flag: y: where the program sees it must be an absolute path (see 'pvrun run --help')` + "\n",
		"./x:/out":              `pvrun: invalid argument "./x:/out" for "-v, --volume" flag: ` + dir + ` is shown at /out already (see 'pvrun run --help')` + "\n",
	} {
		code, stdout, stderr := pvrunCommand(t, "run", "-v", dir+":/out", "-v", text, imageFile(t))
		if code != exitHost || stdout != "" || stderr != want {
			t.Errorf("%s: exit code %d, %q, want %q", text, code, stderr, want)
		}
	}
}
