package device

// Subcommands of SET FEATURES: ATA/ATAPI-6, clause 8.46.
const (
	featureCache   = 0x02 // write cache on
	featureMode    = 0x03 // transfer mode, in the count register
	featureNoAhead = 0x55 // look-ahead is the host's affair
	featureNoCache = 0x82
	featureAhead   = 0xaa
	featureForget  = 0xcc // a software reset brings the defaults back, as it does

	modeDefault = 0x01 // with 0: PIO as the device likes
	modeFlow    = 0x08 // to modeFastest: PIO with flow control
	modeFastest = modeFlow + 4
)

// setFeatures takes what does no harm and what there is.
func (a *ATA) setFeatures() {
	ok := true
	switch mode := a.count.now; a.features.now {
	case featureCache:
		a.writeThrough = false
	case featureNoCache:
		a.writeThrough = true
		a.flush()
		return
	case featureMode:
		ok = mode <= modeDefault || mode >= modeFlow && mode <= modeFastest
	case featureNoAhead, featureAhead, featureForget:
	default:
		ok = false
	}
	a.finishIf(ok)
}

// setMultiple sets the block of the multiple commands, in sectors: a power of
// two, or 0 for none.
func (a *ATA) setMultiple(sectors uint8) {
	ok := sectors <= maxMultiple && sectors&(sectors-1) == 0
	a.multiple = 0
	if ok {
		a.multiple = int(sectors)
	}
	a.finishIf(ok)
}

// identify gives the 256 words of IDENTIFY DEVICE.
func (a *ATA) identify() {
	a.command = command{block: 1}
	words := a.words()
	for i, v := range words {
		a.buffer[2*i], a.buffer[2*i+1] = uint8(v), uint8(v>>8)
	}
	sum := uint8(0)
	for _, b := range a.buffer[:sectorSize-1] {
		sum += b
	}
	a.buffer[sectorSize-1] = -sum
	a.ready(sectorSize)
	a.pending = true
}

// words are what IDENTIFY DEVICE says: clause 8.15, table 27.
func (a *ATA) words() (w [256]uint16) {
	text(w[10:20], "pvrun-0")
	text(w[23:27], "1.0")
	text(w[27:47], "pvrun disk")
	w[0] = 1 << 6                         // an ATA device, fixed
	w[47] = 0x8000 | maxMultiple          //
	w[49] = 1<<9 | 1<<11                  // LBA; IORDY
	w[50] = 1 << 14                       //
	w[53] = 1 << 1                        // words 64 to 70 are valid
	w[59] = uint16(a.multiple)            //
	w[64] = 3                             // PIO modes 3 and 4
	w[67], w[68] = 120, 120               // ns of a PIO cycle
	w[80] = 0x7e                          // ATA-1 to ATA/ATAPI-6
	w[82] = 1<<3 | 1<<5                   // power management, write cache
	w[83] = 1<<14 | 1<<10 | 1<<12 | 1<<13 // 48-bit addresses, both flushes
	w[84] = 1 << 14
	w[85], w[86], w[87] = w[82], w[83]&^(1<<14), w[84]
	if a.multiple != 0 {
		w[59] |= 1 << 8
	}
	if a.writeThrough {
		w[85] &^= 1 << 5
	}
	number(w[60:62], min(a.sectors, lba28-1))
	number(w[100:104], min(a.sectors, 1<<48-1))
	w[93] = a.resetResult() //
	w[255] = 0xa5           // and a sum
	return w
}

// resetResult is the result of a hardware reset, word 93: the low byte is device
// 0's, which has heard of a device 1 by DASP- and PDIAG-; bits 8 to 12 are that one's.
func (a *ATA) resetResult() uint16 {
	const valid, passed, byJumper, always = 1<<14 | 1<<13, 1 << 3, 1 << 1, 1
	switch {
	case a.number != 0:
		return valid | (passed|byJumper|always)<<8
	case a.mate:
		return valid | 1<<5 | 1<<4 | passed | byJumper | always
	}
	return valid | passed | byJumper | always
}

// text is padded with blanks, the first of two characters in the high byte.
func text(w []uint16, s string) {
	for i := range w {
		w[i] = uint16(char(s, 2*i))<<8 | uint16(char(s, 2*i+1))
	}
}

func char(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return ' '
}

func number(w []uint16, v uint64) {
	for i := range w {
		w[i] = uint16(v >> (16 * i))
	}
}
