package proc

import (
	"errors"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// Engine runs guest code in a process.
var Engine engine.Engine = procEngine{}

type procEngine struct{}

func (procEngine) Name() string                  { return "proc" }
func (procEngine) SharedMemory() bool            { return true }
func (procEngine) SystemPages() int              { return 0 }
func (procEngine) SystemPageExecutable(int) bool { return false }
func (procEngine) HypercallPage(b []byte)        { fillPage(b) }

// Machine is one machine: a child process.
type Machine struct {
	mem   engine.Memory
	child *child
	tlb   *tlb
}

func (procEngine) New(mem engine.Memory) (engine.Machine, error) {
	if !fsgsbase() {
		return nil, unavailable(errors.New("the processor or the kernel has no FSGSBASE"))
	}
	if err := seal(mem.File, 0); err != nil {
		return nil, unavailable(err)
	}
	startClock()
	c, err := startChild(mem.File)
	if err != nil {
		return nil, err
	}
	m := &Machine{mem: mem, child: c, tlb: newTLB(mem.Shared / pageSize)}
	if err := c.lockDown(uint64(mem.Shared)); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// PhysBits is as good as any: no hardware translates the machine's addresses.
func (m *Machine) PhysBits() int { return 46 }

// Invalidate has the child unmap pages before its guest goes on.
func (m *Machine) Invalidate(at hypercall.GPA, n int) error {
	m.tlb.invalidate(uint32((at-engine.MemoryBase)/pageSize), n)
	return nil
}

// ForgetTranslations has the child unmap all of the guest's memory.
func (m *Machine) ForgetTranslations() error {
	m.tlb.flush()
	return nil
}

var errNotHere = errors.New("not with the process engine")

// Doorbell is refused: each call is answered by the host.
func (m *Machine) Doorbell(int, uint8) error { return errNotHere }

// AddMemory is refused: the child has one file.
func (m *Machine) AddMemory(int, hypercall.GPA, []byte) error { return errNotHere }

// Close ends the process.
func (m *Machine) Close() error { return m.child.close() }
