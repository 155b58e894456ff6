package emulate

// Bits of RFLAGS (Intel SDM volume 1, "EFLAGS Register").
const (
	flagCF   = 1 << 0
	flagOne  = 1 << 1 // always set
	flagPF   = 1 << 2
	flagAF   = 1 << 4
	flagZF   = 1 << 6
	flagSF   = 1 << 7
	flagTF   = 1 << 8
	flagIF   = 1 << 9
	flagDF   = 1 << 10
	flagOF   = 1 << 11
	flagIOPL = 3 << 12
	flagNT   = 1 << 14
	flagRF   = 1 << 16
	flagVM   = 1 << 17
	flagAC   = 1 << 18
	flagVIF  = 1 << 19
	flagVIP  = 1 << 20
	flagID   = 1 << 21

	flagStatus = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF

	// flagsOfOwner are those whose real value no guest changes.
	flagsOfOwner = flagIF | flagIOPL | flagVM | flagVIF | flagVIP
)

// Bits of control registers (Intel SDM volume 3A, "Control Registers").
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0EM = 1 << 2
	cr0TS = 1 << 3
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0AM = 1 << 18
	cr0NW = 1 << 29
	cr0CD = 1 << 30
	cr0PG = 1 << 31

	cr0Known = cr0PE | cr0MP | cr0EM | cr0TS | cr0ET | cr0NE | cr0WP | cr0AM | cr0NW | cr0CD | cr0PG

	cr4VME        = 1 << 0
	cr4PVI        = 1 << 1
	cr4TSD        = 1 << 2
	cr4DE         = 1 << 3
	cr4PSE        = 1 << 4
	cr4PAE        = 1 << 5
	cr4MCE        = 1 << 6
	cr4PGE        = 1 << 7
	cr4PCE        = 1 << 8
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4FSGSBASE   = 1 << 16
	cr4OSXSAVE    = 1 << 18
	cr4SMAP       = 1 << 21

	// cr4Unsupported exist on every processor and would have to change what
	// code at the virtual CPL 3 may do without a trap.
	cr4Unsupported = cr4VME | cr4PVI | cr4TSD

	// cr4Real are those that the real processor goes by.
	cr4Real = cr4OSFXSR | cr4OSXMMEXCPT | cr4FSGSBASE | cr4OSXSAVE

	// cr4Paging change what translations say.
	cr4Paging = cr4PSE | cr4PAE | cr4PGE | 1<<17 | 1<<20 | 1<<21

	// CR4Usual are the bits that every processor in 64-bit mode has and that a
	// guest may set here without further ado.
	CR4Usual = cr4DE | cr4PSE | cr4PAE | cr4MCE | cr4PGE | cr4PCE | cr4OSFXSR | cr4OSXMMEXCPT

	eferSCE = 1 << 0
	eferLME = 1 << 8
	eferLMA = 1 << 10
	eferNXE = 1 << 11

	dr6One    = 0xffff_0ff0
	dr6Known  = 0xe00f
	dr6BS     = 1 << 14
	dr7One    = 1 << 10
	dr7Enable = 0xff // L0 to G3
	dr7Known  = 0xffff_03ff
	dr7GD     = 1 << 13
)

// Vectors (Intel SDM volume 3A, "Exception and Interrupt Reference").
const (
	vectorDE = 0
	vectorDB = 1
	vectorBP = 3
	vectorOF = 4
	vectorUD = 6
	vectorDF = 8
	vectorTS = 10
	vectorNP = 11
	vectorSS = 12
	vectorGP = 13
	vectorPF = 14
	vectorMC = 18
	vectorCP = 21
)

func withError(vector uint8, code uint64) *Exception {
	return &Exception{Vector: vector, Error: code, HasError: true}
}

func gp(code uint64) *Exception { return withError(vectorGP, code) }

func undefined() *Exception { return &Exception{Vector: vectorUD} }

// canonical reports whether an address of 48 bits is sign-extended.
func canonical(a uint64) bool { return uint64(int64(a<<16)>>16) == a }

// canonicalSpan reports whether n bytes at a lie in one half of the address
// space. n is less than the hole between them and not 0.
func canonicalSpan(a, n uint64) bool {
	last := a + n - 1
	return last >= a && canonical(a) && canonical(last)
}
