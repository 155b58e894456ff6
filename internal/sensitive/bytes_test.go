package sensitive

import (
	"fmt"
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	const code = "\x48\xcf" + "\xb8\x0f\x05\xfa\x00" + "\x66\x0f\x38\x82\x00" + "\x0f\x05" + "\xf3\x9c"
	const want = `1000 1001 IRETQ
1003 1003 SYSCALL
1005 1005 CLI
1007 1008 INVPCID
100c 100c SYSCALL
100e 100f PUSHFQ
`
	var b strings.Builder
	for s := range Bytes([]byte(code), 0x1000) {
		fmt.Fprintf(&b, "%x %x %s\n", s.Addr, s.Opcode(), s.Name)
	}
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	for range Bytes([]byte(code), 0) {
		break
	}
}

func TestUndecoded(t *testing.T) {
	const code = "\x06\x07\x90\x06\x90\xe8\x00"
	var got []uint64
	for addr := range Undecoded([]byte(code), 0x1000, []uint64{0x1000, 0x1004}) {
		got = append(got, addr)
	}
	if text := fmt.Sprintf("%#x", got); text != "[0x1000 0x1003 0x1005]" {
		t.Errorf("got %s", text)
	}
	for range Undecoded([]byte(code), 0, nil) {
		break
	}
}

// TestCorpusBytes wants every instruction that decoding finds in the byte scan.
func TestCorpusBytes(t *testing.T) {
	c := corpora(t)[0]
	found := map[uint64]string{}
	for s := range Bytes(c.text, c.addr) {
		found[s.Opcode()] = s.Name
	}
	n := 0
	for s := range Sites(c.text, c.addr, c.entry) {
		n++
		if found[s.Opcode()] != s.Name {
			t.Errorf("%#x: %s, and in the byte scan %q", s.Addr, s.Name, found[s.Opcode()])
		}
	}
	if n == 0 || len(found) < n {
		t.Errorf("%d instructions, %d in the byte scan", n, len(found))
	}
}
