package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/sensitive"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestDoors has a case for each reason, and for what has none.
func TestDoors(t *testing.T) {
	tests := []struct{ class, name, code, function, file, want string }{
		{"p", "CLI", "fa", "pvrun/guest.disable", "pvrun/guest/native_amd64.s", "guest trap"},
		{"p", "CLI", "fa", "pvrun/guest.disable", "pvrun/guest/gate_amd64.s", "guest trap"},
		{"u", "IRETQ", "48cf", "pvrun/guest.upcall", "pvrun/guest/gate_amd64.s", "guest pv,trap"},
		{"u", "IRETQ", "48cf", "pvrun/guest.interrupt", "pvrun/guest/native_amd64.s", "guest trap"},
		{"u", "SGDT", "0f0100", "pvrun/guest/sys.native", "pvrun/guest/sys/native.go", "guest trap"},
		{"p", "CLI", "fa", "pvrun/guestbook.f", "native.s", " "},
		{"u", "PUSHFQ", "9c", "runtime.asyncPreempt", "", "preempt pv,trap"},
		{"u", "POPFQ", "9d", "runtime.asyncPreempt.abi0", "", "preempt pv,trap"},
		{"u", "IRETQ", "48cf", "runtime.asyncPreempt", "", " "},
		{"u", "PUSHFQ", "9c", "runtime.asyncPreempt2", "", " "},
		{"u", "PUSHFQ", "9c", "main.flags", "", " "},
		{"u", "INT", "cd03", "runtime.abort", "", "crash pv,trap"},
		{"u", "INT", "cd80", "runtime.abort", "", " "},
		{"u", "INT", "cd03", "main.abort", "", " "},
		{"s", "SYSCALL", "0f05", "golang.org/x/sys/unix.SyscallNoError", "", "syscall pv,trap"},
		{"s", "SYSCALL", "0f05", "runtime.futex", "", " "},
		{"s", "SYSCALL", "0f05", "", "", " "},
		{"p", "HLT", "f4", "crypto/internal/boring/sig.StandardCrypto", "", "data "},
		{"o", "CPUID", "0fa2", "main.f", "", "any pv,trap"},
		{"o", "CPUID", "0fa2", "", "", "any pv,trap"},
		{"p", "HLT", "f4", "", "", " "},
	}
	classes := map[string]sensitive.Class{"p": sensitive.Privileged, "u": sensitive.Unprivileged, "s": sensitive.Syscall, "o": sensitive.Other}
	for _, test := range tests {
		d, modes := door(SensitiveSite{Class: classes[test.class], Name: test.name, Code: test.code, Place: Place{Func: test.function, File: test.file}})
		if got := fmt.Sprintf("%s %s", d, strings.Join(modes, ",")); got != test.want {
			t.Errorf("%s in %s: got %q, want %q", test.name, test.function, got, test.want)
		}
	}
}

// TestInspectSensitive inspects a program with instructions that nobody allows,
// one that is allowed, and bytes that look like one.
func TestInspectSensitive(t *testing.T) {
	for _, ldflags := range []string{"", "-s -w"} {
		cfg := testConfig(t, writeFiles(t, hello(map[string]string{
			"main.go":    "package main\n\nfunc stop()\nfunc getpid()\nfunc constant()\n\nfunc main() { stop(); getpid(); constant() }\n",
			"asm_x64.go": "package main\n",
			"asm_amd64.s": "TEXT ·stop(SB),4,$0\n\tCLI\n\tBYTE $0x9c\n\tRET\n" +
				"TEXT ·getpid(SB),4,$0\n\tSYSCALL\n\tRET\n" +
				"TEXT ·constant(SB),4,$0\n\tMOVL $0x9c32050f, AX\n\tRET\n",
		})))
		cfg.Ldflags = ldflags
		info, err := InspectSensitive(mustBuild(t, cfg).Image)
		if err != nil {
			t.Fatal(err)
		}
		checkSensitive(t, info)
	}
}

func checkSensitive(t *testing.T, info SensitiveInfo) {
	t.Helper()
	var got []string
	for _, s := range info.Sites {
		if strings.HasPrefix(s.Func, "main.") || strings.HasPrefix(s.Func, "runtime.asyncPreempt") {
			got = append(got, fmt.Sprintf("%v %s %s %s:%d %q %s", s.Class, s.Name, s.Func, filepath.Base(s.File), s.Line, s.Door, s.Code))
		}
	}
	for _, want := range []string{
		`privileged CLI main.stop asm_amd64.s:2 "" fa`,
		`sensitive-unprivileged PUSHFQ main.stop asm_amd64.s:3 "" 9c`,
		`syscall SYSCALL main.getpid asm_amd64.s:6 "syscall" 0f05`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if len(got) != 5 || info.Outside() != 2 || len(info.Undecoded) != 0 {
		t.Errorf("%d outside, %v undecoded, %q", info.Outside(), info.Undecoded, got)
	}
	for _, b := range info.Bytes {
		if b.Count != len(b.Addrs) || b.Count == 0 {
			t.Errorf("%+v", b)
		}
	}
	if !slices.ContainsFunc(info.Bytes, func(b SensitiveBytes) bool { return b.Name == "SYSCALL" }) {
		t.Errorf("the constant is missing: %+v", info.Bytes)
	}
}

// TestInspectSensitiveNoNames inspects an image with nothing of Go in it.
func TestInspectSensitiveNoNames(t *testing.T) {
	var c asm.Code
	name := asm.Image{Code: c.Raw(0xfa, 0x06, 0x07, 0x90, 0x9c, 0x0f, 0xa2)}.Write(t)
	info, err := InspectSensitive(name)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v %+v", info.Sites[:3], info.Undecoded)
	const want = "[{Place:{Addr:0x400000 Func: File: Line:0} Class:privileged Name:CLI Code:fa Modes:[] Door:}" +
		" {Place:{Addr:0x400004 Func: File: Line:0} Class:sensitive-unprivileged Name:PUSHFQ Code:9c Modes:[] Door:}" +
		" {Place:{Addr:0x400005 Func: File: Line:0} Class:other Name:CPUID Code:0fa2 Modes:[pv trap] Door:any}]" +
		" [{Addr:0x400001 Func: File: Line:0}]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := info.Outside(); n != 3 {
		t.Errorf("%d outside", n)
	}
}

func TestInspectSensitiveErrors(t *testing.T) {
	dir := writeFiles(t, map[string]string{"text": "not an image, only text"})
	for name, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory",
		filepath.Join(dir, "text"): "not an ELF file",
		dir:                        "not a regular file",
		mustBuildNative(t):         "no pvrun note",
	} {
		_, err := InspectSensitive(name)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "inspect "+name) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// TestCountLimit stops listing, not counting.
func TestCountLimit(t *testing.T) {
	s := scan{bytes: map[string]*SensitiveBytes{}, listed: maxListed - 1}
	for site := range sensitive.Bytes([]byte{0xfa, 0xfa, 0xfa}, 0) {
		s.count(&site)
	}
	if b := s.info().Bytes[0]; b.Count != 3 || len(b.Addrs) != 1 {
		t.Errorf("%+v", b)
	}
	many := make([]byte, sensitive.MaxPatches+1)
	for i := range many {
		many[i] = 0xfa
	}
	if err := s.segment(many, 0); err != sensitive.ErrTooMany {
		t.Errorf("got %v", err)
	}
}

// FuzzInspectSensitive gives it files that only begin like images.
func FuzzInspectSensitive(f *testing.F) {
	var c asm.Code
	b, err := os.ReadFile(asm.Image{Code: c.Raw(0x9c, 0x9d, 0x0f, 0x05)}.Write(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		InspectSensitive(name)
	})
}
