package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxDials bounds connections of a network that are being made, maxMachineDials
	// those that one machine asks for, and maxConns the connections of a machine.
	maxDials        = 4096
	maxMachineDials = 1024
	maxConns        = 8192
	dialPatience    = 30 * time.Second

	// A connection buffers from minBuffer to maxBuffer bytes each way: the more a
	// machine has the less each, so that all together have no more than some times
	// allBuffers.
	minBuffer  = 16 << 10
	maxBuffer  = 1 << 20
	allBuffers = 32 << 20

	copyBuffer = 64 << 10
)

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// connSet are the TCP connections of a machine.
type connSet struct {
	mu     sync.Mutex
	all    map[*conn]struct{}
	dials  int
	closed bool
	room   sync.Cond       // there may be room for one more, or it is closed
	end    context.Context // done when the machine leaves
	cancel context.CancelFunc
	busy   sync.WaitGroup
}

func (s *connSet) init() {
	s.all, s.room.L = map[*conn]struct{}{}, &s.mu
	s.end, s.cancel = context.WithCancel(context.Background())
}

// dial counts one more connection to be made, if there may be, or when there may be;
// done says that it is made, or is not.
func (s *connSet) dial(wait bool) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && (s.dials >= maxMachineDials || s.dials+len(s.all) >= maxConns) {
		if !wait {
			return nil, false
		}
		s.room.Wait()
	}
	if s.closed {
		return nil, false
	}
	s.dials++
	s.busy.Add(1)
	return func() {
		s.mu.Lock()
		s.dials--
		s.mu.Unlock()
		s.room.Signal()
		s.busy.Done()
	}, true
}

func (s *connSet) add(c *conn) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.all[c] = struct{}{}
	size := int64(max(minBuffer, min(maxBuffer, allBuffers/len(s.all))))
	if size < maxBuffer {
		c.ep.SocketOptions().SetReceiveBufferSize(size, true)
		c.ep.SocketOptions().SetSendBufferSize(size, true)
	}
	return true
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	s.room.Signal()
}

// close ends all and waits for that.
func (s *connSet) close() {
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	s.cancel()
	for c := range s.all {
		c.abort()
	}
	s.mu.Unlock()
	s.busy.Wait()
}

// forwardTCP connects a machine to the host's network.
func (n *network) forwardTCP(r *tcp.ForwarderRequest) {
	id := r.ID()
	m := n.machine(fromAddress(id.RemoteAddress))
	to, ok := outside(fromAddress(id.LocalAddress))
	if m == nil || !ok {
		r.Complete(true)
		return
	}
	done, ok := m.conns.dial(false)
	if !ok {
		r.Complete(true)
		return
	}
	defer done()
	d := net.Dialer{Timeout: dialPatience}
	c, err := d.DialContext(m.conns.end, "tcp", netip.AddrPortFrom(to, id.LocalPort).String())
	if err != nil {
		r.Complete(true)
		return
	}
	out := c.(*net.TCPConn)
	queue := new(waiter.Queue)
	ep, failed := r.CreateEndpoint(queue)
	r.Complete(false)
	if failed != nil {
		out.SetLinger(0)
		out.Close()
		return
	}
	m.connect(out, ep, queue)
}

// accept connects the host's side of an exposed port to the machine's. When the
// machine has as many connections as it may, the next wait.
func (m *machine) accept(in *net.TCPConn, port uint16) {
	done, ok := m.conns.dial(true)
	if !ok {
		in.SetLinger(0)
		in.Close()
		return
	}
	go func() {
		defer done()
		queue := new(waiter.Queue)
		ep, err := m.dial(queue, port)
		if err != nil {
			in.SetLinger(0)
			in.Close()
			return
		}
		m.connect(in, ep, queue)
	}()
}

var errRefused = errors.New("connection refused")

// dial connects the gateway to a port of the machine's.
func (m *machine) dial(queue *waiter.Queue, port uint16) (tcpip.Endpoint, error) {
	ep, failed := m.network.stack.NewEndpoint(tcp.ProtocolNumber, networkProtocol, queue)
	if failed != nil {
		return nil, errRefused
	}
	entry, connected := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	failed = ep.Connect(endpointOf(m.address, port))
	if _, started := failed.(*tcpip.ErrConnectStarted); started {
		timeout := time.NewTimer(dialPatience)
		defer timeout.Stop()
		select {
		case <-connected:
			failed = ep.LastError()
		case <-timeout.C:
		case <-m.conns.end.Done():
		}
	}
	if failed != nil {
		ep.Abort()
		return nil, errRefused
	}
	return ep, nil
}

// connect carries bytes between the host's connection and the machine's until both
// have ended, or one fails.
func (m *machine) connect(host *net.TCPConn, ep tcpip.Endpoint, queue *waiter.Queue) {
	c := &conn{host: host, ep: ep, queue: queue, gone: make(chan struct{}), asks: m.network.asks}
	if !m.conns.add(c) {
		c.abort()
		return
	}
	m.conns.busy.Add(1)
	go func() {
		defer m.conns.busy.Done()
		defer m.conns.remove(c)
		c.run()
	}()
}

// conn is a TCP connection on both its sides.
type conn struct {
	host  *net.TCPConn
	ep    tcpip.Endpoint
	queue *waiter.Queue
	gone  chan struct{}
	once  sync.Once
	asks  keepalive
}

// run copies both ways. The end of one direction is passed on, the other goes on.
func (c *conn) run() {
	c.asks.enable(c.ep)
	var ways sync.WaitGroup
	over := make(chan struct{}) // there is no more for the machine
	ways.Go(func() {
		c.way(c.toHost, func() {
			c.host.CloseWrite()
			c.awaitReset(over)
		})
	})
	ways.Go(func() {
		c.way(func() error {
			defer close(over)
			return c.toMachine()
		}, func() { c.ep.Shutdown(tcpip.ShutdownWrite) })
	})
	ways.Wait()
	c.host.Close()
	c.ep.Close()
}

func (c *conn) way(run func() error, end func()) {
	if err := run(); err != io.EOF {
		c.abort()
		return
	}
	end()
}

// abort resets the connection on both sides.
func (c *conn) abort() {
	c.once.Do(func() {
		close(c.gone)
		c.host.SetLinger(0)
		c.host.Close()
		c.ep.Abort()
	})
}

// wait waits until try does not say that it would block.
func (c *conn) wait(events <-chan struct{}, try func() tcpip.Error) error {
	for {
		err := try()
		switch err.(type) {
		case nil:
			return nil
		case *tcpip.ErrWouldBlock:
		case *tcpip.ErrClosedForReceive:
			return io.EOF
		default:
			return errors.New(err.String())
		}
		select {
		case <-events:
		case <-c.gone:
			return net.ErrClosed
		}
	}
}

func (c *conn) toHost() error {
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	for {
		// Idle connections have no buffer.
		if c.ep.Readiness(waiter.ReadableEvents) == 0 {
			select {
			case <-readable:
			case <-c.gone:
				return net.ErrClosed
			}
		}
		if err := c.someToHost(readable); err != nil {
			return err
		}
	}
}

func (c *conn) someToHost(readable <-chan struct{}) error {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	w := tcpip.SliceWriter(buf[:])
	err := c.wait(readable, func() tcpip.Error {
		_, err := c.ep.Read(&w, tcpip.ReadOptions{})
		return err
	})
	if err != nil {
		return err
	}
	_, err = c.host.Write(buf[:len(buf)-len(w)])
	return err
}

func (c *conn) toMachine() error {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	raw, err := c.host.SyscallConn()
	if err != nil {
		return err
	}
	for {
		if err := c.someToMachine(raw, writable); err != nil {
			return err
		}
	}
}
