package sensitive

import "testing"

// TestClasses has every sensitive instruction in the forms that matter.
func TestClasses(t *testing.T) {
	tests := map[string][]string{
		"privileged CLI": {"\xfa"}, "privileged STI": {"\xfb"}, "privileged HLT": {"\xf4", "\x48\xf4"},
		"privileged IN":  {"\xe4\x60", "\xe5\x60", "\xec", "\xed", "\x66\xed"},
		"privileged OUT": {"\xe6\x60", "\xe7\x60", "\xee", "\xef"},
		"privileged INS": {"\x6c", "\xf3\x6d"}, "privileged OUTS": {"\x6e", "\xf3\x66\x6f"},
		"privileged MOV from CR0": {"\x0f\x20\xc0", "\x0f\x20\x05"}, "privileged MOV to CR3": {"\x0f\x22\xd8"},
		"privileged MOV to CR8": {"\x44\x0f\x22\xc0"}, "privileged MOV from DR7": {"\x0f\x21\xf8"},
		"privileged MOV to DR0": {"\x0f\x23\xc0"}, "privileged MOV to CR15": {"\x45\x0f\x22\xf9"},
		"privileged CLTS": {"\x0f\x06"}, "privileged LMSW": {"\x0f\x01\xf0", "\x0f\x01\x30"},
		"privileged LGDT": {"\x0f\x01\x10"}, "privileged LIDT": {"\x0f\x01\x1c\x24"},
		"privileged LLDT": {"\x0f\x00\xd0"}, "privileged LTR": {"\x0f\x00\xd8", "\x0f\x00\x18"},
		"privileged INVLPG": {"\x0f\x01\x38", "\x0f\x01\xbc\x24\x00\x00\x00\x00"},
		"privileged INVD":   {"\x0f\x08"}, "privileged WBINVD": {"\x0f\x09"},
		"privileged INVPCID": {"\x66\x0f\x38\x82\x00"}, "privileged INVEPT": {"\x66\x0f\x38\x80\x00"}, "privileged INVVPID": {"\x66\x0f\x38\x81\x00"},
		"privileged RDMSR": {"\x0f\x32"}, "privileged WRMSR": {"\x0f\x30"}, "privileged RDPMC": {"\x0f\x33"},
		"privileged XSETBV": {"\x0f\x01\xd1"}, "privileged SWAPGS": {"\x0f\x01\xf8"},
		"privileged SYSRET": {"\x0f\x07", "\x48\x0f\x07"}, "privileged SYSEXIT": {"\x0f\x35"},
		"privileged MONITOR": {"\x0f\x01\xc8"}, "privileged MWAIT": {"\x0f\x01\xc9"},
		"privileged STAC": {"\x0f\x01\xcb"}, "privileged CLAC": {"\x0f\x01\xca"},
		"privileged XSAVES": {"\x48\x0f\xc7\x28"}, "privileged XRSTORS": {"\x0f\xc7\x18"},
		"privileged VMREAD": {"\x0f\x78\xc0"}, "privileged VMRUN": {"\x0f\x01\xd8"}, "privileged HRESET": {"\xf3\x0f\x3a\xf0\xc0\x01"},
		"sensitive-unprivileged PUSHFQ": {"\x9c", "\x48\x9c"}, "sensitive-unprivileged PUSHF": {"\x66\x9c"},
		"sensitive-unprivileged POPFQ": {"\x9d"}, "sensitive-unprivileged POPF": {"\x66\x9d"},
		"sensitive-unprivileged IRETQ": {"\x48\xcf"}, "sensitive-unprivileged IRETD": {"\xcf"}, "sensitive-unprivileged IRETW": {"\x66\xcf"},
		"sensitive-unprivileged SGDT": {"\x0f\x01\x00"}, "sensitive-unprivileged SIDT": {"\x0f\x01\x08"},
		"sensitive-unprivileged SLDT": {"\x0f\x00\xc0", "\x0f\x00\x00"}, "sensitive-unprivileged STR": {"\x0f\x00\xc8"},
		"sensitive-unprivileged SMSW": {"\x0f\x01\xe0", "\x0f\x01\x20"},
		"sensitive-unprivileged LAR":  {"\x0f\x02\xc0"}, "sensitive-unprivileged LSL": {"\x0f\x03\x00"},
		"sensitive-unprivileged VERR": {"\x0f\x00\xe0"}, "sensitive-unprivileged VERW": {"\x0f\x00\xe8"},
		"sensitive-unprivileged MOV from CS": {"\x8c\xc8", "\x48\x8c\xc8", "\x8c\x08"}, "sensitive-unprivileged MOV from SS": {"\x8c\xd0"},
		"sensitive-unprivileged CALLF": {"\xff\x18", "\x48\xff\x1d\x00\x00\x00\x00"}, "sensitive-unprivileged JMPF": {"\xff\x28"},
		"sensitive-unprivileged RETF": {"\xcb", "\xca\x08\x00", "\x48\xcb"}, "sensitive-unprivileged INT": {"\xcd\x80", "\xcd\x03"},
		"other CPUID": {"\x0f\xa2"}, "other RDTSC": {"\x0f\x31"}, "other RDTSCP": {"\x0f\x01\xf9"}, "other RDPID": {"\xf3\x0f\xc7\xf8"},
		"other XGETBV": {"\x0f\x01\xd0"}, "syscall SYSCALL": {"\x0f\x05"}, "other SYSENTER": {"\x0f\x34"},
		"other VMCALL": {"\x0f\x01\xc1"}, "other VMMCALL": {"\x0f\x01\xd9"}, "other INT1": {"\xf1"},
		"sensitive-unprivileged MOV from DS": {"\x8c\xd8"}, "sensitive-unprivileged MOV to SS": {"\x8e\xd0"},
		"sensitive-unprivileged PUSH FS": {"\x0f\xa0"}, "sensitive-unprivileged POP GS": {"\x0f\xa9"},
		"sensitive-unprivileged LSS": {"\x0f\xb2\x00"}, "sensitive-unprivileged LFS": {"\x0f\xb4\x00"}, "sensitive-unprivileged LGS": {"\x0f\xb5\x00"},
		"": {
			"\xcc", "\x90", "\xc3", "\x0f\x0b", "\xf3\x0f\x1e\xfa", // INT3 NOP RET UD2 ENDBR64
			"\xb8\x0f\x05\x00\x00", "\x48\xb8\xfa\xfb\xf4\x9c\x9d\xcf\x0f\x05", // opcodes in immediates
			"\x81\xc3\x9c\x9d\xfa\xfb", "\x48\x8b\x83\x0f\x05\x0f\x05", // and in a displacement
			"\x0f\xc7\xf0", "\x0f\xc7\xf8", "\x0f\xc7\x08", // RDRAND RDSEED CMPXCHG8B
			"\x0f\xae\xf0", "\xf3\x48\x0f\xae\xd0", // MFENCE WRFSBASE
			"\xff\xd0", "\xff\x10", "\xff\x20", "\xff\x30", // CALL JMP PUSH
			"\x0f\x01\xd5", "\x0f\x01\xd6", "\x0f\x01\xe8", // XEND XTEST SERIALIZE
			"\xc5\xf8\x77", "\xc4\xe2\x75\x00\x05\x0f\x05\x00\x00", "\x62\xf1\xfe\x48\x6f\x40\x9c", // VEX, EVEX
			"\x8e\xc8", "\x8c\xf0", // #UD
		},
	}
	for want, codes := range tests {
		for _, code := range codes {
			checkClass(t, want, code)
		}
	}
}

func checkClass(t *testing.T, want, code string) {
	t.Helper()
	for s := range Sites([]byte(code+"\x90\x90"), 0x1000, nil) {
		if got := s.Class.String() + " " + s.Name; got != want || s.Addr != 0x1000 || string(s.Code()) != code {
			t.Errorf("% x: got %s at %#x, % x; want %s", code, got, s.Addr, s.Code(), want)
		}
		want = ""
	}
	if want != "" {
		t.Errorf("% x: got nothing, want %s", code, want)
	}
	if n, ok := Length([]byte(code)); !ok || n != len(code) {
		t.Errorf("% x: got length %d, %v", code, n, ok)
	}
	for n := range len(code) {
		if got, ok := Length([]byte(code)[:n]); ok && got > n {
			t.Errorf("% x: an instruction of %d bytes in %d", code, got, n)
		}
	}
}

func TestClassNames(t *testing.T) {
	for class, want := range map[Class]string{Privileged: "privileged", Other: "other", 0: "Class(0)", 9: "Class(9)"} {
		if got, _ := class.MarshalText(); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
