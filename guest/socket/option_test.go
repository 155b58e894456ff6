package socket

import (
	"bytes"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// TestOptions: each option that can be set reads as it was set, where Linux has it so.
func TestOptions(t *testing.T) {
	n := newLoopback(t)
	stream, dgram := open4(t, n, inetStream), open4(t, n, inetDgram)
	six := openOf(t, n, afInet6, inetDgram)
	for _, c := range []struct {
		s           *peer
		level, name int
		before      int
		set, after  int
	}{
		{stream, levelSocket, 2, 0, 1, 1},           // SO_REUSEADDR
		{stream, levelSocket, 9, 0, 7, 1},           // SO_KEEPALIVE
		{stream, levelSocket, 15, 0, 1, 1},          // SO_REUSEPORT
		{dgram, levelSocket, 6, 0, 1, 1},            // SO_BROADCAST
		{dgram, levelSocket, 8, 212992, 50000, 1e5}, // SO_RCVBUF
		{dgram, levelSocket, 7, 212992, 1, 4096},    // SO_SNDBUF
		{stream, levelSocket, 7, sendBuffer0, 5e4, 1e5},
		{stream, levelTCP, 1, 0, 1, 1},        // TCP_NODELAY
		{stream, levelTCP, 4, 7200, 15, 15},   // TCP_KEEPIDLE
		{stream, levelTCP, 5, 75, 16, 16},     // TCP_KEEPINTVL
		{stream, levelTCP, 6, 9, 3, 3},        // TCP_KEEPCNT
		{stream, levelTCP, 18, 0, 1500, 1500}, // TCP_USER_TIMEOUT
		{stream, levelTCP, 23, 0, 5, 5},       // TCP_FASTOPEN
		{stream, levelTCP, 9, 0, 2, 2},        // TCP_DEFER_ACCEPT
		{dgram, levelIP, 1, 0, 0x2e, 0x2e},    // IP_TOS
		{dgram, levelIP, 2, 64, 9, 9},         // IP_TTL
		{dgram, levelIP, 2, 9, -1, 64},
		{dgram, levelIP, 33, 1, 5, 5},  // IP_MULTICAST_TTL
		{dgram, levelIP, 34, 1, 0, 0},  // IP_MULTICAST_LOOP
		{dgram, levelIP, 10, 1, 3, 3},  // IP_MTU_DISCOVER
		{six, levelIPv6, 16, 64, 3, 3}, // IPV6_UNICAST_HOPS
		{six, levelIPv6, 17, 0, 1, 1},  // IPV6_MULTICAST_IF
		{six, levelIPv6, 26, 0, 1, 1},  // IPV6_V6ONLY
		{six, levelIPv6, 67, 0, 8, 8},  // IPV6_TCLASS
	} {
		get := func() int {
			b, e := c.s.Option(c.level, c.name)
			if e != 0 {
				t.Errorf("level %d, option %d: errno %d", c.level, c.name, e)
				return -1
			}
			return must2(takeInt(b))
		}
		if v := get(); v != c.before {
			t.Errorf("level %d, option %d: %d at first, want %d", c.level, c.name, v, c.before)
		}
		if e := c.s.SetOption(c.level, c.name, putInt(c.set)); e != 0 {
			t.Errorf("level %d, option %d: set: errno %d", c.level, c.name, e)
		}
		if v := get(); v != c.after {
			t.Errorf("level %d, option %d: %d, want %d", c.level, c.name, v, c.after)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	n := newLoopback(t)
	stream, dgram := open4(t, n, inetStream), open4(t, n, inetDgram)
	for _, c := range []struct {
		s           *peer
		level, name int
		value       []byte
		want        fs.Errno
	}{
		{stream, levelSocket, 9999, putInt(1), fs.ENOPROTOOPT},
		{stream, 4711, 1, putInt(1), fs.ENOPROTOOPT},
		{dgram, levelTCP, 1, putInt(1), fs.ENOPROTOOPT},
		{stream, levelIPv6, 26, putInt(1), fs.ENOPROTOOPT},
		{stream, levelSocket, 3, putInt(1), fs.ENOPROTOOPT}, // SO_TYPE
		{stream, levelSocket, 9, nil, fs.EINVAL},
		{stream, levelSocket, 13, putInt(1), fs.EINVAL}, // half a struct linger
		{stream, levelTCP, 4, putInt(0), fs.EINVAL},
		{stream, levelTCP, 13, []byte("nonsense"), fs.ENOENT},
		{stream, levelSocket, 25, []byte("eth7\x00"), fs.ENODEV},
		{stream, levelSocket, 25, []byte("lo\x00"), 0},
		{dgram, levelIP, 2, putInt(256), fs.EINVAL},
		{dgram, levelIP, 2, []byte{12}, 0},
		{dgram, levelIP, 35, []byte{1}, fs.EINVAL},
	} {
		if e := c.s.SetOption(c.level, c.name, c.value); e != c.want {
			t.Errorf("level %d, option %d: errno %d, want %d", c.level, c.name, e, c.want)
		}
	}
}

func TestOptionValues(t *testing.T) {
	n := newLoopback(t)
	a, b := connected(t, n)
	for _, c := range []struct {
		level, name int
		want        []byte
	}{
		{levelSocket, 3, putInt(inetStream)},
		{levelSocket, 38, putInt(protoTCP)},
		{levelSocket, 39, putInt(afInet)},
		{levelSocket, 30, putInt(0)},
		{levelTCP, 13, append([]byte("cubic"), make([]byte, 11)...)},
	} {
		if got, e := a.Option(c.level, c.name); e != 0 || !bytes.Equal(got, c.want) {
			t.Errorf("level %d, option %d: %q, errno %d", c.level, c.name, got, e)
		}
	}
	if info, e := b.Option(levelTCP, 11); e != 0 || len(info) != sizeTCPInfo || info[infoState] != 1 {
		t.Errorf("TCP_INFO: % x, errno %d", info, e)
	}
	l := listening(t, n, "127.0.0.1:0")
	if got, _ := l.Option(levelSocket, 30); !bytes.Equal(got, putInt(1)) {
		t.Errorf("SO_ACCEPTCONN: % x", got)
	}
}

// TestErrnos: every error of netstack's has a number, and those that programs look for
// the right one.
func TestErrnos(t *testing.T) {
	for _, c := range []struct {
		err  tcpip.Error
		want fs.Errno
	}{
		{nil, 0},
		{&tcpip.ErrWouldBlock{}, fs.EAGAIN},
		{&tcpip.ErrConnectionRefused{}, fs.ECONNREFUSED},
		{&tcpip.ErrConnectionReset{}, fs.ECONNRESET},
		{&tcpip.ErrClosedForSend{}, fs.EPIPE},
		{&tcpip.ErrTimeout{}, fs.ETIMEDOUT},
		{&tcpip.ErrPortInUse{}, fs.EADDRINUSE},
		{&tcpip.ErrBadLocalAddress{}, fs.EADDRNOTAVAIL},
		{&tcpip.ErrNetworkUnreachable{}, fs.ENETUNREACH},
		{&tcpip.ErrHostUnreachable{}, fs.EHOSTUNREACH},
		{&tcpip.ErrMessageTooLong{}, fs.EMSGSIZE},
		{&tcpip.ErrAddressFamilyNotSupported{}, fs.EAFNOSUPPORT},
		{&tcpip.ErrConnectStarted{}, fs.EINPROGRESS},
		{&tcpip.ErrAlreadyConnecting{}, fs.EALREADY},
		{&tcpip.ErrAlreadyConnected{}, fs.EISCONN},
		{&tcpip.ErrNotConnected{}, fs.ENOTCONN},
		{&tcpip.ErrBroadcastDisabled{}, fs.EACCES},
		{&tcpip.ErrAlreadyBound{}, fs.EINVAL},
		{&tcpip.ErrUnknownProtocolOption{}, fs.ENOPROTOOPT},
	} {
		if e := errnoOf(c.err); e != c.want {
			t.Errorf("%v: errno %d, want %d", c.err, e, c.want)
		}
	}
}

func FuzzSockaddr(f *testing.F) {
	f.Add(2, sockaddr("10.0.0.1:80"))
	f.Add(10, sockaddr("[fe80::1]:80"))
	f.Add(10, []byte{10, 0})
	f.Fuzz(func(t *testing.T, domain int, b []byte) {
		if domain != afInet {
			domain = afInet6
		}
		a, e := decodeAddr(domain, b)
		if e != 0 {
			return
		}
		again, e := decodeAddr(domain, encodeAddr(domain, a))
		if e != 0 || again != a {
			t.Errorf("% x: %v, then %v, errno %d", b, a, again, e)
		}
		target(a)
		source(a)
	})
}
