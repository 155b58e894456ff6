package worker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// kind is what a frame is for.
type kind uint8

const (
	// To the worker.
	kindStart  kind = iota // payload: the snapshot's description; value: Ps for Go. Once, first
	kindNew                // value: bits of what output somebody reads
	kindInvoke             // payload: the message; value: ns until it is to be over, or 0
	kindRun                // runs until there is a kindIdle
	kindIdle               // kindRun is to end when the program has nothing to do; no answer
	kindCancel             // ends kindInvoke or kindRun, if one is under way; no answer
	kindSignal             // value: the signal; no answer
	kindRewind
	kindStats
	kindMemory
	kindClose

	// From it.
	kindDone     // value: what was asked for
	kindError    // payload: wireError
	kindResponse // payload: the response; value: 1 if the handler has failed
	kindFigures  // payload: hv.Stats
	kindStdout   // payload: what the program has written
	kindStderr

	kinds
)

// Bits of kindNew's value.
const (
	wantsStdout = 1 << iota
	wantsStderr
)

const (
	maxText   = 256 << 10 // bytes of an error, or of figures
	maxOutput = 32 << 10  // bytes of one frame of output
)

// limits are how long payloads may be, in bytes.
var limits = [kinds]uint32{
	kindStart: hv.MaxHandover, kindInvoke: hypercall.MaxMessage, kindResponse: hypercall.MaxMessage,
	kindError: maxText, kindFigures: maxText, kindStdout: maxOutput, kindStderr: maxOutput,
}

// frame is a header and its payload. On the socket the header is little endian: the
// payload's length, the machine's number, the kind and 7 bytes of zero, the value.
type frame struct {
	machine uint32
	kind    kind
	value   int64
	payload []byte
}

const headerSize = 24

// readFrame reads a frame, with a payload of its own.
func readFrame(r io.Reader) (f frame, err error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return f, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	f.machine = binary.LittleEndian.Uint32(h[4:])
	f.kind = kind(h[8])
	f.value = int64(binary.LittleEndian.Uint64(h[16:]))
	if f.kind >= kinds || n > limits[f.kind] {
		return f, fmt.Errorf("a frame of kind %d and %d bytes", f.kind, n)
	}
	if n > 0 {
		f.payload = make([]byte, n)
		if _, err = io.ReadFull(r, f.payload); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return f, err
}

// writeFrame writes a frame by one system call, if it fits.
func writeFrame(w net.Conn, f frame) error {
	if uint64(len(f.payload)) > uint64(limits[f.kind]) {
		return fmt.Errorf("a frame of kind %d and %d bytes", f.kind, len(f.payload))
	}
	var h [headerSize]byte
	binary.LittleEndian.PutUint32(h[:], uint32(len(f.payload)))
	binary.LittleEndian.PutUint32(h[4:], f.machine)
	h[8] = byte(f.kind)
	binary.LittleEndian.PutUint64(h[16:], uint64(f.value))
	if len(f.payload) == 0 {
		_, err := w.Write(h[:])
		return err
	}
	b := net.Buffers{h[:], f.payload}
	_, err := b.WriteTo(w)
	return err
}
