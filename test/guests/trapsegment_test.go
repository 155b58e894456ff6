package guests

import (
	"testing"

	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestTrapSegments: segment registers are loaded from the guest's own table, and
// hold what was loaded, whatever the host's table has at the same place.
func TestTrapSegments(t *testing.T) {
	b := newBare()
	move := func(to, from byte) func(selector uint64) func(c *asm.Code) {
		return func(selector uint64) func(c *asm.Code) {
			return func(c *asm.Code) { c.Mov(asm.RAX, selector).Raw(0x8e, to, 0x31, 0xc0, 0x8c, from) }
		}
	}
	for name, load := range map[string]func(selector uint64) func(c *asm.Code){
		"ES": move(0xc0, 0xc0), "DS": move(0xd8, 0xd8), "FS": move(0xe0, 0xe0), "GS": move(0xe8, 0xe8),
		"FS, on the stack": func(selector uint64) func(c *asm.Code) {
			return func(c *asm.Code) { c.Mov(asm.RAX, selector).Push(asm.RAX).Raw(0x0f, 0xa1, 0x0f, 0xa0).Pop(asm.RAX) }
		},
		"GS, on the stack": func(selector uint64) func(c *asm.Code) {
			return func(c *asm.Code) { c.Mov(asm.RAX, selector).Push(asm.RAX).Raw(0x0f, 0xa9, 0x0f, 0xa8).Pop(asm.RAX) }
		},
	} {
		b.result(name+", of the kernel", asm.KernelSS, load(asm.KernelSS))
		b.result(name+", of the user", asm.UserSS, load(asm.UserSS))
		b.result(name+", null", 0, load(0))
	}
	b.result("SS", asm.KernelSS, move(0xd0, 0xd0)(asm.KernelSS))
	// The real CPL 3 would take it.
	b.try("SS of the user", fault(13, asm.UserSS&^3, 0), move(0xd0, 0xd0)(asm.UserSS))
	b.try("SS, null and not of this CPL", fault(13, 0, 0), move(0xd0, 0xd0)(3))
	b.run(t)
}
