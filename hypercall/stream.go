package hypercall

// StreamOp selects what CallStream does. 0 is reserved.
//
// A stream is a connection between the host and a TCP port of the machine's loopback,
// on which both send bytes until each has ended its side or one has reset both.
type StreamOp uint32

const (
	// StreamSend sends bytes of the program's. It returns how many the host has taken,
	// maybe fewer; EAGAIN: MessageRoom tells when to try again; EPIPE: the host reads no
	// more. After StreamEnd it is EINVAL.
	StreamSend StreamOp = 1
	// StreamEnd is StreamSend, and when all bytes are taken the guest sends no more.
	StreamEnd StreamOp = 2
	// StreamReset ends the stream both ways. Bytes under way are lost. Returns 0.
	StreamReset StreamOp = 3
	// StreamCredit (id, op, 0, n) tells that n further bytes of the stream were given to
	// the program; EINVAL for more than there were. Returns 0.
	StreamCredit StreamOp = 4
	// StreamRoom (0, op) tells that messages were taken from a full queue. Returns 0.
	StreamRoom StreamOp = 5
	// StreamConnect (port, op) makes a stream of a connection to StartInfo.ServicePort,
	// and returns its ID. ECONNREFUSED when nobody takes it; EMFILE beyond MaxStreams.
	StreamConnect StreamOp = 6

	StreamOpEnd StreamOp = 7
)

// Limits of streams.
const (
	// MaxStreamSend is the most bytes of one StreamSend or StreamEnd, and of a message
	// of a stream.
	MaxStreamSend = 256 << 10
	// StreamWindow is how many bytes of one stream the host has under way at most:
	// those in messages but for what StreamCredit has told.
	StreamWindow = 256 << 10
	// MaxStreams is how many streams may be under way at once, of both directions.
	MaxStreams = 64
)
