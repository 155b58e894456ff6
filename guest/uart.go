package guest

import "github.com/pvrun/pvrun/hypercall"

// uart is a 16550A (National Semiconductor PC16550D data sheet, "Registers").
// The first is standard input and output, the second standard error.
//
// Its interrupts are enabled while somebody waits for one, and all disabled when
// one has come: the line then falls, and rises anew for what is enabled again.
type uart struct {
	port  uint16
	ready bool  // has been initialized
	ier   uint8 // as written
}

var uarts = [2]uart{{port: 0x3f8}, {port: 0x2f8}}

// Offsets of the registers, and their bits.
const (
	uartData = 0 // RBR, THR
	uartIER  = 1
	uartIIR  = 2 // FCR when written
	uartLCR  = 3
	uartMCR  = 4
	uartLSR  = 5
	uartMSR  = 6

	ierReceived = 1
	ierEmpty    = 2
	ierModem    = 8

	iirIdentity = 15
	iirReceived = 4 // the receiver is filled up to the trigger level
	iirEmpty    = 2 // the transmitter is empty, and has not been read yet

	fcrStart = 0xc7 // FIFOs on and empty; interrupt at uartTrigger bytes
	lcr8N1   = 3
	mcrStart = 0x0b // DTR, RTS, and OUT2, which connects the interrupt

	lsrReady = 1
	lsrTHRE  = 0x20
	lsrTEMT  = 0x40
	msrDelta = 15
	msrDCD   = 0x80

	uartFIFO    = 16
	uartTrigger = 14

	// uartMost bounds how long one call keeps interrupts away, in bytes.
	uartMost = 1024
)

// start makes it ready, at the first use: most programs leave one alone.
func (u *uart) start() {
	if u.ready {
		return
	}
	u.ready = true
	out8(u.port+uartLCR, lcr8N1)
	out8(u.port+uartIIR, fcrStart)
	out8(u.port+uartMCR, mcrStart)
}

// enable adds interrupts that somebody waits for.
func (u *uart) enable(bits uint8) {
	if u.ier != 0 {
		out8(u.port+uartIER, 0) // so that the line rises for what has its reason already
	}
	u.ier |= bits
	out8(u.port+uartIER, u.ier)
}

// interrupted is the interrupt; it returns the events for those who wait.
func (u *uart) interrupted() (pending uint32) {
	if u.ier == 0 {
		return 0
	}
	if u.ier&ierEmpty != 0 {
		pending |= 1 << hypercall.EventConsoleOut
	}
	if u.ier&(ierReceived|ierModem) != 0 {
		pending |= 1 << hypercall.EventConsoleIn
	}
	u.ier = 0
	out8(u.port+uartIER, 0)
	return pending
}

// write sends up to n bytes, as many as find room at once.
func (u *uart) write(from, n uintptr) int64 {
	u.start()
	done := uintptr(0)
	for n = min(n, uartMost); ; {
		if in8(u.port+uartLSR)&lsrTHRE == 0 {
			break
		}
		k := min(n-done, uartFIFO)
		if k == 1 {
			out8(u.port+uartData, byteAt(from+done))
		} else if k > 1 {
			outBytes(u.port+uartData, from+done, k)
		}
		if done += k; done == n {
			return int64(done)
		}
	}
	if done > 0 {
		return int64(done)
	}
	u.enable(ierEmpty)
	return -eAGAIN
}

// drain waits until all that was written has left.
func (u *uart) drain() {
	for u.ready && in8(u.port+uartLSR)&lsrTEMT == 0 {
		u.enable(ierEmpty)
		interrupted(halt())
	}
}

// read takes what has been received, up to n bytes; 0 when the carrier is lost,
// which is the end of the input.
func (u *uart) read(to, n uintptr) int64 {
	u.start()
	for {
		if k := u.take(to, min(n, uartMost)); k > 0 || n == 0 {
			return int64(k)
		}
		switch status := in8(u.port + uartMSR); {
		case status&msrDCD == 0:
			return 0
		case status&msrDelta == 0 || u.ier == 0:
			u.enable(ierReceived | ierModem)
			return -eAGAIN
		}
		// What had kept the line up is gone: bytes that came meanwhile have not
		// made it rise.
	}
}

// take empties the receiver: a whole trigger level at a time while there is one.
func (u *uart) take(to, n uintptr) (done uintptr) {
	for n-done >= uartTrigger && u.triggered() {
		inBytes(u.port+uartData, to+done, uartTrigger)
		done += uartTrigger
	}
	for done < n && in8(u.port+uartLSR)&lsrReady != 0 {
		setByteAt(to+done, in8(u.port+uartData))
		done++
	}
	return done
}

// triggered says whether the receiver is filled up to the trigger level. Reading
// that the transmitter is empty takes that interrupt away, so who waits to write is
// told here.
func (u *uart) triggered() bool {
	if u.ier&ierReceived == 0 {
		u.enable(ierReceived) // without it IIR does not tell
	}
	switch in8(u.port+uartIIR) & iirIdentity {
	case iirReceived:
		return true
	case iirEmpty:
		vcpuPage().Pending |= u.interrupted()
	}
	return false
}

// consoleUART is the one behind a stream that is written.
func consoleUART(stream uintptr) *uart {
	if stream == 2 {
		return &uarts[1]
	}
	return &uarts[0]
}

func uartWrite(stream, from, n uintptr) int64 {
	switch {
	case stream != 1 && stream != 2:
		return -eBADF
	case n > hypercall.MaxConsole:
		return -eINVAL
	case !paging.bring(from, min(n, uartMost), 0):
		return -eFAULT
	}
	return consoleUART(stream).write(from, n)
}

func uartRead(to, n uintptr) int64 {
	switch {
	case n > hypercall.MaxConsole:
		return -eINVAL
	case !paging.bring(to, min(n, uartMost), faultWrite):
		return -eFAULT
	}
	return uarts[0].read(to, n)
}
