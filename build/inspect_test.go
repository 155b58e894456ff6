package build

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// TestInspect inspects a program that has a SYSCALL of its own, and the bytes
// of one in a constant.
func TestInspect(t *testing.T) {
	for _, ldflags := range []string{"", "-s -w"} {
		cfg := testConfig(t, writeFiles(t, hello(map[string]string{
			"main.go":    "package main\n\nfunc getpid() int\nfunc constant() int\n\nfunc main() { println(getpid() > 0, constant()) }\n",
			"asm_x64.go": "package main\n",
			"asm_amd64.s": "TEXT ·getpid(SB),4,$0-8\n\tMOVQ $39, AX\n\tSYSCALL\n\tMOVQ AX, ret+0(FP)\n\tRET\n" +
				"TEXT ·constant(SB),4,$0-8\n\tMOVL $0x050f, AX\n\tMOVQ AX, ret+0(FP)\n\tRET\n",
		})))
		cfg.RootFS = writeFiles(t, map[string]string{"etc/motd": "welcome\n", "link->": "etc/motd"})
		cfg.Ldflags = ldflags
		info, err := Inspect(mustBuild(t, cfg).Image)
		if err != nil {
			t.Fatal(err)
		}
		checkInfo(t, info)
	}
}

func checkInfo(t *testing.T, info Info) {
	t.Helper()
	if len(info.Segments) != 3 || info.Segments[0].Perm != "r-x" || info.Segments[0].Addr != "0x400000" {
		t.Errorf("segments: %+v", info.Segments)
	}
	if info.Note.ABI != hypercall.Version || strings.Join(info.Note.Required, ",") != "console" {
		t.Errorf("note: %+v", info.Note)
	}
	files, _ := json.Marshal(info.RootFS)
	want := `[{"name":"etc","mode":"drwxr-xr-x","size":0},{"name":"etc/motd","mode":"-rw-r--r--","size":8},` +
		`{"name":"link","mode":"Lrwxrwxrwx","size":8,"link":"etc/motd"}]`
	if string(files) != want {
		t.Errorf("root file system: got\n%s\nwant\n%s", files, want)
	}
	if len(info.Go.Modules) != 1 || info.Go.Modules[0].Path != "example.com/hello" || !supported(info.Go.Version) {
		t.Errorf("go: %+v", info.Go)
	}
	sites := map[string]Site{}
	for _, s := range info.Syscalls {
		if s.Kind == "instruction" && covered(s.Func) {
			t.Errorf("unexpected: %+v", s)
		}
		sites[s.Func] = s
	}
	if s := sites["main.getpid"]; s.Kind != "instruction" || s.File != "example.com/hello/asm_amd64.s" && s.File != "./asm_amd64.s" || s.Line != 3 {
		t.Errorf("getpid: %+v", s)
	}
	if s := sites["main.constant"]; s.Kind != "bytes" {
		t.Errorf("constant: %+v", s)
	}
}

func TestInspectErrors(t *testing.T) {
	dir := writeFiles(t, map[string]string{"text": "not an image, only text", "empty": ""})
	native := mustBuildNative(t)
	for name, want := range map[string]string{
		filepath.Join(dir, "none"):  "no such file or directory",
		filepath.Join(dir, "text"):  "not an ELF file",
		filepath.Join(dir, "empty"): "not an ELF file",
		dir:                         "not a regular file",
		native:                      "no pvrun note",
	} {
		_, err := Inspect(name)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "inspect "+name) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// mustBuildNative is a program for Linux: this test.
func mustBuildNative(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestCheckNative refuses what has no guest in it.
func TestCheckNative(t *testing.T) {
	if _, err := check(mustBuildNative(t)); err == nil || !strings.Contains(err.Error(), "no pvrun/guest.gate") {
		t.Errorf("got %v", err)
	}
}

// FuzzInspect gives Inspect files that only begin like images.
func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	if image := os.Getenv("PVRUN_FUZZ_IMAGE"); image != "" {
		b, err := os.ReadFile(image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		Inspect(name)
	})
}
