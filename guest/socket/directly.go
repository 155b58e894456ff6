package socket

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// directly is a queue of packets in which none waits. Without it netstack does the same
// with a new list for each packet; here lists are kept.
type directly struct{ link stack.LinkWriter }

var packetLists = sync.Pool{New: func() any { return new(stack.PacketBufferList) }}

// WritePacket is part of stack.QueueingDiscipline.
func (q directly) WritePacket(pkt *stack.PacketBuffer) tcpip.Error {
	list := packetLists.Get().(*stack.PacketBufferList)
	list.PushBack(pkt.IncRef())
	_, err := q.link.WritePackets(*list)
	list.Reset()
	packetLists.Put(list)
	return err
}

// Close is part of stack.QueueingDiscipline.
func (directly) Close() {}
