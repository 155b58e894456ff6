package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/internal/sensitive"
	"github.com/pvrun/pvrun/test/guests/asm"
)

func TestSensitiveTable(t *testing.T) {
	both := []string{"pv", "trap"}
	info := build.SensitiveInfo{
		Sites: []build.SensitiveSite{
			{Place: build.Place{Addr: "0x401000", Func: "pvrun/guest.disable", File: "pvrun/guest/native_amd64.s", Line: 7}, Class: sensitive.Privileged, Name: "CLI", Modes: []string{"trap"}, Door: build.DoorGuest},
			{Place: build.Place{Addr: "0x401100", Func: "main.a\x1b[31m", File: "a.s", Line: 3}, Class: sensitive.Privileged, Name: "MOV to CR3"},
			{Place: build.Place{Addr: "0x401200", Func: "runtime.asyncPreempt", File: "runtime/preempt_amd64.s", Line: 12}, Class: sensitive.Unprivileged, Name: "PUSHFQ", Modes: both, Door: build.DoorPreempt},
			{Place: build.Place{Addr: "0x401300"}, Class: sensitive.Other, Name: "CPUID", Modes: both, Door: build.DoorAny},
		},
		Bytes: []build.SensitiveBytes{
			{Class: sensitive.Privileged, Name: "CLI", Count: 3, Addrs: []string{"0x401010", "0x401020"}},
			{Class: sensitive.Privileged, Name: "STI", Count: 1, Addrs: []string{"0x401030"}},
			{Class: sensitive.Syscall, Name: "SYSCALL", Count: 1, Addrs: []string{"0x401040"}},
		},
		Undecoded: []build.Place{{Addr: "0x401400", Func: "main.b", File: "b.s", Line: 9}},
	}
	for name, verbose := range map[string]bool{"inspect-sensitive": false, "inspect-sensitive-v": true} {
		var out bytes.Buffer
		if err := writeSensitive(&out, info, verbose); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// TestInspectSensitive inspects images made by hand.
func TestInspectSensitive(t *testing.T) {
	var good, bad asm.Code
	goodImage := asm.Image{Code: good.Raw(0x0f, 0xa2), Handler: new(asm.Code)}.Write(t)
	badImage := asm.Image{Code: bad.Raw(0x9c), Handler: new(asm.Code)}.Write(t)
	const outside = "1 sensitive instruction, or place that is not decoded, without a known reason"
	for _, test := range []struct {
		args         string
		code         int
		stdout, want string
	}{
		{"--sensitive " + goodImage, 0, "CPUID", ""},
		{"--sensitive --strict " + goodImage, 0, "CPUID", ""},
		{"--sensitive " + badImage, 0, "PUSHFQ", ""},
		{"--sensitive --strict " + badImage, 1, "PUSHFQ", "pvrun: inspect " + badImage + ": " + outside + "\n"},
		{"--sensitive --strict -o json " + badImage, 1, `"PUSHFQ"`, "pvrun: inspect " + badImage + ": " + outside + "\n"},
		{"--sensitive " + filepath.Join(t.TempDir(), "none"), 1, "", "no such file"},
		{"--strict " + goodImage, 2, "", "pvrun: --strict and --verbose go with --sensitive (see 'pvrun inspect --help')\n"},
		{"-v " + goodImage, 2, "", "go with --sensitive"},
	} {
		code, stdout, stderr := pvrunCommand(t, append([]string{"inspect"}, strings.Fields(test.args)...)...)
		if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.want) || (test.want == "") != (stderr == "") {
			t.Errorf("%s: exit code %d, stdout\n%sstderr %s", test.args, code, stdout, stderr)
		}
	}
	if got := outsideText(2); got != "2 sensitive instructions, or places that are not decoded, without a known reason" {
		t.Errorf("got %s", got)
	}
}

// TestInspectSensitiveJSON compares the whole answer.
func TestInspectSensitiveJSON(t *testing.T) {
	var c asm.Code
	name := asm.Image{Code: c.Raw(0xb8, 0x0f, 0x05, 0, 0, 0x9c, 0x06), Handler: new(asm.Code)}.Write(t)
	code, stdout, stderr := pvrunCommand(t, "inspect", "--sensitive", "-o", "json", name)
	if code != 0 || stderr != "" || !json.Valid([]byte(stdout)) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	golden(t, "inspect-sensitive-json", stdout)
}
