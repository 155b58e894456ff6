package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Capture writes frames to a file that Wireshark and tcpdump read: pcap with times in
// ns (IETF draft-ietf-opsawg-pcap). It is written here since gopacket, which does it
// too, takes 5 ms of every start to initialize.
//
// The file is written beside the traffic. What it is too slow for is left out, and
// Close says so.
type Capture struct {
	out io.WriteCloser

	mu     sync.Mutex
	idle   sync.Cond // the writer has nothing to do
	buf    []byte    // what has come
	spare  []byte    // nil while the writer has it
	since  time.Time // when the first of buf came
	missed uint64    // frames
	err    error     // of the file; nothing is written any more
	closed bool
}

const (
	pcapMagic    = 0xa1b23c4d // times in ns
	pcapEthernet = 1          // LINKTYPE_ETHERNET
	pcapSnap     = 262144     // longest record
	// captureChunk is how much is worth writing, captureBytes how much may wait, and
	// captureAge how old it may get while frames come.
	captureChunk = 64 << 10
	captureBytes = 4 << 20
	captureAge   = time.Second
	// captureEnd is how long Close waits for a file that takes nothing, such as a
	// pipe that nobody reads.
	captureEnd = 5 * time.Second
)

// NewCapture begins a capture; it owns out.
func NewCapture(out io.WriteCloser) *Capture {
	c := &Capture{out: out, spare: []byte{}, since: time.Now()}
	c.idle.L = &c.mu
	le := binary.LittleEndian
	b := le.AppendUint32(nil, pcapMagic)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, pcapSnap)
	c.buf = le.AppendUint32(b, pcapEthernet)
	return c
}

// Add captures a frame. A nil Capture has none.
func (c *Capture) Add(frame []byte) {
	if c == nil {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil || c.closed:
		return
	case len(c.buf)+16+len(frame) > captureBytes:
		c.missed++
		return
	case len(c.buf) == 0:
		c.since = now
	}
	c.record(now, frame)
	if c.spare != nil && (len(c.buf) >= captureChunk || now.Sub(c.since) >= captureAge) {
		go c.write(c.swap())
	}
}

func (c *Capture) record(now time.Time, frame []byte) {
	n := min(len(frame), pcapSnap)
	le := binary.LittleEndian
	b := le.AppendUint32(c.buf, uint32(now.Unix()))
	b = le.AppendUint32(b, uint32(now.Nanosecond()))
	b = le.AppendUint32(b, uint32(n))
	b = le.AppendUint32(b, uint32(len(frame)))
	c.buf = append(b, frame[:n]...)
}

// swap takes what has come, for the writer.
func (c *Capture) swap() (full []byte) {
	full, c.buf, c.spare = c.buf, c.spare, nil
	return full
}

func (c *Capture) write(b []byte) {
	_, err := c.out.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	c.spare = b[:0]
	c.idle.Broadcast()
}

// Close writes what is left, and says what could not be written, once. Nothing is
// captured any more.
func (c *Capture) Close() error {
	if c == nil || !c.end() {
		return nil
	}
	timer := time.AfterFunc(captureEnd, c.giveUp)
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.spare == nil && c.err == nil {
		c.idle.Wait()
	}
	if c.err == nil {
		go c.write(c.swap())
	}
	for c.spare == nil && c.err == nil {
		c.idle.Wait()
	}
	err := errors.Join(c.err, c.out.Close())
	switch {
	case err != nil:
		return fmt.Errorf("write packet capture: %w", err)
	case c.missed > 0:
		return fmt.Errorf("write packet capture: the file was too slow for %d frames", c.missed)
	}
	return nil
}

func (c *Capture) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.closed
	c.closed = true
	return !was
}

func (c *Capture) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = errors.New("the file takes nothing")
	}
	c.idle.Broadcast()
}
