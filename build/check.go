package build

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pvrun/pvrun/hypercall"
)

// check makes sure that a linked program is a unikernel: it begins in the
// guest, has the gate, and no SYSCALL has stayed in the Go runtime.
//
// It returns the features of the contract that the program makes use of beyond
// those that every image can.
func check(linked string) (hypercall.Feature, error) {
	f, err := os.Open(linked)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return 0, fmt.Errorf("check the program: %w", err)
	}
	p, err := readProgram(e)
	if err == nil {
		err = p.checkGuest()
	}
	if err == nil {
		err = p.checkSites()
	}
	if err != nil {
		return 0, fmt.Errorf("check the program: %w", err)
	}
	if _, ok := p.lookup("pvrun/guest/socket.init.0"); ok {
		return hypercall.FeatureNet, nil
	}
	return 0, nil
}

var errNoGuest = errors.New("no pvrun/guest.gate in it")

// checkGuest makes sure that the guest is linked and gets control first.
func (p *program) checkGuest() error {
	if _, ok := p.lookup("pvrun/guest.gate"); !ok {
		return errNoGuest
	}
	start, ok := p.lookup("pvrun/guest.rt0")
	if !ok {
		return errors.New("no pvrun/guest.rt0 in it")
	}
	if to, ok := p.jump(p.entry); !ok || to != start.Entry {
		return fmt.Errorf("its entry point %#x does not go to pvrun/guest.rt0", p.entry)
	}
	return nil
}

// jump returns where the near jump at addr leads (Intel SDM volume 2, "JMP").
func (p *program) jump(addr uint64) (to uint64, ok bool) {
	code := p.bytes(addr)
	switch {
	case len(code) >= 5 && code[0] == 0xe9:
		return addr + 5 + uint64(int64(int32(binary.LittleEndian.Uint32(code[1:])))), true
	case len(code) >= 2 && code[0] == 0xeb:
		return addr + 2 + uint64(int64(int8(code[1]))), true
	}
	return 0, false
}

// checkSites fails for a SYSCALL in the packages that the patches cover.
func (p *program) checkSites() error {
	for _, addr := range p.hits() {
		f := p.function(addr)
		if f != nil && covered(f.Name) && p.isSyscall(f, addr) {
			file, line, _ := p.table.PCToLine(addr)
			return fmt.Errorf("a SYSCALL is left in %s (%s:%d): this Go release is not supported", f.Name, file, line)
		}
	}
	return nil
}

// covered reports whether a function is in a package that may only reach the
// system through the gate.
func covered(name string) bool {
	for _, prefix := range []string{"runtime.", "runtime/", "syscall.", "internal/runtime/", "internal/syscall/"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

var syscallOpcode = []byte{0x0f, 0x05}

// hits returns the addresses in executable segments that hold the bytes of a
// SYSCALL.
func (p *program) hits() []uint64 {
	var list []uint64
	for _, c := range p.code {
		for off := 0; ; off++ {
			i := bytes.Index(c.bytes[off:], syscallOpcode)
			if i < 0 {
				break
			}
			off += i
			list = append(list, c.addr+uint64(off))
		}
	}
	return list
}
