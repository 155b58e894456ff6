package guests

import (
	"testing"

	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestTrapStraddle: instructions of which a page has the beginning, and the next
// page, which is not there, the end. The guest gets the page fault of the fetch.
func TestTrapStraddle(t *testing.T) {
	const end = asm.Text + 0x6000 // the page that goes
	cases := []struct {
		name, code string
		before     int // bytes of it on the first page
	}{
		{"CLI, all there", "\xfa", 1},
		{"prefixed CLI", "\x66\x66\xfa", 2},
		{"WRMSR", "\x0f\x30", 1},
		{"MOV to CR3", "\x0f\x22\xd8", 2},
		{"LGDT with a displacement", "\x0f\x01\x15\x00\x10\x00\x00", 5},
		{"OUT of a byte to 0x80", "\xe6\x80", 1},
		{"INT", "\xcd\x42", 1},
		{"prefixes alone", "\x48\x48\x48\x48\x48\x48\x48\x48\x48\x48\x48\x48\x48\x48", 14},
		{"REP OUTS", "\xf3\x6e", 1},
		{"STR", "\x0f\x00\xc8", 1},
	}
	// The cases' first bytes end the same page, so each has an image of its own.
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBare()
			b.code.Mov(asm.RSP, asm.Stack0)
			b.code.SetEntry(end, 1, 0).Invlpg(end)
			want := fault(14, 0x10, end)
			at := uint64(end - c.before)
			b.try(c.name, want, func(code *asm.Code) { code.Mov(asm.RCX, 1).Mov(asm.RSI, asm.Data).Mov(asm.RDX, 0x80).JmpTo(at) })
			b.result("the machine goes on", 1, func(code *asm.Code) { code.Mov(asm.RAX, 1) })
			b.code.Report()
			for len(b.code.B) < int(at-asm.Text) {
				b.code.Raw(0xcc)
			}
			b.code.Raw([]byte(c.code)...)
			b.run(t)
		})
	}
}

// TestTrapChangingCode has the decoder see other bytes than the processor: text
// is read only, but its address can be given to other memory and nobody told.
func TestTrapChangingCode(t *testing.T) {
	const at = asm.Text + 0x6000
	for name, bytes := range map[string][]byte{
		"the same":          {0xfa},
		"another":           {0xfb},
		"one that is none":  {0x0f, 0xff, 0xff},
		"a longer one":      {0x66, 0x66, 0x66, 0x0f, 0x30},
		"prefixes, no end":  {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66},
		"a plain one":       {0x90},
		"a far jump":        {0xff, 0x2c, 0x25, 0, 0, 0x60, 0},
		"HLT":               {0xf4},
		"not even a page":   nil,
		"beyond all memory": {},
	} {
		t.Run(name, func(t *testing.T) {
			c := new(asm.Code).BeginBare()
			for i, v := range bytes {
				c.Mov(asm.RAX, uint64(v)).Mov(asm.R11, phys(frameA)+uint64(i)).Raw(0x41, 0x88, 0x03) // mov [r11], al
			}
			c.Mov(asm.RBX, at).Raw(0xff, 0xd3) // call rbx: the shadow has it
			v := uint64(frameA | present)
			switch {
			case bytes == nil:
				v = 0
			case len(bytes) == 0:
				v = 1<<35 | present
			}
			c.SetEntry(at, 1, v)
			c.Try(func(c *asm.Code) { c.Mov(asm.RBX, at).Raw(0xff, 0xd3) })
			c.Stop(0)
			for len(c.B) < at-asm.Text {
				c.Raw(0xcc)
			}
			survive(t, asm.Bare{Code: c.Raw(0xfa, 0xc3)}, burst) // cli; ret
		})
	}
}
