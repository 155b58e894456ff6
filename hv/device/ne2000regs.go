package device

// The DP8390D's registers: section 10.0, "Internal Registers". CR is in all pages.
const (
	nicCR = 0x0

	// Page 0, read.
	nicCLDA0 = 0x1
	nicCLDA1 = 0x2
	nicBNRY  = 0x3 // also written
	nicTSR   = 0x4
	nicNCR   = 0x5
	nicFIFO  = 0x6
	nicISR   = 0x7 // also written
	nicCRDA0 = 0x8
	nicCRDA1 = 0x9
	nicRSR   = 0xc
	nicCNTR0 = 0xd // and two more

	// Page 0, written; in page 2, read, but for BNRY and what is not there.
	nicPSTART = 0x1
	nicPSTOP  = 0x2
	nicTPSR   = 0x4
	nicTBCR0  = 0x5
	nicTBCR1  = 0x6
	nicRSAR0  = 0x8
	nicRSAR1  = 0x9
	nicRBCR0  = 0xa
	nicRBCR1  = 0xb
	nicRCR    = 0xc
	nicTCR    = 0xd
	nicDCR    = 0xe
	nicIMR    = 0xf

	// Page 1.
	nicPAR0 = 0x1 // and five more
	nicCURR = 0x7
	nicMAR0 = 0x8 // and seven more
)

// The registers' bits.
const (
	crStop     = 0x01
	crStart    = 0x02
	crTransmit = 0x04
	crRead     = 0x08
	crWrite    = 0x10
	crSend     = 0x18
	crAbort    = 0x20 // whatever is with it
	crRemote   = 0x38
	crPage     = 0xc0

	isrReceived    = 0x01
	isrTransmitted = 0x02
	isrReceiveErr  = 0x04
	isrTransmitErr = 0x08
	isrOverwrite   = 0x10
	isrCounter     = 0x20
	isrRemote      = 0x40
	isrReset       = 0x80 // no interrupt, and not the guest's to clear
	isrMaskable    = 0x7f

	dcrWord        = 0x01
	dcrLongAddress = 0x04
	dcrNormal      = 0x08 // LS: no loopback
	dcrAutoInit    = 0x10 // AR: Send Packet works

	tcrNoCRC = 0x01
	tcrLoop  = 0x06

	rcrBroadcast   = 0x04
	rcrMulticast   = 0x08
	rcrPromiscuous = 0x10
	rcrMonitor     = 0x20

	tsrSent        = 0x01
	tsrNotDeferred = 0x02
	tsrAborted     = 0x08
	tsrNoCarrier   = 0x10
	tsrNoHeartbeat = 0x40

	rsrReceived = 0x01
	rsrCRC      = 0x02
	rsrMissed   = 0x10
	rsrGroup    = 0x20 // PHY: not the station's address
	rsrDisabled = 0x40
)

func (n *NE2000) readRegister(reg uint16) uint8 {
	if reg == nicCR {
		if n.sending {
			return n.command | crTransmit
		}
		return n.command
	}
	switch n.command & crPage {
	case 0x00:
		return n.readPage0(reg)
	case 0x40:
		if p := n.page1(reg); p != nil {
			return *p
		}
	case 0x80:
		return n.readPage2(reg)
	}
	return 0
}

func (n *NE2000) readPage0(reg uint16) uint8 {
	switch reg {
	case nicCLDA0:
		return uint8(n.local)
	case nicCLDA1:
		return uint8(n.local >> 8)
	case nicBNRY:
		return n.bnry
	case nicTSR:
		return n.tsr
	case nicISR:
		return n.isr
	case nicCRDA0:
		return uint8(n.rsar)
	case nicCRDA1:
		return uint8(n.rsar >> 8)
	case nicRSR:
		return n.rsr
	case nicCNTR0, nicCNTR0 + 1, nicCNTR0 + 2:
		tally := &n.tallies[reg-nicCNTR0]
		v := *tally
		*tally = 0
		return v
	}
	return 0 // NCR and FIFO among them
}

// page1 is a register of page 1, all of which are read as they were written.
func (n *NE2000) page1(reg uint16) *uint8 {
	switch {
	case reg >= nicMAR0:
		return &n.multicast[reg-nicMAR0]
	case reg == nicCURR:
		return &n.curr
	case reg >= nicPAR0:
		return &n.station[reg-nicPAR0]
	}
	return nil
}

func (n *NE2000) readPage2(reg uint16) uint8 {
	switch reg {
	case nicPSTART:
		return n.pstart
	case nicPSTOP:
		return n.pstop
	case nicTPSR:
		return n.tpsr
	case nicRCR:
		return n.rcr
	case nicTCR:
		return n.tcr
	case nicDCR:
		return n.dcr
	case nicIMR:
		return n.imr
	}
	return 0
}

func (n *NE2000) writeRegister(reg uint16, v uint8) {
	if reg == nicCR {
		n.execute(v)
		return
	}
	switch n.command & crPage {
	case 0x00:
		n.writePage0(reg, v)
	case 0x40:
		if p := n.page1(reg); p != nil {
			*p = v
		}
	}
}

func (n *NE2000) writePage0(reg uint16, v uint8) {
	switch reg {
	case nicPSTART:
		n.pstart = v
	case nicPSTOP:
		n.pstop = v
	case nicBNRY:
		n.setBoundary(v)
	case nicTPSR:
		n.tpsr = v
	case nicTBCR0:
		setLow(&n.tbcr, v)
	case nicTBCR1:
		setHigh(&n.tbcr, v)
	case nicISR:
		n.isr &^= v & isrMaskable
	case nicRSAR0:
		setLow(&n.rsar, v)
	case nicRSAR1:
		setHigh(&n.rsar, v)
	case nicRBCR0:
		setLow(&n.rbcr, v)
	case nicRBCR1:
		setHigh(&n.rbcr, v)
	case nicRCR:
		n.rcr = v
	case nicTCR:
		n.tcr = v
	case nicDCR:
		n.dcr = v
	case nicIMR:
		n.imr = v & isrMaskable
	}
}

func setLow(r *uint16, v uint8)  { *r = *r&0xff00 | uint16(v) }
func setHigh(r *uint16, v uint8) { *r = *r&0x00ff | uint16(v)<<8 }

// execute is a write of CR. Without STA and STP the device stays as it is, and
// without a remote command the last one does.
func (n *NE2000) execute(v uint8) {
	was := n.command
	n.command = v &^ crTransmit
	if v&(crStart|crStop) == 0 {
		n.command |= was & (crStart | crStop)
	}
	switch {
	case v&crStop != 0:
		n.sending = false
		n.isr |= isrReset
	case v&crStart != 0:
		n.isr &^= isrReset
	}
	if v&crRemote == 0 {
		n.command |= was & crRemote
	} else if v&crAbort == 0 {
		n.beginRemote()
	}
	if v&crTransmit != 0 && !n.sending && !n.stopped() {
		n.sending = true
		n.transmit()
	}
}

// beginRemote begins remote DMA, of which there may be nothing to do.
func (n *NE2000) beginRemote() {
	if n.command&crRemote == crSend && n.dcr&dcrAutoInit != 0 {
		n.sendPacket()
	}
	if n.rbcr == 0 {
		n.isr |= isrRemote
	}
}

// sendPacket begins a remote read of the packet at BNRY, as long as its header says
// that it is: section 9.0, "Send Packet Command".
func (n *NE2000) sendPacket() {
	n.rsar = uint16(n.bnry) << 8
	n.remote = n.load(n.rsar + 1)
	n.rbcr = uint16(n.load(n.rsar+2)) | uint16(n.load(n.rsar+3))<<8
}
