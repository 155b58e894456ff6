package socket

import (
	"encoding/binary"
	"sync"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// ask sends one request and parses all that comes back as package syscall does.
func ask(t *testing.T, g guestKernel, typ, flags uint16, body ...byte) (list []syscall.NetlinkMessage) {
	t.Helper()
	fd, e := g.socket(fs.AF_NETLINK, fs.SOCK_RAW, 0)
	ok(t, e)
	defer g.Close(fd)
	ok(t, g.Bind(fd, netlinkAddress(0, 0)))
	b := binary.LittleEndian.AppendUint32(nil, uint32(nlmsgHeader+len(body)))
	b = binary.LittleEndian.AppendUint16(b, typ)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0)
	_, e = g.Send(fd, append(b, body...), 0, netlinkAddress(0, 0))
	ok(t, e)
	own, e := g.Sockname(fd)
	ok(t, e)
	for {
		page := make([]byte, 4096)
		n, e := g.Read(fd, page)
		if e == fs.EAGAIN {
			return list
		}
		ok(t, e)
		part, err := syscall.ParseNetlinkMessage(page[:n])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range part {
			if m.Header.Seq != 1 || m.Header.Pid != binary.LittleEndian.Uint32(own[4:]) {
				t.Errorf("header %+v", m.Header)
			}
			if _, err := syscall.ParseNetlinkRouteAttr(&m); err != nil && m.Header.Type >= nlmsgMin {
				t.Error(err)
			}
		}
		list = append(list, part...)
	}
}

func TestNetlinkDumps(t *testing.T) {
	g := newGuest(t)
	for _, typ := range []uint16{rtmGetLink, rtmGetAddr, rtmGetRoute} {
		list := ask(t, g, typ, nlmRequest|nlmDump, make([]byte, 16)...)
		if last := list[len(list)-1]; last.Header.Type != nlmsgDone {
			t.Errorf("the last message is %+v", last.Header)
		}
	}
	for _, typ := range []uint16{rtmNewLink, rtmNewAddr, 100} {
		list := ask(t, g, typ, nlmRequest|nlmAck, make([]byte, 16)...)
		if len(list) != 1 || list[0].Header.Type != nlmsgError || int32(binary.LittleEndian.Uint32(list[0].Data)) != -int32(fs.ENOTSUP) {
			t.Errorf("request %d: %+v", typ, list)
		}
	}
}

// TestNetlinkMessages looks at what is made of an interface.
func TestNetlinkMessages(t *testing.T) {
	r := &nlReply{q: &nlRequest{flags: nlmDump, seq: 1, port: 5}}
	i := &interfaceInfo{index: 2, name: "eth0", flags: iffUp | iffRunning, mtu: 1500, mac: []byte{2, 0, 0, 0, 0, 1}}
	for range 100 {
		r.link(i)
		r.addr(i, &interfaceAddr{[]byte{10, 1, 2, 3}, 20})
		r.route(i, &interfaceAddr{[]byte{10, 1, 255, 3}, 20})
	}
	r.flush()
	count := map[uint16]int{}
	for _, b := range r.list {
		if len(b) > 4096 {
			t.Errorf("a datagram of %d bytes", len(b))
		}
		list, err := syscall.ParseNetlinkMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			count[m.Header.Type]++
			attrs, err := syscall.ParseNetlinkRouteAttr(&m)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range attrs {
				if m.Header.Type == rtmNewRoute && a.Attr.Type == rtaDst && string(a.Value) != "\x0a\x01\xf0\x00" {
					t.Errorf("route to %v", a.Value)
				}
				if m.Header.Type == rtmNewLink && a.Attr.Type == iflaIfname && string(a.Value) != "eth0\x00" {
					t.Errorf("name %q", a.Value)
				}
			}
		}
	}
	if count[rtmNewLink] != 100 || count[rtmNewAddr] != 100 || count[rtmNewRoute] != 100 {
		t.Errorf("messages: %v", count)
	}
}

func FuzzNetlink(f *testing.F) {
	f.Add([]byte{32, 0, 0, 0, 18, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, answer := range answers(b, 1) {
			if _, err := syscall.ParseNetlinkMessage(answer); err != nil {
				t.Error(err)
			}
		}
	})
}

// Outside a machine the stack has its loopback alone.
func init() {
	theNetwork = sync.OnceValue(func() *network { return newNetwork(nil, nil) })
}
