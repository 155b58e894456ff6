package hv

import "slices"

// streamBuffer is how many bytes of a stream the host holds for either side.
const streamBuffer = 256 << 10

// buffer holds bytes that are on their way.
type buffer struct {
	b  []byte
	at int // what comes before is gone
}

func (b *buffer) len() int      { return len(b.b) - b.at }
func (b *buffer) bytes() []byte { return b.b[b.at:] }

// add makes room for n bytes at the end, for the caller to fill.
func (b *buffer) add(n int) []byte {
	if b.at > 0 && cap(b.b)-len(b.b) < n {
		b.b = b.b[:copy(b.b, b.bytes())]
		b.at = 0
	}
	end := len(b.b)
	b.b = slices.Grow(b.b, n)[:end+n]
	return b.b[end:]
}

// cut takes the last n bytes back.
func (b *buffer) cut(n int) { b.b = b.b[:len(b.b)-n] }

// take takes the first n bytes.
func (b *buffer) take(n int) {
	if b.at += n; b.at == len(b.b) {
		b.b, b.at = b.b[:0], 0
	}
}
