package sensitive

import (
	"strings"
	"testing"
)

// TestLength checks forms that decide a length.
func TestLength(t *testing.T) {
	tests := []struct{ text, code string }{
		{"ret", "\xc3"},
		{"push imm16", "\x66\x68\x01\x02"},
		{"push imm32", "\x68\x01\x02\x03\x04"},
		{"mov ax, imm16", "\x66\xb8\x01\x02"},
		{"mov rax, imm64", "\x66\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"},
		{"mov [rax], imm32", "\x48\xc7\x00\x01\x02\x03\x04"},
		{"REX before a prefix does not count", "\x48\x66\xb8\x01\x02"},
		{"mov al, [moffs64]", "\xa0\x01\x02\x03\x04\x05\x06\x07\x08"},
		{"mov al, [moffs32]", "\x67\xa0\x01\x02\x03\x04"},
		{"enter", "\xc8\x01\x02\x03"},
		{"test al, imm8", "\xf6\xc0\x01"},
		{"test [rsp+disp32], imm16", "\x66\xf7\x84\x24\x01\x02\x03\x04\x05\x06"},
		{"not rax", "\x48\xf7\xd0"},
		{"jcc rel32", "\x0f\x84\x01\x02\x03\x04"},
		{"lea with a SIB byte and no base", "\x8d\x04\x25\x01\x02\x03\x04"},
		{"lea [rip+disp32]", "\x8d\x05\x01\x02\x03\x04"},
		{"pshufd", "\x66\x0f\x70\xc0\x1b"},
		{"palignr", "\x66\x0f\x3a\x0f\xc1\x08"},
		{"crc32", "\xf2\x48\x0f\x38\xf1\xc1"},
		{"extrq", "\x66\x0f\x78\xc0\x01\x02"},
		{"vzeroupper", "\xc5\xf8\x77"},
		{"vmovdqu ymm0, [rsi]", "\xc5\xfe\x6f\x06"},
		{"vmovdqu ymm1, [rsi+rcx-32]", "\xc5\xfe\x6f\x4c\x0e\xe0"},
		{"vpxor ymm0, ymm0, ymm0", "\xc5\xfd\xef\xc0"},
		{"vpshufb ymm0, ymm1, [rip+4]", "\xc4\xe2\x75\x00\x05\x04\x00\x00\x00"},
		{"vpalignr ymm0, ymm1, ymm2, 8", "\xc4\xe3\x75\x0f\xc2\x08"},
		{"rorx", "\xc4\xe3\xfb\xf0\xc1\x05"},
		{"vpsrlq ymm0, ymm1, 3", "\xc5\xfd\x73\xd1\x03"},
		{"kmovq", "\xc4\xe1\xfb\x92\xc8"},
		{"kshiftrq", "\xc4\xe3\xf9\x31\xc9\x01"},
		{"vmovdqu64 zmm0, [rax+64]", "\x62\xf1\xfe\x48\x6f\x40\x01"},
		{"vpsrlq zmm, imm8", "\x62\xf1\xfd\x48\x73\xd1\x03"},
		{"vpternlogd zmm0, zmm1, zmm2, 0x96", "\x62\xf3\x75\x48\x25\xc2\x96"},
		{"vaddph", "\x62\xf5\x74\x48\x58\xc2"},
		{"bextr with an XOP prefix", "\x8f\xea\x78\x10\xc1\x01\x02\x03\x04"},
		{"pop [rax]", "\x8f\x00"},
		{"15 bytes", strings.Repeat("\x2e", 14) + "\x90"},
	}
	for _, test := range tests {
		if n, ok := Length([]byte(test.code + "\xcc\xcc\xcc\xcc\xcc")); !ok || n != len(test.code) {
			t.Errorf("%s: got %d, %v, want %d", test.text, n, ok, len(test.code))
		}
		for n := range len(test.code) {
			if _, ok := Length([]byte(test.code[:n])); ok {
				t.Errorf("%s: %d of its bytes are an instruction", test.text, n)
			}
		}
	}
	for _, code := range []string{"", "\x06", "\x0f\x04", "\xd6", "\x62\xf9\xfe\x48\x6f\x40\x01",
		"\x62\xf1\xf8\x48\x6f\x40\x01", "\xc4\xe4\x75\x00\xc0", "\x8f\xeb\x78\x10\xc1", strings.Repeat("\x2e", 15) + "\x90"} {
		if n, ok := Length([]byte(code)); ok {
			t.Errorf("% x: got an instruction of %d bytes", code, n)
		}
	}
}
