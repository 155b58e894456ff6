package hypercall

import "unsafe"

// MessageQueue is how the host hands messages to the guest, at StartInfo.Messages. The
// guest can only read it, and the messages' data.
//
// The host fills Messages[Prod], raises Prod, which runs freely and is taken modulo
// MessageSlots, and raises EventMessage. The guest takes messages in their order and
// counts them in SharedInfo.MessagesTaken. A message of kind MessageInvoke ends with its
// CallRespond, and its place and its data are the host's again then. Those of the other
// kinds are the host's as soon as they are taken, so the guest copies what it wants of
// them before that. A guest that takes from a full queue calls StreamRoom with ID 0 once,
// for a host that waits for a place.
type MessageQueue struct {
	Prod     uint32 // host
	Pad      uint32
	Messages [MessageSlots]Message
}

// Message is one invocation of the program's, or something about a stream.
type Message struct {
	ID       uint64 // as CallRespond or CallStream want it; both have one counter
	Data     Extent // at most MaxMessage bytes; of streams at most MaxStreamSend
	Deadline int64  // monotonic ns by which the answer is wanted; Forever for none
	Kind     MessageKind
	Port     uint32 // of MessageOpen
}

// MessageKind is what a message is.
type MessageKind uint32

const (
	// MessageInvoke is an invocation.
	MessageInvoke MessageKind = 0
	// MessageOpen opens a stream to the program's TCP port Port, at 127.0.0.1 or else
	// ::1. Data are its first bytes, if there are any.
	MessageOpen MessageKind = 1
	// MessageData brings more bytes of a stream.
	MessageData MessageKind = 2
	// MessageEnd brings the last bytes, if there are any: the host sends no more.
	MessageEnd MessageKind = 3
	// MessageReset ends a stream both ways. Bytes under way are lost.
	MessageReset MessageKind = 4
	// MessageRoom says that StreamSend is worth another try, after EAGAIN.
	MessageRoom MessageKind = 5
)

// Limits of messages.
const (
	MessageSlots = 64
	// MaxMessage is the most bytes of a message and of its response: as much as the
	// functions of AWS Lambda may get (Lambda quotas, "Invocation payload").
	MaxMessage = 6 << 20
)

// Statuses of CallRespond.
const (
	MessageDone   = 0 // the bytes are the response
	MessageFailed = 1 // the program's handler has failed; the bytes are its error's text
)

var (
	_ = [1]struct{}{}[unsafe.Sizeof(MessageQueue{})-2568]
	_ = [1]struct{}{}[unsafe.Sizeof(Message{})-40]
)
