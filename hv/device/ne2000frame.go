package device

import (
	"hash/crc32"
	"math/bits"
)

// Frames of an NE2000: sections 7.0, "Packet Reception", and 8.0, "Packet
// Transmission".

// Busy is whether a frame waits for the cable to take it.
func (n *NE2000) Busy() bool { return n.sending }

// Resume tries to send the frame that the cable has not taken.
func (n *NE2000) Resume() {
	if n.sending {
		n.transmit()
		n.settle()
	}
}

// transmit sends the frame at TPSR, or leaves it for another time.
func (n *NE2000) transmit() {
	length := int(n.tbcr)
	if length > maxFrame {
		n.sent(tsrAborted, isrTransmitErr) // as a transceiver does with one that talks on and on
		return
	}
	frame := n.frame[:length]
	for i := range frame {
		frame[i] = n.load(uint16(n.tpsr)<<8 + uint16(i))
	}
	switch {
	case n.tcr&tcrLoop != 0:
		n.loop(frame)
	case length < headerSize || n.cable.Send(frame):
		n.sent(tsrSent|tsrNotDeferred, isrTransmitted)
	}
}

func (n *NE2000) sent(status, interrupt uint8) {
	n.sending, n.tsr = false, status
	n.isr |= interrupt
}

// loop is loopback, section 11.0: the receiver sees the frame, but packet memory
// does not. With the transmitter's CRC it finds an error, and without it the
// frame's own last bytes count.
func (n *NE2000) loop(frame []byte) {
	status := uint8(tsrSent | tsrNotDeferred)
	switch n.tcr & tcrLoop {
	case 0x02: // in the controller
		status |= tsrNoCarrier | tsrNoHeartbeat
	case 0x04: // in the encoder
		status |= tsrNoHeartbeat
	}
	n.sent(status, isrTransmitted)
	group, ok := n.accepts(frame)
	if n.dcr&dcrNormal != 0 || !ok {
		return
	}
	n.rsr = group | rsrCRC
	if n.tcr&tcrNoCRC != 0 && endsInCRC(frame) {
		n.rsr = group | rsrReceived
	}
}

func endsInCRC(frame []byte) bool {
	at := len(frame) - crcSize
	if at < 0 {
		return false
	}
	sum := crc32.ChecksumIEEE(frame[:at])
	for i, b := range frame[at:] {
		if b != uint8(sum>>(8*i)) {
			return false
		}
	}
	return true
}

// Room is whether the next frame, however long, would not be lost for want of room
// in the ring.
func (n *NE2000) Room() bool { return !n.listens() || n.fits(maxFrame) }

// listens is whether frames from the cable mean anything.
func (n *NE2000) listens() bool {
	return !n.stopped() && n.tcr&tcrLoop == 0 && n.rcr&rcrMonitor == 0
}

// Receive is a frame from the cable. It is not kept.
func (n *NE2000) Receive(frame []byte) {
	group, ok := n.accepts(frame)
	if n.stopped() || n.tcr&tcrLoop != 0 || !ok || len(frame) > maxFrame {
		return
	}
	switch {
	case n.rcr&rcrMonitor != 0:
		n.rsr = rsrDisabled | rsrMissed | group
		n.tally(missed)
	case !n.fits(len(frame)):
		n.rsr = rsrMissed | group
		n.isr |= isrOverwrite | isrReceiveErr | isrReset
		n.tally(missed)
	default:
		n.rsr = rsrReceived | group
		n.put(frame)
		n.isr |= isrReceived
	}
	n.settle()
}

// missed is the third tally counter.
const missed = 2

// tally counts, up to 192.
func (n *NE2000) tally(counter int) {
	c := &n.tallies[counter]
	*c = min(*c+1, 192)
	if *c >= 128 {
		n.isr |= isrCounter
	}
}

// accepts is whether a frame's address is wanted, and RSR's bit for it.
func (n *NE2000) accepts(frame []byte) (group uint8, ok bool) {
	if len(frame) < headerSize {
		return 0, false
	}
	to := [6]byte(frame)
	switch {
	case to == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return rsrGroup, n.rcr&rcrBroadcast != 0
	case to[0]&1 != 0:
		i := filterBit(to)
		return rsrGroup, n.rcr&rcrMulticast != 0 && n.multicast[i/8]>>(i%8)&1 != 0
	}
	return 0, n.rcr&rcrPromiscuous != 0 || to == n.station
}

// filterBit is an address's place in MAR0 to MAR7: the CRC's upper six bits as the
// controller's shift register has them.
func filterBit(to [6]byte) uint32 { return bits.Reverse32(^crc32.ChecksumIEEE(to[:])) >> 26 }

// ringHeader is in front of a packet: status, next page, and length with CRC.
const ringHeader = 4

// buffers is how many pages a frame takes.
func buffers(frame int) int {
	return (ringHeader + max(frame, minFrame) + crcSize + pageBytes - 1) / pageBytes
}

// after is the page behind another in the ring.
func (n *NE2000) after(page uint8) uint8 {
	if page++; page == n.pstop {
		return n.pstart
	}
	return page
}

// fits is whether the ring has room, which ends before BNRY. CURR and BNRY are the
// same when it is empty, never when it is full.
func (n *NE2000) fits(frame int) bool {
	page := n.curr
	for range buffers(frame) {
		if page = n.after(page); page == n.bnry {
			return false
		}
	}
	return true
}

// put stores a frame that fits, behind its header.
func (n *NE2000) put(frame []byte) {
	var packet [ringHeader + maxFrame]byte
	length := max(len(frame), minFrame)
	copy(packet[ringHeader:], frame)
	page := n.curr
	for range buffers(length) {
		n.curr = n.after(n.curr)
	}
	count := length + crcSize
	packet[0], packet[1], packet[2], packet[3] = n.rsr, n.curr, uint8(count), uint8(count>>8)
	for b := packet[:ringHeader+length]; len(b) > 0; page = n.after(page) {
		part := b[:min(len(b), pageBytes)]
		for i, v := range part {
			n.local = uint16(page)<<8 + uint16(i)
			n.store(n.local, v)
		}
		b = b[len(part):]
	}
}

// setBoundary is how the guest makes room.
func (n *NE2000) setBoundary(page uint8) {
	n.bnry = page
	if !n.stopped() && n.fits(minFrame) {
		n.isr &^= isrReset
	}
}
