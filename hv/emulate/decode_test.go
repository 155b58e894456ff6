package emulate

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Encodings and what they are, checked against GNU objdump once.
func TestDecode(t *testing.T) {
	for _, c := range []struct{ code, name string }{
		{"fa", "CLI"}, {"66 f2 2e 40 fa", "CLI"}, {"40 48 fa", "CLI"}, {"48 26 fb", "STI"},
		{"0f 20 c0", "MOV_from_CR0"}, {"44 0f 20 c0", "MOV_from_CR8"}, {"44 40 0f 20 c0", "MOV_from_CR0"}, {"0f 20 40", "MOV_from_CR0"}, {"0f 22 04", "MOV_CR0"}, {"0f 23 84", "MOV_DR0"},
		{"0f 01 15 11 22 33 44", "LGDT"}, {"67 0f 01 14 25 11 22 33 44", "LGDT"}, {"64 0f 01 54 24 08", "LGDT"}, {"0f 01 9c 00 11 22 33 44", "LIDT"},
		{"0f 01 f8", "SWAPGS"}, {"0f 01 38", "INVLPG"}, {"0f 01 c8", "MONITOR"}, {"0f 01 c9", "MWAIT"}, {"0f 01 d1", "XSETBV"},
		{"0f 01 ca", "CLAC"}, {"0f 01 cb", "STAC"}, {"0f 01 c1", "VMCALL"}, {"f3 0f 01 d9", "VMMCALL"},
		{"0f 00 0c 25 11 22 33 44", "STR"}, {"48 0f 00 d8", "LTR"}, {"41 0f 00 d4", "LLDT"},
		{"9c", "PUSHFQ"}, {"66 9d", "POPF"}, {"48 66 9d", "POPF"}, {"66 48 9d", "POPFQ"}, {"cf", "IRETD"}, {"66 cf", "IRET"}, {"4f cf", "IRETQ"},
		{"ca 08 00", "LRET"}, {"48 ff 6c 24 08", "LJMP"}, {"ff 1d 11 22 33 44", "LCALL"},
		{"cd 80", "INT"}, {"cc", "INT"}, {"f1", "ICEBP"}, {"0f 05", "SYSCALL"}, {"48 0f 07", "SYSRET"},
		{"8c c8", "MOV_from_CS"}, {"66 41 8c d4", "MOV_from_SS"}, {"8e 54 24 08", "MOV_SS"}, {"0f a1", "POP_FS"}, {"66 0f a8", "PUSH_GS"},
		{"0f b2 03", "LSS"}, {"48 0f b4 03", "LFS"}, {"0f 02 84 03 11 22 33 44", "LAR"}, {"0f 03 c0", "LSL"},
		{"e4 60", "IN"}, {"66 e7 80", "OUT"}, {"f3 6e", "OUTS"}, {"f3 66 67 6d", "INS"},
		{"f3 48 0f ae d0", "WRFSBASE"}, {"f3 0f ae c8", "RDGSBASE"}, {"0f 30", "WRMSR.other"}, {"0f 08", "INVD"}, {"f3 0f 09", "WBINVD"},
		{"2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e fa", "CLI"}, // 15 bytes
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []int{0, 3, 15} {
			in, ok := decode(append(b[:len(b):len(b)], make([]byte, more)...))
			if !ok || in.length != len(b) || in.what.name != "trap."+c.name {
				t.Errorf("%s and %d bytes: %v, %d bytes, %s; want %s", c.code, more, ok, in.length, in.what.name, c.name)
			}
		}
		if in, ok := decode(b[:len(b)-1]); ok && in.what.do != nil {
			t.Errorf("%s without its end is %s", c.code, in.what.name)
		}
	}
}

func TestNotOurs(t *testing.T) {
	for _, code := range []string{
		"", "66", "40", "0f", "0f 01", "90", "0f 0b", "c5 f8 77", "62 f1 7c 48 10 00", "f3 0f 1e fa", "27", "ea", "8c f0", "0f a2", "0f 31",
		"2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e fa", // 16 bytes
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if in, ok := decode(b); ok && in.what.do != nil {
			t.Errorf("%q is %s", code, in.what.name)
		}
	}
}

// An instruction at the end of a page comes in two parts.
func TestShortCode(t *testing.T) {
	m := newMachine(t)
	m.RIP = atData + pageSize - 2
	m.poke(m.RIP, 0xc0200f) // mov rax, cr0
	res := m.Step(&m.Regs, []byte{0x0f, 0x20}, realGP, &m.testBus)
	if res.Name != "trap.MOV_from_CR0" || m.RAX != m.CR0 || m.RIP != atData+pageSize+1 {
		t.Errorf("%+v, RIP %#x", res, m.RIP)
	}
	m.RIP = atData + 2*pageSize - 2
	res = m.Step(&m.Regs, []byte{0x0f, 0x20}, realGP, &m.testBus)
	if res.Exception == nil || res.Exception.Vector != vectorPF {
		t.Errorf("without the page: %+v", res)
	}
	res = m.Step(&m.Regs, []byte{0x0f, 0xff}, Exception{Vector: vectorUD}, &m.testBus)
	if res.Exception == nil || res.Exception.Vector != vectorUD {
		t.Errorf("#UD without the page: %+v", res)
	}
	m.RIP = 1<<47 - 2
	m.fails("0f 0b", vectorGP, 0x7777)
}

func TestUnsupported(t *testing.T) {
	m := newMachine(t)
	for code, name := range map[string]string{"66 0f 38 82 00": "INVPCID", "48 0f c7 28": "XSAVES", "0f c7 18": "XRSTORS", "0f 01 c6": "WRMSRNS", "f3 0f 01 ca": "ERETU"} {
		m.refuses(code, name+" at 0x400000")
	}
	b := []byte{0x66, 0x0f, 0x38, 0x82, 0}
	if res := m.Step(&m.Regs, b, Exception{Vector: vectorUD}, &m.testBus); res.Refused != "" || res.Exception.Vector != vectorUD {
		t.Errorf("INVPCID where there is none: %+v", res)
	}
	m.fails("0f 01 c1", vectorUD, 0)
	m.fails("0f aa", vectorUD, 0)
	m.user()
	m.fails("48 0f c7 28", vectorGP, 0)
}

func TestNames(t *testing.T) {
	list := Names()
	if len(list) > 300 {
		t.Errorf("%d names", len(list))
	}
	for i, name := range list {
		if !strings.HasPrefix(name, "trap.") || i > 0 && list[i-1] >= name {
			t.Errorf("name %q after %q", name, list[max(0, i-1)])
		}
	}
}
