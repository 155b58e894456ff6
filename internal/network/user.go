package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The messages of pvrun-net, as its documentation (cmd/pvrun-net/doc.go) has them.
// Both sides have code of their own: they are of two modules.
const (
	protocolVersion = 1
	maxMessage      = 4096
)

type request struct {
	Version int            `json:"version,omitempty"`
	Join    *joinRequest   `json:"join,omitempty"`
	Expose  *exposeRequest `json:"expose,omitempty"`
}

type joinRequest struct {
	Name string `json:"name,omitempty"`
	MAC  string `json:"mac"`
	MTU  int    `json:"mtu,omitempty"`
}

type exposeRequest struct {
	Network string `json:"network"`
	Port    uint16 `json:"port"`
}

type reply struct {
	Error  string  `json:"error"`
	Joined *joined `json:"joined"`
}

type joined struct {
	Address string `json:"address"`
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
	Search  string `json:"search"`
	MTU     int    `json:"mtu"`
}

// first is what the first machine on a network is told. A network of a machine's own
// is not waited for.
var first = joined{"192.168.127.2/24", "192.168.127.1", "192.168.127.1", "pvrun.internal", 65520}

const (
	// joinPatience is how long a shared network may take to answer.
	joinPatience = 5 * time.Second
	// leavePatience is how long pvrun waits until its ports are free.
	leavePatience = 500 * time.Millisecond
)

// endPatience is how long pvrun waits for the end of a network of its own: where process
// 1 does not look after orphans a zombie would stay.
var endPatience = 50 * time.Millisecond

// plainMTU is what a machine takes that takes only what an Ethernet does.
const plainMTU = 1500

// member is a machine's connection to pvrun-net.
type member struct {
	control *net.UnixConn
	fd      int // of the machine's frames
	gone    func(error)
	leaving atomic.Bool
	started chan error    // whether pvrun-net is
	left    chan struct{} // closed when the connection is
	ended   chan struct{} // closed when a network of the machine's own is no more

	helper   atomic.Pointer[os.Process] // a network of the machine's own
	answered atomic.Bool
}

// openUser joins a network of pvrun-net's.
func openUser(c Config) (*Link, error) {
	if c.Plain && c.MTU == 0 {
		c.MTU = plainMTU
	}
	ports := slices.Clone(c.Ports)
	files, err := bindAll(ports)
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	m := &member{gone: c.Gone, started: make(chan error, 1), left: make(chan struct{}), ended: make(chan struct{})}
	if m.gone == nil {
		m.gone = func(error) {}
	}
	var start starter
	if c.Name == "" {
		m.control, start, err = startPrivate()
	} else {
		m.control, err = enterShared(c.Name)
	}
	if err != nil {
		return nil, err
	}
	told, err := m.join(c, ports, files)
	go m.run(start)
	if err != nil {
		m.control.Close()
		return nil, err
	}
	return &Link{
		FD: m.fd, MAC: c.MAC, MTU: told.MTU,
		Address: told.Address, Gateway: told.Gateway, DNS: told.DNS, Search: told.Search,
		Ports: ports, close: func() { m.leave(len(ports) > 0) },
	}, nil
}

// run starts a network of the machine's own and waits for its end.
func (m *member) run(start starter) {
	defer close(m.ended)
	if start == nil {
		m.started <- nil
		return
	}
	cmd, err := start()
	m.started <- err
	if err == nil {
		m.helper.Store(cmd.Process)
		m.hurry()
		cmd.Wait()
	}
}

// hurry ends a network that is left before it has begun: nothing has come over it, and
// to begin takes it longer than many a program runs.
func (m *member) hurry() {
	if p := m.helper.Load(); p != nil && m.leaving.Load() && !m.answered.Load() {
		p.Kill()
	}
}

// join asks for a place, and for the ports. On a shared network it waits for that.
func (m *member) join(c Config, ports []Port, files []*os.File) (joined, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return joined{}, os.NewSyscallError("socketpair", err)
	}
	m.fd = pair[0]
	for _, fd := range pair { // as much as there may be: what does not fit is lost
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	told, err := m.ask(c, ports, pair[1], files)
	unix.Close(pair[1])
	if err != nil {
		unix.Close(m.fd)
		return told, err
	}
	go m.watch(told, c.Name == "", len(ports))
	return told, nil
}

func (m *member) ask(c Config, ports []Port, frames int, files []*os.File) (joined, error) {
	mac := net.HardwareAddr(c.MAC[:]).String()
	err := m.send(request{Version: protocolVersion, Join: &joinRequest{Name: c.Machine, MAC: mac, MTU: c.MTU}}, frames)
	if err != nil {
		return joined{}, helperEnded(err)
	}
	told := first
	if c.MTU != 0 {
		told.MTU = min(c.MTU, told.MTU)
	}
	if c.Name != "" {
		m.control.SetReadDeadline(time.Now().Add(joinPatience))
		r, err := m.receive()
		if err != nil {
			return joined{}, helperEnded(err)
		}
		if r.Joined == nil {
			return joined{}, fmt.Errorf("network %s: %s", c.Name, r.Error)
		}
		m.control.SetReadDeadline(time.Time{})
		told = *r.Joined
	}
	for i, p := range ports {
		// File.Fd would have the listener block.
		raw, err := files[i].SyscallConn()
		if err == nil {
			raw.Control(func(fd uintptr) {
				err = m.send(request{Expose: &exposeRequest{p.network(), p.Guest}}, int(fd))
			})
		}
		if err != nil {
			return told, helperEnded(err)
		}
	}
	return told, nil
}

func helperEnded(err error) error { return fmt.Errorf("pvrun-net does not answer: %w", err) }

func (m *member) send(r request, fd int) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, _, err = m.control.WriteMsgUnix(text, unix.UnixRights(fd), nil)
	return err
}

func (m *member) receive() (r reply, err error) {
	text := make([]byte, maxMessage)
	n, err := m.control.Read(text)
	if err != nil {
		return r, err
	}
	if err = json.Unmarshal(text[:n], &r); err == nil && r.Error == "" && n == 0 {
		err = net.ErrClosed
	}
	return r, err
}

var errHelperGone = errors.New("network: pvrun-net has ended; the machine's link is down")

// watch reads the replies that were not waited for, and notices the end.
func (m *member) watch(told joined, private bool, exposed int) {
	defer close(m.left)
	defer m.control.Close()
	if err := <-m.started; err != nil {
		m.gone(fmt.Errorf("network: %w; the machine's link is down", err))
		return
	}
	if private {
		exposed++
	}
	for n := 0; ; n++ {
		r, err := m.receive()
		m.answered.Store(true)
		switch {
		case m.leaving.Load() && err != nil:
			return
		case err != nil:
			m.gone(errHelperGone)
			return
		case r.Error != "":
			m.gone(fmt.Errorf("network: %s", r.Error))
		case private && n == 0 && (r.Joined == nil || *r.Joined != told):
			m.gone(errors.New("network: pvrun-net is not of pvrun's release: install both of one"))
		case n >= exposed:
			m.gone(errHelperGone)
			return
		}
	}
}

// leave gives up the place, and waits a while for what is left of it. ports is for
// those to be free again.
func (m *member) leave(ports bool) {
	m.leaving.Store(true)
	m.control.CloseWrite()
	unix.Close(m.fd)
	m.hurry()
	if ports {
		await(m.left, leavePatience)
	}
	await(m.ended, endPatience)
}

func await(done <-chan struct{}, patience time.Duration) {
	select {
	case <-done:
	case <-time.After(patience):
	}
}
