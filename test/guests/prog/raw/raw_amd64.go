// Package raw lets a Go program do what no Go program does.
package raw

// Call makes a hypercall.
func Call(nr, a1, a2, a3, a4, a5, a6 uintptr) int64

// Jump goes to an address and does not come back.
func Jump(addr uintptr)

// SpinOn spins for ever with a stack pointer of the caller's choice.
func SpinOn(rsp uintptr)

// FaultOn executes UD2 with a stack pointer of the caller's choice.
func FaultOn(rsp uintptr)

// Flags sets bits of RFLAGS and touches memory at an odd address.
func Flags(set uintptr)

// SpinWith sets bits of RFLAGS and spins for ever.
func SpinWith(set uintptr)

// Syscall is a literal SYSCALL.
func Syscall(nr, a1, a2, a3 uintptr) uintptr

func INT3()
func HLT()
func CLI()
func RDMSR()
func LoadCR3()
func OUT()
func IN()
func VMMCALL()
