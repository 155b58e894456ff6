package device

func (u *UART) in(port uint16) uint8 {
	defer u.settle()
	reg := port & 7
	if u.lcr&lcrDLAB != 0 && reg <= uartIER {
		return [2]uint8{u.dll, u.dlm}[reg]
	}
	switch reg {
	case uartData:
		return u.readData()
	case uartIER:
		return u.ier
	case uartIIR:
		return u.readIIR()
	case uartLCR:
		return u.lcr
	case uartMCR:
		return u.mcr
	case uartLSR:
		return u.readLSR()
	case uartMSR:
		return u.readMSR()
	}
	return u.scr
}

// readData takes a byte of the receiver. When it was the last, the host is asked
// for more. A timeout ends with it, and what is left or comes is a new one: for
// the interrupt controller the line falls in between.
func (u *UART) readData() uint8 {
	if u.rx.n == 0 {
		return u.last
	}
	u.last = u.rx.b[0]
	u.rx.drop(1)
	u.quiet = true
	u.settle()
	if u.rx.n == 0 {
		u.receive()
	}
	u.quiet = false
	return u.last
}

// readIIR says why it interrupts; that the transmitter is empty is said once.
func (u *UART) readIIR() uint8 {
	u.Update()
	cause := u.cause()
	if cause == iirEmpty {
		u.drained = false
	}
	if u.fcr&fcrEnable != 0 {
		cause |= iirFIFO
	}
	return cause
}

// readLSR is where a guest that polls looks, so it is where things happen.
func (u *UART) readLSR() uint8 {
	u.send()
	if u.rx.n == 0 {
		u.receive()
	}
	v := u.errors
	u.errors = 0
	if u.rx.n > 0 {
		v |= lsrReady
	}
	if u.tx.n == 0 {
		v |= lsrTHRE | lsrTEMT
	}
	return v
}

func (u *UART) readMSR() uint8 {
	u.receive()
	v := u.lines | u.deltas
	u.deltas = 0
	return v
}

func (u *UART) out(port uint16, v uint8) {
	defer u.settle()
	reg := port & 7
	dlab := u.lcr&lcrDLAB != 0
	if reg != uartData || dlab {
		u.send() // a real one would not have waited until now
	}
	switch {
	case reg == uartData && dlab:
		u.dll = v
	case reg == uartData:
		u.writeData(v)
	case reg == uartIER && dlab:
		u.dlm = v
	case reg == uartIER:
		u.writeIER(v & 0x0f)
	case reg == uartIIR:
		u.writeFCR(v)
	case reg == uartLCR:
		u.lcr = v
	case reg == uartMCR:
		u.mcr = v & 0x1f
		u.setLines(u.modem())
		u.receive()
	case reg == uartScratch:
		u.scr = v
	}
}

// writeData gives the transmitter a byte. When it is full already, the byte is
// lost. It is not empty for a moment at least, which the line shows.
func (u *UART) writeData(v uint8) {
	u.drained = false
	u.settle()
	if u.loops() {
		u.loop(v)
		return
	}
	if u.tx.n < u.size() {
		u.tx.put(v)
	}
	u.due = later(u.clock.Now(), pause)
	if u.tx.n == u.size() {
		u.send()
	}
}

// loop receives what was sent. What there is no room for is an overrun: with
// FIFOs the byte itself is lost, without the one before.
func (u *UART) loop(v uint8) {
	u.drained = true
	switch {
	case u.rx.n < u.size():
		u.rx.put(v)
		return
	case u.fcr&fcrEnable == 0:
		u.rx.b[0] = v
	}
	u.errors |= lsrOverrun
}

// writeIER enables interrupts. A transmitter that is empty interrupts as soon as
// it may.
func (u *UART) writeIER(v uint8) {
	if v&^u.ier&ierEmpty != 0 && u.tx.n == 0 {
		u.drained = true
	}
	u.ier = v
}

// writeFCR changes and clears the FIFOs. Its other bits count only beside the
// one that enables them.
func (u *UART) writeFCR(v uint8) {
	if v&fcrEnable == 0 {
		v = 0
	}
	if (v^u.fcr)&fcrEnable != 0 {
		v |= fcrClearRx | fcrClearTx
	}
	if v&fcrClearRx != 0 {
		u.rx.n = 0
	}
	if v&fcrClearTx != 0 && u.tx.n > 0 {
		u.tx.n, u.busy, u.drained = 0, false, true
	}
	u.fcr = v & fcrKept
}
