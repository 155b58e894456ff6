package device

// Serial is the host's end of a serial line. Both calls return at once.
type Serial interface {
	Write(b []byte) int              // bytes taken now; 0: not now
	Read(b []byte) (n int, eof bool) // 0 without eof: nothing now
}

// UART is a 16550A. National Semiconductor PC16550D data sheet, section 8.0
// "Registers". It differs from one with a wire in what nobody can ask of a file:
//
// The baud rate is kept and read back and throttles nothing. Bytes leave the
// transmitter when it is full, when the guest looks whether they have left, or
// pause after the last one was written; they go to the host in one call. A host
// that takes nothing shows as a transmitter that is busy. The host honours
// request-to-send: nothing is read from it before the guest sets RTS, and
// never more than there is room for, so there is no overrun but in loopback
// mode. The end of the host's input is a carrier that is lost, once the receiver
// is empty. There are no parity, framing or break errors.
type UART struct {
	clock Clock
	irq   Line
	host  Serial
	level bool // of irq, last told

	rx, tx queue
	last   uint8 // what the empty receiver reads as
	due    int64 // when the transmitter empties by itself
	busy   bool  // the host did not take what it was given
	ended  bool  // the host's input has
	online bool  // there is a carrier: not ended, or not all read

	ier, lcr, mcr, scr uint8
	dll, dlm           uint8
	fcr                uint8
	errors             uint8 // of LSR, until it is read
	lines, deltas      uint8 // the upper and the lower half of MSR
	drained            bool  // the transmitter became empty: a reason to interrupt
	quiet              bool  // the receiver's timeout has just begun anew
}

const (
	fifoSize = 16
	// pause is how long, in ns, the transmitter waits for more before it hands a
	// part of its FIFO to the host: about a character at 115200 baud, after which
	// a real one would have begun with the next.
	pause = 100_000
)

// The registers' offsets, and their bits.
const (
	uartData    = 0 // RBR, THR; DLL with DLAB
	uartIER     = 1 // DLM with DLAB
	uartIIR     = 2 // IIR, FCR
	uartLCR     = 3
	uartMCR     = 4
	uartLSR     = 5
	uartMSR     = 6
	uartScratch = 7

	ierReceived = 0x01
	ierEmpty    = 0x02
	ierLine     = 0x04
	ierModem    = 0x08

	iirNone     = 0x01
	iirModem    = 0x00
	iirEmpty    = 0x02
	iirReceived = 0x04
	iirLine     = 0x06
	iirTimeout  = 0x0c
	iirFIFO     = 0xc0

	fcrEnable  = 0x01
	fcrClearRx = 0x02
	fcrClearTx = 0x04
	fcrKept    = 0xc9 // enable, DMA mode, trigger

	lcrDLAB = 0x80

	mcrDTR  = 0x01
	mcrRTS  = 0x02
	mcrOut1 = 0x04
	mcrOut2 = 0x08
	mcrLoop = 0x10

	lsrReady   = 0x01
	lsrOverrun = 0x02
	lsrTHRE    = 0x20
	lsrTEMT    = 0x40

	msrCTS = 0x10
	msrDSR = 0x20
	msrRI  = 0x40
	msrDCD = 0x80
)

// NewUART makes one. Without a host it is a line into nowhere: all output is
// taken, there is no input and no carrier.
func NewUART(clock Clock, irq Line, host Serial) *UART {
	u := &UART{clock: clock, irq: irq, host: host, dll: 1, online: true, lines: msrCTS | msrDSR | msrDCD}
	if host == nil {
		u.SendOnly()
	}
	return u
}

// SendOnly makes it a line without input: there never was a carrier. Call it
// before the guest runs.
func (u *UART) SendOnly() {
	u.ended, u.online = true, false
	u.lines &^= msrDCD
}

// queue is a FIFO.
type queue struct {
	b [fifoSize]byte
	n int
}

func (q *queue) put(v uint8) { q.b[q.n] = v; q.n++ }

// drop removes the first n bytes.
func (q *queue) drop(n int) {
	copy(q.b[:], q.b[n:q.n])
	q.n -= n
}

// size is how much the FIFOs hold.
func (u *UART) size() int {
	if u.fcr&fcrEnable == 0 {
		return 1
	}
	return fifoSize
}

// trigger is how many bytes in the receiver interrupt.
func (u *UART) trigger() int {
	if u.fcr&fcrEnable == 0 {
		return 1
	}
	return [4]int{1, 4, 8, 14}[u.fcr>>6]
}

func (u *UART) loops() bool { return u.mcr&mcrLoop != 0 }

// listens reports whether the host may send.
func (u *UART) listens() bool {
	return !u.ended && u.mcr&(mcrRTS|mcrLoop) == mcrRTS && u.rx.n < u.size()
}

// Next is when the transmitter empties by itself.
func (u *UART) Next() int64 {
	if u.tx.n == 0 || u.busy {
		return never
	}
	return u.due
}

// Update sends what is due and takes what the host has.
func (u *UART) Update() {
	if u.busy || u.clock.Now() >= u.due {
		u.send()
	}
	u.receive()
	u.settle()
}

// Flush hands what the transmitter has to the host now, without the pause.
func (u *UART) Flush() {
	u.send()
	u.settle()
}

// send hands the transmitter's bytes to the host.
func (u *UART) send() {
	if u.tx.n == 0 {
		return
	}
	n := u.tx.n
	if u.host != nil {
		n = max(0, min(n, u.host.Write(u.tx.b[:n])))
	}
	u.tx.drop(n)
	u.busy = u.tx.n > 0
	u.drained = u.drained || !u.busy
}

// receive fills the receiver.
func (u *UART) receive() {
	if !u.listens() {
		u.carrier()
		return
	}
	n, eof := u.host.Read(u.rx.b[u.rx.n:u.size()])
	u.rx.n += max(0, min(n, u.size()-u.rx.n))
	u.ended = eof
	u.carrier()
}

// carrier is lost when all input has been read.
func (u *UART) carrier() {
	if u.ended && u.rx.n == 0 {
		u.online = false
		u.setLines(u.modem())
	}
}

// setLines sets the inputs from the modem. A change of RI counts when it ends.
func (u *UART) setLines(now uint8) {
	changed := u.lines ^ now
	changed &^= now & msrRI
	u.deltas |= changed >> 4
	u.lines = now
}

// modem is what the inputs are: the host's, or in loopback mode the outputs.
func (u *UART) modem() uint8 {
	if !u.loops() {
		now := uint8(msrCTS | msrDSR)
		if u.online {
			now |= msrDCD
		}
		return now
	}
	now := u.mcr & (mcrOut1 | mcrOut2) << 4 // OUT1 is RI, OUT2 is DCD
	if u.mcr&mcrRTS != 0 {
		now |= msrCTS
	}
	if u.mcr&mcrDTR != 0 {
		now |= msrDSR
	}
	return now
}

// cause is the interrupt of highest priority.
func (u *UART) cause() uint8 {
	switch {
	case u.ier&ierLine != 0 && u.errors != 0:
		return iirLine
	case u.ier&ierReceived != 0 && u.rx.n >= u.trigger():
		return iirReceived
	case u.ier&ierReceived != 0 && u.rx.n > 0 && !u.quiet:
		// Four characters' time without another: no baud rate, so at once.
		return iirTimeout
	case u.ier&ierEmpty != 0 && u.drained:
		return iirEmpty
	case u.ier&ierModem != 0 && u.deltas != 0:
		return iirModem
	}
	return iirNone
}

// settle brings the interrupt line up to date. In a PC OUT2 connects it, which
// is off in loopback mode.
func (u *UART) settle() {
	level := u.cause() != iirNone && u.mcr&(mcrOut2|mcrLoop) == mcrOut2
	if level != u.level {
		u.level = level
		u.irq(level)
	}
}
