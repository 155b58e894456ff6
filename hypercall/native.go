package hypercall

// What the bare machine of [ModeTrap] has that no PC's data sheet tells of. All
// else is a PC's: an 8259 pair, an 8254, an MC146818, two 16550s, a local APIC
// in x2APIC mode, ATA disks, NE2000s, and the processor's own instructions.
const (
	// ControlPort is a 32-bit port. Writing ends the machine: code in bits 0 to
	// 7, signal in bits 8 to 14. Reading takes the low half of the signals that
	// the host passes on, bit n-1 for signal n; at ControlPort+4 is the high
	// half. ControlIRQ is raised while there are any.
	ControlPort = 0xf4
	ControlIRQ  = 9

	// NE2000Port is the first port of NIC 0, and NE2000IRQ its interrupt line; of
	// NIC n they are NE2000Stride and one times n higher.
	NE2000Port   = 0x300
	NE2000Stride = 0x40
	NE2000IRQ    = 10

	// BootCS and BootSS are the selectors that the guest begins with; its first
	// descriptor table has to have them.
	BootCS = 0x08
	BootSS = 0x10
)
