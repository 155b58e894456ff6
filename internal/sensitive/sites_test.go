package sensitive

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func list(code string, addr uint64, starts ...uint64) string {
	var b strings.Builder
	for s := range Sites([]byte(code), addr, starts) {
		fmt.Fprintf(&b, "%x %s\n", s.Addr, s.Name)
	}
	return b.String()
}

// TestStarts checks where decoding begins, and that it begins anew.
func TestStarts(t *testing.T) {
	const swallowed = "\xfa\x48\xb8\x9c\x9c\x9c" // CLI, and the beginning of a MOV of ten bytes
	tests := []struct {
		name, code string
		starts     []uint64
		want       string
	}{
		{"from the beginning", "\x9c\x90\x9d", nil, "1000 PUSHFQ\n1002 POPFQ\n"},
		{"bytes that are no instruction", "\x06\x07\x9c", nil, "1002 PUSHFQ\n"},
		{"from the first function", "\x9c\x90\x9d", []uint64{0x1001}, "1002 POPFQ\n"},
		{"functions elsewhere", "\x9c\x90\x9d", []uint64{0x10, 0xffff, 0x10000}, "1000 PUSHFQ\n1002 POPFQ\n"},
		{"an instruction over a start", swallowed + "\xfb\x90\x90\x90", []uint64{0x1000, 0x1006}, "1000 CLI\n1003 PUSHFQ\n1004 PUSHFQ\n1005 PUSHFQ\n1006 STI\n"},
		{"the same without a start", swallowed + "\xfb\x90\x90\x90\x90\xf4", nil, "1000 CLI\n100b HLT\n"},
		{"an instruction over the end", "\xfa\xe4", nil, "1000 CLI\n"},
		{"a build ID", "\xff Go build ID: \"lmno\"\n \xff\xcc\xfa", []uint64{0x1000, 0x1019}, "1019 CLI\n"},
		{"starts at the end of the address space", "\xfa", []uint64{0x1000, 1<<64 - 1}, "1000 CLI\n"},
		{"starts that do not ascend", "\xfa\x90\xfb", []uint64{0x1000, 0x1000, 0x1000}, "1000 CLI\n1002 STI\n"},
		{"nothing", "", []uint64{0x1000}, ""},
	}
	for _, test := range tests {
		if got := list(test.code, 0x1000, test.starts...); got != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.name, got, test.want)
		}
	}
}

// TestStop leaves a sequence early.
func TestStop(t *testing.T) {
	n := 0
	for range Sites([]byte("\xfa\xfa\xfa"), 0, nil) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestPatch(t *testing.T) {
	code := []byte("\xfa" + "\x9c" + "\x0f\xa2" + "\x48\xcf" + "\x0f\x05" + "\x0f\x01\x44\x24\x08" + "\xb8\x9c\x0f\x05\x9d" + "\xca\x08\x00")
	want := []byte("\xfa" + "\xcc" + "\x0f\xa2" + "\x0f\x0b" + "\x0f\x0b" + "\x0f\x0b\x44\x24\x08" + "\xb8\x9c\x0f\x05\x9d" + "\x0f\x0b\x00")
	sites, err := Patch(code, 0x400000, nil)
	if err != nil || !bytes.Equal(code, want) {
		t.Errorf("%v, got\n% x\nwant\n% x", err, code, want)
	}
	var b strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&b, "%x %s %v % x\n", s.Addr, s.Name, s.Class, s.Code())
	}
	const table = `400001 PUSHFQ sensitive-unprivileged 9c
400004 IRETQ sensitive-unprivileged 48 cf
400006 SYSCALL syscall 0f 05
400008 SGDT sensitive-unprivileged 0f 01 44 24 08
400012 RETF sensitive-unprivileged ca 08 00
`
	if b.String() != table {
		t.Errorf("got\n%swant\n%s", b.String(), table)
	}
}

func TestTooMany(t *testing.T) {
	code := bytes.Repeat([]byte{0x9c}, MaxPatches)
	if sites, err := Patch(code, 0, nil); err != nil || len(sites) != MaxPatches {
		t.Errorf("got %d, %v", len(sites), err)
	}
	code = bytes.Repeat([]byte{0x9c}, MaxPatches+1)
	if sites, err := Patch(code, 0, nil); !errors.Is(err, ErrTooMany) || sites != nil {
		t.Errorf("got %d, %v", len(sites), err)
	}
}

// FuzzSites gives it any code and any starts: decoding is linear, and what Patch
// returns is all that it has changed.
func FuzzSites(f *testing.F) {
	f.Add([]byte("\x48\xb8\x9c\x9d\xfa\xfb\x0f\x05\xc3"), uint64(0x400000), uint64(3), uint64(7))
	f.Add([]byte("\xff Go build ID: \"x\"\x9c\x9d"), uint64(1<<64-8), uint64(0), uint64(1<<63))
	f.Add([]byte("\x62\xf1\x7c\x48\x10\x00\xc5\xf8\x77\x8f\xe8\x78\xa2"), uint64(0), uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, code []byte, addr, first, second uint64) {
		starts := []uint64{addr + first, addr + first + second}
		checkLinear(t, code, addr, starts)
		patched := bytes.Clone(code)
		sites, err := Patch(patched, addr, starts)
		if err != nil {
			return
		}
		restored := bytes.Clone(patched)
		for _, s := range sites {
			copy(restored[s.Addr-addr:], s.Code())
		}
		if !bytes.Equal(restored, code) {
			t.Errorf("% x: restored as % x", code, restored)
		}
	})
}

// checkLinear checks that each byte is decoded at most once.
func checkLinear(t *testing.T, code []byte, addr uint64, starts []uint64) {
	end := 0
	for at, in := range instructions(code, addr, starts) {
		if at < end || in.length > maxLength {
			t.Fatalf("% x: an instruction of %d bytes at %d after %d", code, in.length, at, end)
		}
		end = at + max(in.length, 1)
	}
	if end > len(code) {
		t.Fatalf("% x: decoded to %d", code, end)
	}
}
