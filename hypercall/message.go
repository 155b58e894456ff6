package hypercall

import "unsafe"

// MessageQueue is how the host hands messages to the guest, at StartInfo.Messages. The
// guest can only read it, and the messages' data; what it has taken it knows itself.
//
// The host fills Messages[Prod], raises Prod, which runs freely and is taken modulo
// MessageSlots, and raises EventMessage. A message ends with its CallRespond. Its place
// and its data are the host's again then, and at most MessageSlots are under way.
// With ReadyListen and not ReadyMessage in StartInfo.Ready a message is what a client sends to ReadyPort, and
// the response what it gets until the program ends the connection.
type MessageQueue struct {
	Prod     uint32 // host
	Pad      uint32
	Messages [MessageSlots]Message
}

// Message is one invocation of the program's.
type Message struct {
	ID       uint64 // as CallRespond wants it
	Data     Extent // at most MaxMessage bytes
	Deadline int64  // monotonic ns by which the answer is wanted; Forever for none
}

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
	_ = [1]struct{}{}[unsafe.Sizeof(MessageQueue{})-2056]
	_ = [1]struct{}{}[unsafe.Sizeof(Message{})-32]
)
